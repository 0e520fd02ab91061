"""Checks files that are named by the hash of their values, or that follow from history, receipts and bundles. Changes nothing.

`UNCHECKED` lists the files that have no digest, with the reason why that is harmless.
"""

import re
from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from taskclf_dagster.domain.data.label_fingerprints import find_fingerprint_problems
from taskclf_dagster.domain.data.snapshot import find_stored_problem
from taskclf_dagster.domain.data.snapshot_places import list_snapshots
from taskclf_dagster.domain.data.snapshot_rows import open_snapshot_rows
from taskclf_dagster.domain.data.stored_frames import FrameFile, digest_of_name, list_frames
from taskclf_dagster.domain.decision.decision_events import build_decision_events
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.decision.last_decided import read_last_decided
from taskclf_dagster.domain.decision.probation import list_probations
from taskclf_dagster.domain.decision.serving import list_serving
from taskclf_dagster.domain.decision.trial import list_trials
from taskclf_dagster.domain.events.event import Event
from taskclf_dagster.domain.events.outbox import DELIVERY, REPORTED_DECISION, WRITTEN_THROUGH, read_outbox
from taskclf_dagster.domain.models.bundle import find_bundle_problem
from taskclf_dagster.domain.models.bundle_files import MANIFEST
from taskclf_dagster.domain.models.calibrator_store import is_named_by, parse_calibrator_store
from taskclf_dagster.domain.registry.fsck_findings import UNREADABLE, Findings, RegistryFinding, damage, unreadable, warning
from taskclf_dagster.domain.registry.fsck_foreign import find_copies
from taskclf_dagster.domain.registry.history_events import EVENT_TYPES, build_event
from taskclf_dagster.domain.registry.index_cache import IndexCache, read_index_cache, summarize
from taskclf_dagster.domain.registry.pointer import POLICY_VERSION
from taskclf_dagster.domain.registry.state import RegistryState, read_registry_state
from taskclf_dagster.domain.storage.files import hash_file_if_exists, list_folders
from taskclf_dagster.domain.storage.json_files import look_at_json
from taskclf_dagster.domain.storage.path_names import find_path_problem, is_short_hash
from taskclf_dagster.errors import ObjectStoreError, ObjectStoreUnavailableError, SettingsError, UnreadableFileError
from taskclf_dagster.home import Home

_EVENT_OF_RECORD = re.compile(r"\d{8,}-[0-9a-f]{12}")


_DECISION_KINDS = frozenset({"retrained", "rejected", "awaiting"})


class Unchecked(NamedTuple):
    """Files without a digest.

    Attributes:
        kind: a name for people.
        patterns: of paths relative to the home; files that a check above compares are not among them.
        reason: why a change of them is harmless.
    """

    kind: str
    patterns: tuple[str, ...]
    reason: str


_BUNDLES = tuple(f"artifacts/{folder}/*/*" for folder in ("challengers", "pending_models", "rejected_models"))

UNCHECKED = (
    Unchecked("data of taskclf", ("data/**/*",), "it is read as data, and every snapshot has a copy with a digest"),
    Unchecked(
        "predictions without a record",
        ("artifacts/predictions/**/*",),
        "a promotion predicts the test windows again and reads none of them",
    ),
    Unchecked(
        "step records", ("artifacts/records/**/*",), "a promotion computes what they lead to again from the snapshot and the bundles"
    ),
    Unchecked("what to label next", ("artifacts/suggestions/**/*",), "they are advice; nothing is decided by them"),
    Unchecked("reports", ("artifacts/reports/**/*",), "they are for people, and can be written again; nothing is decided by them"),
    Unchecked("scores", ("artifacts/scores/**/*",), "they are read by live performance, which can request a retrain at most"),
    Unchecked("drops of performance", ("artifacts/performance_drops/**/*",), "they trigger a retrain at most; nothing is decided by them"),
    Unchecked("bundles without a receipt", (*_BUNDLES, "models/*/*"), "only what a receipt names file by file is promoted"),
    Unchecked("events without a record", ("artifacts/outbox/*.json",), "they are messages; nothing is decided by them"),
    Unchecked("state of delivery", ("artifacts/outbox/delivery.json",), "if it is lost or wrong, events are sent again"),
    Unchecked("delivered events", ("artifacts/events/**/*",), "they are messages; nothing is decided by them"),
    Unchecked(
        "calibrators and reports",
        ("artifacts/calibrator_store/**/*", "artifacts/drift*", "artifacts/drift/**/*", "artifacts/telemetry/**/*"),
        "taskclf's own, or in its formats; nothing is promoted by them",
    ),
    Unchecked(
        "settings of the home",
        ("taskclf_dagster.yaml", "artifacts/config_changes.jsonl"),
        "a receipt states the settings that it was judged by; where promotions are signed, this file sets none of them",
    ),
    Unchecked(
        "locks and notes",
        ("models/.lock", "artifacts/.retrain.lock", ".taskclf_dagster.lock", "artifacts/retrain_*.json", "DEMO"),
        "for people",
    ),
)
"""The files that fsck cannot compare with anything; docs/registry.md has the same table."""


def find_unchecked(home: Home) -> dict[str, list[Path]]:
    """Returns the files without a digest by kind; kinds without a file are left out."""
    state = read_registry_state(home)
    records, found = _Records(state), dict[str, list[Path]]()
    for each in UNCHECKED:
        paths = {path for pattern in each.patterns for path in home.root.glob(pattern) if path.is_file()}
        listed = sorted(path for path in paths if not _is_checked(records, path))
        if listed:
            found[each.kind] = listed
    return found


def _is_checked(records: "_Records", path: Path) -> bool:
    """Returns True if one of the checks compares a file that a pattern of `UNCHECKED` matches."""
    home, folder = records.state.home, path.parent
    if folder.parent == home.models:
        return folder.name.startswith(".") or (folder / MANIFEST).exists()
    if folder.parent in (home.challengers, home.pending_models, home.rejected_models):
        return folder.name in records.judged
    if path.is_relative_to(home.predictions):
        return path.relative_to(home.root).as_posix() in records.predictions
    if folder == home.outbox and path.name != DELIVERY:
        return path.name in (WRITTEN_THROUGH, REPORTED_DECISION) or records.knows(path.stem)
    return False


class _Records:
    """The history records and receipts of one state, for the events that are about them.

    Attributes:
        changes: events of pointer changes by id.
        judged: ids of the models that a receipt judged.
    """

    def __init__(self, state: RegistryState) -> None:
        self.state = state
        own = [entry for entry in state.history.moves if entry.sequence is not None and entry.action in EVENT_TYPES]
        self.changes = {event.event_id: event for event in map(build_event, own)}
        decisions = list_decisions(state.home, state.receipts)[0]
        self.decisions = {decision.decision_id: decision for decision in decisions}
        self.judged = {decision.challenger.model_id for decision in decisions if decision.challenger.files}
        self.last = read_last_decided(state.home)

    @cached_property
    def predictions(self) -> dict[str, set[str]]:
        """Hashes by file of predictions that the step records name."""
        return _find_stored_predictions(self.state.home)

    def knows(self, event_id: str) -> bool:
        """Returns True if an event is about a history record or a receipt of this home."""
        decision_id, _, kind = event_id.rpartition("-")
        return event_id in self.changes or (kind in _DECISION_KINDS and decision_id in self.decisions)

    def expect(self, event: Event) -> Event | None:
        """Returns the event that a record gives; None if no record is known.

        Run and time of a decision are those of the last decided run if it is that decision, else those of the event itself.
        """
        if event.event_id in self.changes:
            return self.changes[event.event_id]
        decision_id, _, kind = event.event_id.rpartition("-")
        decision = self.decisions.get(decision_id) if kind in _DECISION_KINDS else None
        if decision is None:
            return None
        run_id, at = event.run_id or "", event.occurred_at
        if self.last is not None and self.last.decision_id == decision_id:
            run_id, at = self.last.run_id, self.last.decided_at
        return next((built for built in build_decision_events(decision, run_id=run_id, at=at) if built.event_id == event.event_id), None)


def check_labels(state: RegistryState) -> Findings:
    """Checks the label fingerprints that a decided run kept, which are named by their hash."""
    for path, problem in find_fingerprint_problems(state.home.decisions).items():
        fix = "Remove the file; all labels count as new then, and a retrain is due"
        yield damage("labels_differ", "P10", f"{path.name}: {problem}", fix)


def check_snapshots(state: RegistryState) -> Findings:
    """Checks every dataset snapshot: its rows against the hash that names it, its record against its own hash. Each is read once.

    One without a record was not written to its end; it is compared with the receipt that names it, if there is one.
    """
    digests: dict[str, set[str]] = defaultdict(set)
    for decision in list_decisions(state.home, state.receipts)[0]:
        digests[Path(decision.dataset.path).name].add(decision.dataset.digest)
    try:
        snapshots = list_snapshots(state.home)
    except (ObjectStoreError, ObjectStoreUnavailableError, SettingsError, UnreadableFileError) as error:
        yield _not_reached("the snapshots", error)
        return
    for snapshot in snapshots:
        folder, problem = snapshot.folder, None
        try:
            if snapshot.is_complete:
                problem = find_stored_problem(folder)
            elif folder.name in digests and open_snapshot_rows(folder).digest() not in digests[folder.name]:
                problem = "it holds other rows than its receipt names"
        except (ObjectStoreError, ObjectStoreUnavailableError) as error:
            yield _not_reached(f"snapshot {folder.name}", error)
        except UNREADABLE as error:
            yield unreadable(folder, error)
        if problem is not None:
            fix = "Remove the folder: a retrain on the same data writes it again; until then its models cannot be reproduced"
            yield damage("snapshot_differs", "P10", f"snapshot {folder.name}: {problem}", fix)


def _not_reached(what: str, error: Exception) -> RegistryFinding:
    """Returns the finding for something in an object store that could not be read, which is no damage."""
    return warning("file_unreadable", "P10", f"{what} cannot be checked: {error}".rstrip("."), "Repeat the check once that is mended")


def check_labeled_windows(state: RegistryState) -> Findings:
    """Checks the frames between the first two assets, which are named by the hash of their values."""
    for path in list_frames(state.home.labeled_windows):
        try:
            holds = FrameFile(path).digest()[:16] == digest_of_name(path)
        except UNREADABLE:
            holds = False
        if not holds:
            detail = f"{path.name} does not hold the windows that its name stands for"
            yield warning("labeled_windows_differ", "P10", detail, "Remove the file: the next run writes it again")


def check_predictions(state: RegistryState) -> Findings:
    """Checks the predictions that step records name: each file must be that of at least one of them."""
    for path, hashes in sorted(_find_stored_predictions(state.home).items()):
        if hash_file_if_exists(state.home.root / path) not in {None, *hashes}:
            fix = "Nothing that was promoted depends on it; a decision that would read it fails until the reports are materialized again"
            yield warning("predictions_differ", "P10", f"{path} is not the file that any step record names", fix)


def _find_stored_predictions(home: Home) -> dict[str, set[str]]:
    """Returns the files of predictions that the step records name, with their hashes; a record that cannot be read names none."""
    found: dict[str, set[str]] = defaultdict(set)
    prefix = home.predictions.relative_to(home.root).as_posix() + "/"
    for path in sorted(home.records.glob("*_report/*.json")):
        waiting: list[object] = [look_at_json(path).document]
        while waiting:
            value = waiting.pop()
            if isinstance(value, list):
                waiting.extend(value)
            elif isinstance(value, dict):
                name, digest = value.get("path"), value.get("sha256")
                if isinstance(name, str) and isinstance(digest, str) and name.startswith(prefix) and find_path_problem(name) is None:
                    found[name].add(digest)
                waiting.extend(value.values())
    return found


def check_calibrators(state: RegistryState) -> Findings:
    """Checks the calibrator stores, which are named by the hash of their files; that of the policy is also a part of the policy's check."""
    for folder in list_folders(state.home.calibrators):
        problem = "it holds other calibrators than its name stands for"
        try:
            digest = parse_calibrator_store(folder)[1]
        except UnreadableFileError as error:
            problem, digest = str(error), ""
        if is_short_hash(folder.name) and not is_named_by(folder, digest):
            fix = "`taskclf-dagster calibrate` fits new ones; a receipt that names these cannot be computed again"
            yield warning("calibrators_differ", "P10", f"calibrators {folder.name}: {problem}", fix)


def check_trials(state: RegistryState) -> Findings:
    """Checks trials and what contenders serve against their own hash; a trial that lacks its decision is a warning."""
    trials, damaged = list_trials(state.home)
    for error in damaged:
        fix = "Restore the file from a backup, or remove it; its trial begins again then"
        yield damage("trial_differs", "P10", f"trial {error.path.name}: {error.reason}", fix)
    for error in list_serving(state.home)[1]:
        fix = "Restore the file from a backup, or remove it; the contender may serve again then"
        yield damage("trial_differs", "P10", f"what {error.path.stem} serves: {error.reason}", fix)
    for trial in trials:
        if trial.is_open and state.receipts.find(state.home, trial.decision_id) is None:
            detail = f"the trial of {trial.model_id} names receipt {trial.decision_id}, which is missing or damaged"
            yield warning("trial_differs", "P10", detail, "Restore the receipt from a backup, or remove the trial")


def check_probations(state: RegistryState) -> Findings:
    """Checks probations against their own hash; one whose promotion is not in the history is a warning."""
    records, damaged = list_probations(state.home)
    for error in damaged:
        fix = "Restore the file from a backup, or remove it; its probation begins again then"
        yield damage("probation_differs", "P10", f"probation {error.path.name}: {error.reason}", fix)
    known = {entry.sequence for entry in state.history.moves}
    for record in records:
        if record.sequence not in known:
            detail = f"the probation of {record.model_id} names record {record.sequence} of the history, which is missing"
            yield warning("probation_differs", "P10", detail, "Restore the history from a backup, or remove the probation")


def check_index(state: RegistryState) -> Findings:
    """Checks what index.json says about bundles that exist; bundles that came or went since it was written are no finding."""
    index = read_index_cache(state.home)
    for problem in [] if index is None else _find_index_problems(state, index):
        fix = "Nothing depends on it, and the next change writes it anew"
        yield warning("index_differs", "P10", f"{state.home.index.name}: {problem}", fix)


def _find_index_problems(state: RegistryState, index: IndexCache) -> list[str]:
    problems = []
    known = {entry.new.name for entry in state.history.moves if entry.new is not None} | state.history.pruned
    bundles = {folder.name: state.bundles.parsed(folder) for folder in list_folders(state.home.models)}
    for entry in index.ranked:
        bundle = bundles.get(entry.model_id)
        if bundle is not None and find_bundle_problem(bundle) is None and summarize(bundle) != entry:
            problems.append(f"its entry of {entry.model_id} is not that of the bundle")
    best = index.ranked[0].model_id if index.ranked else None
    if index.best_model_id != best:
        problems.append(f"its best model is {index.best_model_id}, though it ranks {best} first")
    found = bundles.get(best or "")
    if found is not None and found.metadata is not None and found.metadata.schema_hash != index.schema_hash:
        problems.append("its schema_hash is not that of its best model")
    if index.policy_version != POLICY_VERSION:
        problems.append(f"its policy_version is {index.policy_version}")
    named = {entry.model_id for entry in index.ranked} | {entry.model_id for entry in index.excluded}
    problems.extend(f"it names {name}, which does not exist and never ran" for name in sorted(named - bundles.keys() - known))
    ours = {name for name, bundle in bundles.items() if (bundle.path / MANIFEST).exists()} - find_copies(state).keys()
    problems.extend(f"it does not name {name}" for name in sorted(ours - named))
    return problems


def check_events(state: RegistryState) -> Findings:
    """Checks waiting events against the history records and receipts that they are about."""
    home = state.home
    records = _Records(state)
    fix = "Remove the file; the next change writes missing events of changes again"
    for event in read_outbox(home).events:
        expected = records.expect(event)
        if expected is not None and expected.document != event.document:
            yield warning("event_differs", "P9", f"{event.event_id}.json is not the event of its record", fix)
        elif expected is None and _EVENT_OF_RECORD.fullmatch(event.event_id):
            yield warning("event_differs", "P9", f"{event.event_id}.json is about a record that the history does not have", fix)
    reported = look_at_json(home.outbox / REPORTED_DECISION).document
    decision_id = None if reported is None else reported.get("decision_id")
    if reported is not None and (not isinstance(decision_id, str) or state.receipts.find(home, decision_id) is None):
        detail = f"{REPORTED_DECISION} names receipt {decision_id}, which is missing or damaged"
        yield warning("event_differs", "P9", detail, "Nothing has to be done: the events of the last decision are written again")
