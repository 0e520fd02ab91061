"""Hostile JSON in every file that a command reads: each reader answers or reports, and a repair leaves a home that can be promoted to."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from taskclf_dagster.config.loading import load_retrain_config
from taskclf_dagster.domain.decision.decision_events import write_decision_events
from taskclf_dagster.domain.decision.decision_store import list_decisions, verify_stored
from taskclf_dagster.domain.decision.last_decided import LastDecided, read_last_decided, write_last_decided
from taskclf_dagster.domain.events.delivery_state import DeliveryState, SinkState, read_delivery_state, write_delivery_state
from taskclf_dagster.domain.events.outbox import count_events, read_outbox
from taskclf_dagster.domain.models.bundle_files import ENCODERS, MANIFEST, METADATA, METRICS
from taskclf_dagster.domain.models.bundle_paths import require_bundle
from taskclf_dagster.domain.models.reproducibility import reproduce
from taskclf_dagster.domain.registry.champion import resolve_active_model
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.index_cache import read_index_cache
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.ranking import find_best_loadable_model
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.retention import plan_prune
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.retraining.model_comparison import read_current_snapshot
from taskclf_dagster.domain.retraining.steps import find_skip_reason
from taskclf_dagster.domain.scheduling.cadence import check_calibrator_update_due
from taskclf_dagster.domain.scheduling.drift_trigger import find_drift_trigger
from taskclf_dagster.domain.scheduling.run_lock import read_holder
from taskclf_dagster.domain.scheduling.triggers import assess_trigger
from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.hostile import hostile_contents
from taskclf_dagster_tests.models import AT, MID, NEW, contents, snapshot_rows
from taskclf_dagster_tests.registry_scenario import NEXT, judged, promote, promoted, read
from taskclf_dagster_tests.scenario import DAY, a_drift_report, make_home, retrain_config

NOW = AT + 9 * DAY
ALL_FAULTS = bool(os.environ.get("TASKCLF_DAGSTER_ALL_FAULTS"))

READERS: dict[str, Callable[[Home], object]] = {
    "fsck": check_registry,
    "champion": lambda home: resolve_active_model(read_registry_state(home)),
    "list": lambda home: find_best_loadable_model(home.models),
    "receipts": list_decisions,
    "prune --dry-run": lambda home: plan_prune(home, keep_versions=1, keep_rejected=1, at=NOW),
    "last decided": read_last_decided,
    "skip": lambda home: find_skip_reason(home, snapshot_rows(), load_retrain_config()),
    "check-retrain": lambda home: assess_trigger(home, config=retrain_config(), now=NOW),
    "calibrators": lambda home: check_calibrator_update_due(home, now=NOW, cadence_days=7),
    "drift": lambda home: find_drift_trigger(home, severity="warning", now=NOW),
    "outbox": lambda home: (read_outbox(home), count_events(home), read_delivery_state(home)),
    "holder": read_holder,
    "index": read_index_cache,
    "snapshot": read_current_snapshot,
    "reproduce": lambda home: reproduce(home, require_bundle(home, NEW)),
    "verify": lambda home: [verify_stored(home, path.stem) for path in home.decisions.glob("*_*_*.json")],
}
"""The calls by which commands answer, by the command or by what is read."""


class Stage:
    """A home with every file that a command reads, which is put back before each example."""

    def __init__(self, folder: Path) -> None:
        self.home = make_home(folder)
        promoted(self.home, MID, NEW)
        self._write_other_files()
        self.files = {name: content for name, content in contents(self.home.root).items() if content != b"<folder>"}

    def _write_other_files(self) -> None:
        home = self.home
        decision = list_decisions(home)[0][0]
        write_last_decided(
            home,
            LastDecided(
                outcome="PROMOTE",
                decided_at=AT,
                as_of=AT,
                run_id="r",
                decision_id=decision.decision_id,
                dataset_hash="0" * 16,
                snapshot_path="artifacts/snapshots/0",
                label_watermark="0" * 16,
            ),
        )
        write_decision_events(home)
        write_delivery_state(home, DeliveryState(sinks={"a": SinkState(delivered=["e"])}))
        write_json(home.drift_report, a_drift_report(AT, warnings=1, critical=1))
        write_json(home.calibrator_store, {"method": "temperature", "model_bundle_id": NEW, "created_at": AT.isoformat()})
        write_json(home.run_lock_holder, {"run_id": "r", "worker": "w", "since": AT.isoformat()})
        write_json(home.records / "dataset_snapshot" / "latest.json", {"dataset_hash": "0" * 16, "path": "artifacts/snapshots/0"})

    @property
    def targets(self) -> list[str]:
        """The files that are damaged, by their path in the home."""
        bundle = [f"models/{NEW}/{name}" for name in (METADATA, METRICS, ENCODERS, MANIFEST)]
        others = [name for name in self.files if name.endswith(".json") and "/20" not in name]
        receipts = [name for name in self.files if name.startswith("artifacts/decisions/20")][:1]
        events = [name for name in self.files if name.startswith("artifacts/outbox/0")][:1]
        return sorted({*bundle, *others, *receipts, *events, "models/active_history.jsonl"})

    def restore(self) -> None:
        for path in sorted(self.home.root.rglob("*"), reverse=True):
            name = str(path.relative_to(self.home.root))
            if path.is_dir() and not path.is_symlink():
                if not any(kept.startswith(name + "/") for kept in self.files):
                    path.rmdir()
            elif name not in self.files:
                path.unlink()
        for name, content in self.files.items():
            path = self.home.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    return Stage(tmp_path_factory.mktemp("hostile"))


def answer_or_report(home: Home) -> None:
    """Lets every reader answer; an error of another kind than ours fails the test."""
    for name, reader in READERS.items():
        note(name)
        with suppress(TaskclfDagsterError):
            reader(home)


def damaged_content(stage: Stage, target: str, data: st.DataObject) -> bytes:
    """A hostile content for a file; in the history it is a line of another program between the others."""
    if not target.endswith(".jsonl"):
        return data.draw(hostile_contents(read(stage.home.root / target)))
    number = data.draw(st.sampled_from([None, 3, 2**60]))
    line = {"at": AT.isoformat(), "old": None, "new": read(stage.home.active_pointer), "sequence": number}
    foreign = data.draw(hostile_contents(line)).replace(b"\n", b" ")
    first, _, rest = stage.files[target].partition(b"\n")
    return first + b"\n" + foreign + b"\n" + rest


def check_one(stage: Stage, data: st.DataObject) -> None:
    stage.restore()
    home, target = stage.home, data.draw(st.sampled_from(stage.targets))
    content = damaged_content(stage, target, data)
    (home.root / target).write_bytes(content)
    note(f"{target}: {content[:2000]!r}")
    answer_or_report(home)
    repair(home, at=NOW)
    answer_or_report(home)
    promote(home, judged(home, NEXT), at=NOW)
    active = read_active(home)
    assert active is not None
    assert active.name == NEXT
    assert [finding.code for finding in check_registry(home) if finding.promise == "P1"] == []


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_hostile_json_is_answered_or_reported_and_never_keeps_a_home_from_a_promotion(stage: Stage, data: st.DataObject) -> None:
    check_one(stage, data)


@pytest.mark.faults
@settings(max_examples=5000 if ALL_FAULTS else 40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_much_hostile_json_never_keeps_a_home_from_a_promotion(stage: Stage, data: st.DataObject) -> None:
    check_one(stage, data)
