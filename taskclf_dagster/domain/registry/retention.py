"""Retention: plans which bundles, snapshots and receipts are removed, and removes them.

The newest stay, and never removed are the active model, the one that a rollback would go back to, anchors, what awaits approval or is
being made, and what their receipts name.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

from taskclf_dagster.domain.data.home_places import show_place
from taskclf_dagster.domain.data.snapshot_places import list_snapshots, remove_snapshot
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import (
    find_later_decision,
    find_later_judgement,
    is_report,
    list_decisions,
    receipt_path,
)
from taskclf_dagster.domain.decision.last_decided import LastDecided, read_last_decided
from taskclf_dagster.domain.decision.suggestion_store import suggestions_path
from taskclf_dagster.domain.models.bundle_files import METADATA, has_bundle_files, read_bundle_files
from taskclf_dagster.domain.models.bundle_paths import is_model_id
from taskclf_dagster.domain.registry.anchors import find_anchors
from taskclf_dagster.domain.registry.commit import commit
from taskclf_dagster.domain.registry.compared_models import list_compared, list_ended
from taskclf_dagster.domain.registry.health import find_last_known_good
from taskclf_dagster.domain.registry.history import History
from taskclf_dagster.domain.registry.history_record import ActiveHistoryEntry
from taskclf_dagster.domain.registry.lock import write_lock
from taskclf_dagster.domain.registry.pointer import ActivePointer
from taskclf_dagster.domain.registry.recovery import recover, take_out
from taskclf_dagster.domain.registry.state import Digests, RegistryState, read_registry_state
from taskclf_dagster.domain.storage.files import list_folders, remove_tree, remove_whole
from taskclf_dagster.domain.storage.json_files import parse_json_object, read_json_object
from taskclf_dagster.domain.storage.numbered_files import sort_numbered
from taskclf_dagster.domain.storage.path_names import is_short_hash
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.domain.storage.signatures import NO_KEYS, Keys
from taskclf_dagster.errors import RegistryRefusedError, UnreadableFileError
from taskclf_dagster.home import Home

IN_THE_MAKING_SECONDS = 3600
"""A snapshot as young as this may belong to a run whose record is not written yet."""


Kind = Literal["promoted", "rejected", "snapshot", "predictions", "receipt", "suggestions", "report", "record", "trial", "probation"]


class PruneItem(Record):
    """One file or folder to delete.

    Attributes:
        path: relative to the home; the whole path or URL of what is elsewhere.
    """

    kind: Kind
    name: str
    path: str
    bytes: int
    reason: str


class PrunePlan(Record):
    """The files and folders to delete, and the reasons why older bundles are kept.

    Attributes:
        reachable: model ids that are never removed, with the reason.
    """

    remove: list[PruneItem]
    reachable: dict[str, str]

    @property
    def bytes(self) -> int:
        return sum(item.bytes for item in self.remove)


class LastRun(NamedTuple):
    """The last run of a home, which may still need what it made.

    Attributes:
        model_id: of the challenger that it built; None if there is none.
        dataset_hash: of the snapshot that it made; None if there is none.
        decided: the last decided run, which need not be the same one; None if there is none.
    """

    model_id: str | None
    dataset_hash: str | None
    decided: LastDecided | None


def read_last_run(home: Home) -> LastRun:
    """Reads the latest records of a home, and the last decided run."""
    model_id, dataset_hash = _latest(home, "challenger_model", "model_id"), _latest(home, "dataset_snapshot", "dataset_hash")
    return LastRun(model_id, dataset_hash, read_last_decided(home))


def plan_prune(home: Home, *, keep_versions: int, keep_rejected: int, at: datetime, promoted: bool = True) -> PrunePlan:
    """Lists what is neither among the newest nor reachable; changes nothing.

    Args:
        home: the taskclf home.
        keep_versions: number of promoted bundles that are kept; damaged ones do not count.
        keep_rejected: number of never promoted bundles that are kept; damaged ones do not count.
        at: the present time, from which anchors are counted.
        promoted: True to include promoted bundles.
    """
    state, last_run = read_registry_state(home), read_last_run(home)
    return _plan(state, last_run, keep_versions=keep_versions, keep_rejected=keep_rejected, at=at, promoted=promoted)


def _plan(state: RegistryState, last_run: LastRun, *, keep_versions: int, keep_rejected: int, at: datetime, promoted: bool) -> PrunePlan:
    home = state.home
    decisions, _ = list_decisions(home, state.receipts)
    reachable = find_reachable(state, decisions, last_run, at=at)
    remove = []
    if promoted:
        remove += _beyond(state, _promoted_folders(home, state.history), keep_versions, reachable, "promoted")
    remove += _beyond(state, _rejected_folders(home), keep_rejected, reachable, "rejected")
    going = {item.path for item in remove}
    staying = [folder for folder in _bundle_folders(home) if str(folder.relative_to(home.root)) not in going]
    remove += _unneeded_data(state, decisions, staying, last_run, at)
    remove += _unneeded_reports(home, removed={item.name for item in remove if item.kind == "receipt"})
    remove += [_item(home, *each) for each in list_ended(home, staying={folder.name for folder in staying})]
    remove += _old_records(home, keep_versions + keep_rejected)
    return PrunePlan(remove=remove, reachable=reachable)


def prune(home: Home, *, keep_versions: int, keep_rejected: int, at: datetime, promoted: bool = True, keys: Keys = NO_KEYS) -> PrunePlan:
    """Removes what `plan_prune` lists, under the registry's lock; promoted bundles are named in the history first.

    Args:
        home: the taskclf home.
        keep_versions: number of promoted bundles that are kept; damaged ones do not count.
        keep_rejected: number of never promoted bundles that are kept; damaged ones do not count.
        at: the present time, from which anchors are counted.
        promoted: True to include promoted bundles.
        keys: sign the record.

    Returns:
        The deleted files and folders.
    """
    with write_lock(home):
        state = read_registry_state(home, keys)
        if promoted:
            state = recover(state, at=at).state
        last_run = read_last_run(home)
        return prune_locked(state, last_run, keep_versions=keep_versions, keep_rejected=keep_rejected, at=at, promoted=promoted)


def prune_locked(
    state: RegistryState, last_run: LastRun, *, keep_versions: int, keep_rejected: int, at: datetime, promoted: bool
) -> PrunePlan:
    """Prunes as `prune` does, in a registry that the caller has locked, recovered and read."""
    home = state.home
    plan = _plan(state, last_run, keep_versions=keep_versions, keep_rejected=keep_rejected, at=at, promoted=promoted)
    models = [item for item in plan.remove if item.kind == "promoted"]
    if models:
        pointer, reason = state.pointer, f"retention keeps {keep_versions} promoted models"
        commit(
            state,
            ActiveHistoryEntry(at=at, old=pointer, new=pointer, action="prune", subject=[item.name for item in models], reason=reason),
        )
    for item in plan.remove:
        path = home.root / item.path
        if item.kind == "promoted":
            take_out(home, path)
        elif item.kind == "snapshot":
            remove_snapshot(home, item.name)
        elif path.is_dir():
            remove_whole(path)
        else:
            remove_tree(path)
    if home.staging.exists():
        remove_tree(home.staging)
    return plan


def find_reachable(state: RegistryState, decisions: Iterable[PromotionDecision], last_run: LastRun, *, at: datetime) -> dict[str, str]:
    """Returns the ids of models that must stay, with the reason."""
    pointer, policy_dir = state.pointer, state.policy_file.model_dir
    reachable: dict[str, str] = {}
    decisions = list(decisions)
    for model_id, reason in (
        (_name(pointer), "active"),
        (None if policy_dir is None else Path(policy_dir).name, "named by the inference policy"),
        (_name(find_last_known_good(state)), "last known good"),
        (_name(find_last_known_good(state, but=None if pointer is None else pointer.model_dir)), "the target of a rollback"),
        *((anchor, "anchor") for anchor, _ in find_anchors(state.history, as_of=at)),
        *((decision.challenger.model_id, "awaiting approval") for decision in find_awaiting(state, decisions)),
        *list_compared(state.home),
        (last_run.model_id, "made by the last run"),
    ):
        if model_id is not None:
            reachable.setdefault(model_id, reason)
    for receipt in [decision for decision in decisions if decision.challenger.model_id in reachable]:
        if receipt.champion.model is not None:
            reachable.setdefault(receipt.champion.model.model_id, f"named by the receipt of {receipt.challenger.model_id}")
    return reachable


def find_awaiting(state: RegistryState, decisions: Iterable[PromotionDecision]) -> list[PromotionDecision]:
    """Returns the decisions that can still be approved.

    Pointer and policy are as they were, no decision is about later labels, and none judged the same challenger again.
    """
    return [
        decision
        for decision in decisions
        if decision.verdict == "AWAITING_APPROVAL"
        and not decision.options.dry_run
        and Digests(decision.registry.pointer_hash, decision.registry.policy_hash) == state.digests
        and find_later_decision(state.home, decision, state.receipts) is None
        and find_later_judgement(state.home, decision, state.receipts) is None
    ]


def require_only_awaiting(home: Home) -> str:
    """Returns the id of the one decision that can be approved.

    Raises:
        RegistryRefusedError: there is none, or there are several.
    """
    state = read_registry_state(home)
    waiting = [decision.decision_id for decision in find_awaiting(state, list_decisions(home, state.receipts)[0])]
    if len(waiting) == 1:
        return waiting[0]
    if not waiting:
        raise RegistryRefusedError("Approving", "none_awaiting", "no decision awaits approval", "`taskclf-dagster history` lists them.")
    raise RegistryRefusedError("Approving", "several_awaiting", f"{len(waiting)} decisions await it", f"Name one: {', '.join(waiting)}.")


def _beyond(state: RegistryState, folders: list[Path], keep: int, reachable: dict[str, str], kind: Kind) -> list[PruneItem]:
    """Returns the folders after the newest `keep` that are whole, newest first; reachable ones stay."""
    items, kept = [], 0
    for folder in folders:
        path = str(folder.relative_to(state.home.root))
        whole = (state.model_problem(path) if kind == "promoted" else state.bundles.parsed(folder).problem) is None
        stays = folder.name in reachable or (whole and kept < keep)
        kept += stays and whole
        if not stays:
            reason = f"not among the newest {keep}" if whole else "damaged"
            items.append(PruneItem(kind=kind, name=folder.name, path=path, bytes=_size(folder), reason=reason))
    return items


def _promoted_folders(home: Home, history: History) -> list[Path]:
    """Returns bundles in models/ that the history names, the last promoted first; other bundles belong to other programs."""
    pointers = [entry.new for entry in reversed(history.moves) if entry.new is not None]
    names = dict.fromkeys(p.name for p in pointers if is_model_id(p.name) and p.model_dir == f"{home.models.name}/{p.name}")
    return [home.models / name for name in names if (home.models / name).is_dir()]


def _rejected_folders(home: Home) -> list[Path]:
    """Returns bundles that were never promoted, the newest first.

    What an interrupted training left is an orphaned file of its process, and a folder without any file of a bundle belongs to a person.
    """
    folders = (home.rejected_models, home.pending_models, home.challengers)
    found = (path for folder in folders for path in list_folders(folder) if has_bundle_files(read_bundle_files(path)))
    return sorted(found, key=lambda path: path.name, reverse=True)


def _bundle_folders(home: Home) -> Iterator[Path]:
    for folder in (home.models, home.rejected_models, home.pending_models, home.challengers):
        yield from list_folders(folder)


def _unneeded_data(
    state: RegistryState, decisions: list[PromotionDecision], staying: list[Path], last_run: LastRun, at: datetime
) -> Iterator[PruneItem]:
    """Yields snapshots, predictions and receipts of deleted models; a receipt that the history names is kept."""
    home = state.home
    models = {folder.name for folder in staying}
    named = {entry.decision_id for entry in state.history.entries}
    last = last_run.decided
    data = {_dataset_of(state, folder) for folder in staying} | {last_run.dataset_hash}
    data |= {None if last is None else Path(last.snapshot_path).name}
    waiting = [
        decision.as_of for decision in decisions if decision.verdict == "AWAITING_APPROVAL" and decision.challenger.model_id in models
    ]
    for decision in decisions:
        if decision.challenger.model_id in models:
            data.add(decision.dataset.dataset_hash)
        elif waiting and decision.as_of >= min(waiting):
            continue  # it may be what makes a waiting decision an old one
        elif decision.decision_id not in named and (last is None or decision.decision_id != last.decision_id):
            gone = f"model {decision.challenger.model_id} is gone"
            yield _item(home, "receipt", receipt_path(home, decision.decision_id), gone)
            advice = suggestions_path(home, decision.decision_id)
            if advice.is_file():
                yield _item(home, "suggestions", advice, gone)
    unneeded = "no model that stays was made or judged on it"
    for snapshot in list_snapshots(home):
        if snapshot.name not in data and abs(at.timestamp() - snapshot.changed) > IN_THE_MAKING_SECONDS:
            place = show_place(home, snapshot.folder)
            yield PruneItem(kind="snapshot", name=snapshot.name, path=place, bytes=snapshot.bytes, reason=unneeded)
    for path in list_folders(home.predictions):
        if is_short_hash(path.name) and path.name not in data and abs(at.timestamp() - path.stat().st_mtime) > IN_THE_MAKING_SECONDS:
            yield _item(home, "predictions", path, unneeded)


def _unneeded_reports(home: Home, *, removed: set[str]) -> Iterator[PruneItem]:
    """Yields the reports of decisions whose receipt is removed, or does not exist."""
    for report in sorted(path for path in home.reports.glob("*.html") if is_report(path)):
        if report.stem in removed or not receipt_path(home, report.stem).exists():
            yield _item(home, "report", report, "its receipt is gone")


def _old_records(home: Home, keep: int) -> Iterator[PruneItem]:
    for folder in list_folders(home.records):
        runs = [path for path in folder.glob("*.json") if path.stem != "latest" and not path.name.startswith(".")]
        yield from (_item(home, "record", path, f"not among the newest {keep} runs") for path in sort_numbered(runs)[::-1][keep:])


def _item(home: Home, kind: Kind, path: Path, reason: str) -> PruneItem:
    return PruneItem(
        kind=kind, name=path.stem if path.is_file() else path.name, path=str(path.relative_to(home.root)), bytes=_size(path), reason=reason
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _dataset_of(state: RegistryState, folder: Path) -> str | None:
    try:
        value = parse_json_object(folder / METADATA, state.bundles.files(folder).content(METADATA)).get("dataset_hash")
    except (OSError, UnreadableFileError):
        return None
    return value if isinstance(value, str) else None


def _latest(home: Home, asset: str, key: str) -> str | None:
    """Returns a field of the latest record of an asset."""
    try:
        value = read_json_object(home.records / asset / "latest.json").get(key)
    except UnreadableFileError:
        return None
    return value if isinstance(value, str) else None


def _name(pointer: ActivePointer | None) -> str | None:
    return None if pointer is None else pointer.name
