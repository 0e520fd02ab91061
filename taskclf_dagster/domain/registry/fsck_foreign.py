"""Mentions files of other programs in our folders, such as those that file managers and synchronization leave. Changes nothing.

Nothing reads them: the files that count are named by manifest, receipt or contract.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from taskclf_dagster.domain.data.label_fingerprints import is_fingerprints_file
from taskclf_dagster.domain.data.snapshot_places import SNAPSHOT_FILE
from taskclf_dagster.domain.data.snapshot_rows import ROWS_FOLDER, list_row_files
from taskclf_dagster.domain.data.stored_frames import list_frames
from taskclf_dagster.domain.decision.decision_store import is_receipt, is_report
from taskclf_dagster.domain.decision.last_decided import LAST_DECIDED
from taskclf_dagster.domain.models.bundle_files import KNOWN, MANIFEST, MODEL, BundleFiles, has_bundle_files
from taskclf_dagster.domain.models.bundle_paths import list_bundle_folders
from taskclf_dagster.domain.models.manifest import read_manifest
from taskclf_dagster.domain.registry.damaged_files import DAMAGED
from taskclf_dagster.domain.registry.fsck_findings import UNREADABLE, Findings, warning
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.domain.storage.files import TEMPORARY, list_folders
from taskclf_dagster.domain.storage.path_names import is_short_hash
from taskclf_dagster.home import Home

NAMED_FILES = 5
"""Number of files that the finding names."""


def check_foreign_files(state: RegistryState) -> Findings:
    """Mentions all files of other programs in one finding."""
    found = sorted(path.relative_to(state.home.root).as_posix() for path in _find_foreign(state))
    if found:
        further = f" and {len(found) - NAMED_FILES} more" if len(found) > NAMED_FILES else ""
        detail = f"of other programs, and ignored: {', '.join(found[:NAMED_FILES])}{further}"
        yield warning("foreign_files", "P10", detail, "Nothing has to be done; remove them if nothing needs them")


def check_copies(state: RegistryState) -> Findings:
    """Mentions every folder in models/ that is a copy of a bundle, which taskclf ranks as a model of its own."""
    for name, original in find_copies(state).items():
        detail = f"{name} is a copy of {original}, and ranked as a model of its own"
        yield warning("bundle_copied", "P5", detail, "Move it out of models/ unless it is meant to be there")


def find_copies(state: RegistryState) -> dict[str, str]:
    """Returns the folders in models/ that are copies of a bundle, with the id of that bundle; nothing of ours names them."""
    folders, named = list_bundle_folders(state.home.models), _named_bundles(state)
    found = {folder.name: _find_original(state, folder, folders) for folder in folders if folder.name not in named}
    return {name: original for name, original in found.items() if original is not None}


def _find_original(state: RegistryState, folder: Path, folders: list[Path]) -> str | None:
    """Returns the bundle that a folder is a copy of: its manifest names it, or it has the same model; and the folder's name has its id."""
    with suppress(*UNREADABLE):
        files = state.bundles.files(folder)
        manifest = read_manifest(files)
        if manifest is not None:
            return manifest.model_id if manifest.model_id in folder.name and manifest.model_id != folder.name else None
        for other in (other for other in folders if other.name in folder.name and other != folder):
            if state.bundles.files(other).content(MODEL) == files.content(MODEL):
                return other.name
    return None


def is_foreign_folder(state: RegistryState, files: BundleFiles) -> bool:
    """Returns True if a folder in models/ has no file of a bundle, and nothing of ours names it."""
    return not has_bundle_files(files) and files.model_id not in _named_bundles(state)


def _named_bundles(state: RegistryState) -> set[str]:
    """Returns the ids that the history, the policy or the pointer names."""
    named = {entry.new.name for entry in state.history.entries if entry.new is not None}
    return named | {Path(name).name for name in (state.policy_file.model_dir, state.pointer and state.pointer.model_dir) if name}


def _find_foreign(state: RegistryState) -> Iterator[Path]:
    home = state.home
    ours = {path.name for path in (home.active_pointer, home.active_history, home.index, home.inference_policy, home.registry_lock)}
    yield from (path for path in _files_in(home.models) if path.name not in ours)
    for path in _files_in(home.decisions):
        if not is_receipt(path) and path.name != LAST_DECIDED and not is_fingerprints_file(path):
            yield path
    for folder in (home.models, home.pending_models, home.rejected_models, home.challengers):
        for bundle in list_bundle_folders(folder):
            yield from _find_in_bundle(state, bundle)
    yield from (path for path in _files_in(home.drift_reports) if path.name.startswith("."))
    yield from _find_beside_data(home)


def _find_beside_data(home: Home) -> Iterator[Path]:
    """Yields what is neither an event, a record, a report, a frame, a snapshot nor predictions in the folders of these."""
    yield from (path for path in _files_in(home.reports) if not is_report(path))
    frames = {*list_frames(home.labeled_windows)}
    yield from (path for path in _files_in(home.labeled_windows) if path not in frames)
    for folder in (home.outbox, home.suggestions, *list_folders(home.records)):
        yield from (path for path in _files_in(folder) if path.suffix != ".json" or path.name.startswith("."))
    for folder in (home.snapshots, home.predictions):
        yield from (path for path in list_folders(folder) if not is_short_hash(path.name))
    snapshots = [path for path in list_folders(home.snapshots) if is_short_hash(path.name)]
    for folder in snapshots:
        ours = {folder / SNAPSHOT_FILE, *list_row_files(folder)}
        yield from (path for path in (*_files_in(folder), *_files_in(folder / ROWS_FOLDER)) if path not in ours)
    predictions = [path for path in list_folders(home.predictions) if is_short_hash(path.name)]
    yield from (path for folder in predictions for path in _files_in(folder) if path.suffix != ".parquet" or path.name.startswith("."))
    folders = (home.snapshots, home.predictions, home.records, home.challengers, home.pending_models, home.rejected_models)
    yield from (path for folder in folders for path in _files_in(folder))


def _find_in_bundle(state: RegistryState, bundle: Path) -> Iterator[Path]:
    files, named = state.bundles.files(bundle), set(KNOWN)
    if is_foreign_folder(state, files):
        yield bundle
        return
    with suppress(*UNREADABLE):
        manifest = read_manifest(files)
        named |= set() if manifest is None else manifest.files.keys()
    yield from (path for path in _files_in(bundle) if path.name not in named | {MANIFEST})


def _files_in(folder: Path) -> list[Path]:
    """Returns the files in a folder but temporary ones, and those that a repair kept aside."""
    found = folder.iterdir() if folder.is_dir() else []
    return [path for path in found if path.is_file() and path.suffix != TEMPORARY and not path.suffix.startswith(DAMAGED)]
