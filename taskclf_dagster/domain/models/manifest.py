"""MANIFEST.json of a promoted bundle: size and SHA-256 of every file, so that damage is seen without loading the model.

Only the registry writes one, as the last file of a bundle. What the files mean belongs to `bundle`.
"""

from pathlib import Path

from pydantic import ConfigDict, ValidationError

from taskclf_dagster.domain.storage.files import file_hash, read_json_object
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import UnreadableFileError

MANIFEST = "MANIFEST.json"


MANIFEST_VERSION = 1


REQUIRED = ("model.txt", "metadata.json", "metrics.json", "confusion_matrix.csv", "categorical_encoders.json")
"""What a bundle consists of at least (contract, section 7)."""


class ManifestEntry(Record):
    """One file of a bundle."""

    sha256: str
    size: int


class Manifest(Record):
    """What a bundle consists of; keys of later versions are ignored.

    Attributes:
        decision_id: the receipt that promoted it.
        files: every file but the manifest itself, by name.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: int
    model_id: str
    decision_id: str
    files: dict[str, ManifestEntry]


def build_manifest(folder: Path, *, decision_id: str) -> Manifest:
    """Describes the files of a folder."""
    files = {
        path.name: ManifestEntry(sha256=file_hash(path), size=path.stat().st_size)
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != MANIFEST and not path.name.startswith(".")
    }
    return Manifest(version=MANIFEST_VERSION, model_id=folder.name, decision_id=decision_id, files=files)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a bundle; None where it has none, as bundles of other programs do.

    Raises:
        UnreadableFileError: there is one, but it is damaged.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    document = read_json_object(path)
    if document.get("version", MANIFEST_VERSION) != MANIFEST_VERSION:
        known = f"it has version {document.get('version')}, this program knows {MANIFEST_VERSION}"
        raise UnreadableFileError(path, known, "Use the program that wrote it")
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        raise UnreadableFileError(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}", "Restore the bundle or roll back") from error


def find_manifest_problem(folder: Path) -> str | None:
    """How a bundle differs from its manifest, or None; a bundle without one has nothing to differ from."""
    try:
        manifest = read_manifest(folder)
        if manifest is None:
            return None
        if manifest.model_id != folder.name:
            return f"{MANIFEST} is of {manifest.model_id}"
        unnamed = [name for name in REQUIRED if name not in manifest.files]
        if unnamed:
            return f"{MANIFEST} does not name {', '.join(unnamed)}"
        for name, entry in manifest.files.items():
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != entry.size or file_hash(path) != entry.sha256:
                return f"{name} is not the file that {MANIFEST} names"
    except UnreadableFileError as error:
        return str(error)
    except OSError as error:
        return f"a file cannot be read: {error}"
    return None
