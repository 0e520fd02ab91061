"""MANIFEST.json of a promoted bundle: size and SHA-256 of every file that counts, so that damage is seen without loading the model.

Only the registry writes one, as the last file of a bundle. `bundle` interprets the files.
"""

import hashlib

from pydantic import ConfigDict, ValidationError

from taskclf_dagster.domain.models.bundle_files import MANIFEST, REQUIRED, BundleFiles
from taskclf_dagster.domain.models.bundle_problem import BundleProblem
from taskclf_dagster.domain.storage.json_files import parse_json_object
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.validation_text import describe_validation_error

MANIFEST_VERSION = 1


class ManifestEntry(Record):
    """One file of a bundle."""

    sha256: str
    size: int


class Manifest(Record):
    """The content of MANIFEST.json; keys of later versions are ignored.

    Attributes:
        decision_id: the receipt that promoted it.
        files: the files that count, by name.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: int
    model_id: str
    decision_id: str
    files: dict[str, ManifestEntry]


def build_manifest(files: BundleFiles, *, decision_id: str) -> Manifest:
    """Describes the files of a bundle."""
    entries = {name: ManifestEntry(sha256=digest, size=len(files.content(name))) for name, digest in files.hashes().items()}
    return Manifest(version=MANIFEST_VERSION, model_id=files.model_id, decision_id=decision_id, files=entries)


def read_manifest(files: BundleFiles) -> Manifest | None:
    """Returns the manifest of a bundle; None if it has none, as bundles of other programs.

    Raises:
        OSError: it cannot be read.
        UnreadableFileError: it is damaged.
    """
    path = files.folder / MANIFEST
    if MANIFEST not in files.names:
        if path.exists():
            raise UnreadableFileError(path, "it is not a file", "Restore the bundle or roll back")
        return None
    document = parse_json_object(path, files.content(MANIFEST))
    if document.get("version", MANIFEST_VERSION) != MANIFEST_VERSION:
        known = f"it has version {document.get('version')}, this program knows {MANIFEST_VERSION}"
        raise UnreadableFileError(path, known, "Use the program that wrote it")
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        raise UnreadableFileError(path, describe_validation_error(error), "Restore the bundle or roll back") from error


def find_manifest_problem(files: BundleFiles) -> BundleProblem | None:
    """Returns the first difference between a bundle and its manifest; None if there is none, or it has no manifest."""
    try:
        detail = _find_difference(files)
    except UnreadableFileError as error:
        detail = str(error)
    except OSError as error:
        detail = f"a file cannot be read: {error}"
    return None if detail is None else BundleProblem(code="manifest", detail=detail)


def _find_difference(files: BundleFiles) -> str | None:
    manifest = read_manifest(files)
    if manifest is None:
        return None
    if manifest.model_id != files.model_id:
        return f"{MANIFEST} is of {manifest.model_id}"
    unnamed = [name for name in REQUIRED if name not in manifest.files]
    if unnamed:
        return f"{MANIFEST} does not name {', '.join(unnamed)}"
    for name, entry in manifest.files.items():
        if name not in files.names:
            return f"{name} is missing"
        content = files.content(name)
        if len(content) != entry.size or hashlib.sha256(content).hexdigest() != entry.sha256:
            return f"{name} is not the file that {MANIFEST} names"
    return None
