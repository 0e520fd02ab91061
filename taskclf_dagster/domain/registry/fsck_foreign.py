"""Mentions files of other programs in our folders, such as those that file managers and synchronization leave. Changes nothing.

Nothing reads them: the files that count are named by manifest, receipt or contract.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from taskclf_dagster.domain.data.label_fingerprints import is_fingerprints_file
from taskclf_dagster.domain.decision.decision_store import is_receipt
from taskclf_dagster.domain.decision.last_decided import LAST_DECIDED
from taskclf_dagster.domain.models.bundle_files import KNOWN, MANIFEST, BundleFiles
from taskclf_dagster.domain.models.bundle_paths import list_bundle_folders
from taskclf_dagster.domain.models.manifest import read_manifest
from taskclf_dagster.domain.registry.damaged_files import DAMAGED
from taskclf_dagster.domain.registry.fsck_findings import UNREADABLE, Findings, warning
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.domain.storage.files import TEMPORARY, list_folders

NAMED_FILES = 5
"""Number of files that the finding names."""


def check_foreign_files(state: RegistryState) -> Findings:
    """Mentions all files of other programs in one finding."""
    found = sorted(path.relative_to(state.home.root).as_posix() for path in _find_foreign(state))
    if found:
        further = f" and {len(found) - NAMED_FILES} more" if len(found) > NAMED_FILES else ""
        detail = f"of other programs, and ignored: {', '.join(found[:NAMED_FILES])}{further}"
        yield warning("foreign_files", "P10", detail, "Nothing has to be done; remove them if nothing needs them")


def is_foreign_folder(state: RegistryState, files: BundleFiles) -> bool:
    """Returns True if a folder in models/ has no file of a bundle, and nothing of ours names it."""
    named = {entry.new.name for entry in state.history.entries if entry.new is not None}
    named |= {Path(name).name for name in (state.policy_file.model_dir, state.pointer and state.pointer.model_dir) if name}
    return not {*files.names}.intersection((*KNOWN, MANIFEST)) and files.model_id not in named


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
    folders = [home.outbox, home.drift_reports, home.labeled_windows, *list_folders(home.records), *list_folders(home.snapshots)]
    yield from (path for folder in folders for path in _files_in(folder) if path.name.startswith("."))


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
