"""MANIFEST.json of a promoted bundle: size and SHA-256 of every file that counts, so that damage is seen without loading the model.

Only the registry writes one, as the last file of a bundle. `bundle` interprets the files.
"""

import hashlib

from pydantic import ConfigDict, ValidationError

from taskclf_dagster.domain.models.bundle_files import MANIFEST, MODEL_CARD, REQUIRED, BundleFiles
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


def build_manifest(files: BundleFiles, *, decision_id: str, card: bytes | None = None) -> Manifest:
    """Describes the files of a bundle that count, and its model card if one was written for it."""
    entries = {name: ManifestEntry(sha256=digest, size=len(files.content(name))) for name, digest in files.hashes().items()}
    if card is not None:
        entries[MODEL_CARD] = ManifestEntry(sha256=hashlib.sha256(card).hexdigest(), size=len(card))
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


def find_card_problem(files: BundleFiles) -> str | None:
    """Returns how the model card differs from the one that the manifest names; None if it does not, or no card is named.

    Raises:
        OSError: manifest or card cannot be read.
        UnreadableFileError: the manifest is damaged.
    """
    manifest = read_manifest(files)
    entry = None if manifest is None else manifest.files.get(MODEL_CARD)
    return None if entry is None else _find_changed_file(files, MODEL_CARD, entry)


def find_manifest_problem(files: BundleFiles) -> BundleProblem | None:
    """Returns the first difference between a bundle and its manifest; None if there is none, or it has no manifest.

    The model card is left out: it is for people, and a model runs whatever it says (`find_card_problem`).
    """
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
    problems = (_find_changed_file(files, name, entry) for name, entry in manifest.files.items() if name != MODEL_CARD)
    return next((problem for problem in problems if problem is not None), None)


def _find_changed_file(files: BundleFiles, name: str, entry: ManifestEntry) -> str | None:
    if name not in files.names:
        return f"{name} is missing"
    content = files.content(name)
    is_same = len(content) == entry.size and hashlib.sha256(content).hexdigest() == entry.sha256
    return None if is_same else f"{name} is not the file that {MANIFEST} names"
