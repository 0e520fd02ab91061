"""Whatever Dagster is made to do, what taskclf runs changes only by a decision to promote, whole and once.

The pointer asset alone after a rejection, checks that warn, retries from failure. Every run is a real one on a real instance.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.defs.runs.run_tags import DECISION_TAG
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.storage.filesystem import FileSystem, use_file_system
from taskclf_dagster.status.run_history import read_retrains
from taskclf_dagster_tests.cycle.stages import (
    ALARMED,
    APPLY,
    BETWEEN_STEPS,
    CALM,
    DECIDE,
    TRAIN,
    WARNINGS,
    Stage,
    checks_of,
    made,
    reconstructable,
)
from taskclf_dagster_tests.models import contents

# --- (a) The pointer asset alone ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", ["REJECT", pytest.param("AWAITING_APPROVAL", marks=pytest.mark.slow)])
def test_the_pointer_asset_alone_after_any_verdict_but_promote_leaves_models_byte_for_byte(
    decided: Mapping[str, Stage], tmp_path: Path, verdict: str
) -> None:
    stage = decided[verdict].copy(tmp_path)
    before = contents(stage.home.models)
    for settings in (verdict, "PROMOTE"):  # settings of now do not change what was decided
        result = stage.materialize(*APPLY, config=stage.config(settings))
        assert result.success, settings
        assert "active_pointer" not in made(result), settings
    assert contents(stage.home.models) == before
    assert stage.decision().destination(stage.home).is_dir()
    assert not list(stage.home.challengers.iterdir())
    assert stage.damage() == []


def test_the_pointer_asset_alone_after_promote_moves_the_pointer_once(decided: Mapping[str, Stage], tmp_path: Path) -> None:
    stage = decided["PROMOTE"].copy(tmp_path)
    before = stage.pointer()
    assert made(stage.materialize(*APPLY, config=stage.config("PROMOTE"))) == {"active_pointer"}
    moved = contents(stage.home.models)
    assert stage.pointer() != before
    assert made(stage.materialize(*APPLY, config=stage.config("PROMOTE"))) == set()
    assert contents(stage.home.models) == moved
    assert stage.promotions()[stage.decision().decision_id] == 1


# --- (b) Checks that warn -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "more"),
    [("PROMOTE", ALARMED), ("REJECT", CALM)],
    ids=["PROMOTE, all warn", "REJECT, none warns"],
)
def test_a_check_that_warns_neither_stops_a_promotion_nor_causes_one(trained: Stage, tmp_path: Path, verdict: str, more: str) -> None:
    stage = trained.copy(tmp_path)
    before = contents(stage.home.models)
    result = stage.materialize(*DECIDE, *APPLY, config=stage.config(verdict, more))
    assert result.success
    checks = checks_of(result)
    assert {name: checks[name].passed for name in WARNINGS} == dict.fromkeys(WARNINGS, more == CALM)
    assert {checks[name].severity for name in WARNINGS} == {dg.AssetCheckSeverity.WARN}
    assert stage.decision().verdict == verdict
    if verdict == "PROMOTE":
        assert stage.active() == stage.decision().challenger.model_id
        assert "active_pointer" in made(result)
    else:
        assert contents(stage.home.models) == before
        assert "active_pointer" not in made(result)


# --- (c) A run that fails, and is retried from its failure ------------------------------------------------------------------------------


def _snapshot_file(stage: Stage) -> Path:
    """The windows of the snapshot made last."""
    record = json.loads((stage.home.records / "dataset_snapshot" / "latest.json").read_text(encoding="utf-8"))
    return stage.home.root / record["path"] / "windows" / "part-000.parquet"


def _predictions_file(stage: Stage) -> Path:
    """What the challenger made last said about the test windows."""
    record = json.loads((stage.home.records / "challenger_report" / "latest.json").read_text(encoding="utf-8"))
    return stage.home.root / record["report"]["predictions"]["path"]


FAILURES: dict[str, tuple[str, Callable[[Stage], Path], str]] = {
    "the snapshot is damaged after training": ("challenger_model", _snapshot_file, "challenger_report"),
    "what the challenger said is damaged before the decision": ("challenger_report", _predictions_file, "promotion_decision"),
}
"""After which step which file is damaged, and which step fails then."""


@pytest.mark.parametrize(
    ("case", "verdict"),
    [
        ("the snapshot is damaged after training", "PROMOTE"),
        pytest.param("what the challenger said is damaged before the decision", "REJECT", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_fails_before_its_decision_and_is_retried_moves_the_pointer_only_by_a_promotion(
    grown: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, verdict: str
) -> None:
    step, file, failing = FAILURES[case]
    stage = grown.copy(tmp_path)
    before, kept = contents(stage.home.models), stage.folder / "whole"

    def damage() -> None:
        path = file(stage)
        shutil.copyfile(path, kept)
        path.write_bytes(path.read_bytes()[:-200])

    monkeypatch.setitem(BETWEEN_STEPS, step, damage)
    job = reconstructable(stage)
    with dg.DagsterInstance.ephemeral() as instance:
        form = {"config_path": str(stage.config(verdict))}
        first = dg.execute_job(job, instance=instance, run_config=form)
        failed = {event.step_key for event in first.all_events if event.is_step_failure}
        assert not first.success
        assert failing in failed
        assert "promotion_decision" not in made(first)
        assert contents(stage.home.models) == before
        assert len(list_decisions(stage.home)[0]) == 1  # that of the champion

        shutil.copyfile(kept, file(stage))
        monkeypatch.delitem(BETWEEN_STEPS, step)
        second = dg.execute_job(job, instance=instance, reexecution_options=dg.ReexecutionOptions.from_failure(first.run_id, instance))
    assert second.success
    assert not made(second) & set(TRAIN)
    assert stage.decision().verdict == verdict
    if verdict == "REJECT":
        assert contents(stage.home.models) == before
    else:
        assert stage.active() == stage.decision().challenger.model_id
        assert stage.promotions()[stage.decision().decision_id] == 1
    assert stage.damage() == []


def test_a_re_execution_that_skips_does_not_carry_the_decision_of_the_run_that_it_repeats(grown: Stage, tmp_path: Path) -> None:
    stage = grown.copy(tmp_path)
    job, form = reconstructable(stage), {"config_path": str(stage.config("PROMOTE"))}
    with dg.DagsterInstance.ephemeral() as instance:
        first = dg.execute_job(job, instance=instance, run_config=form)
        parent = instance.get_run_by_id(first.run_id)
        assert parent is not None
        assert parent.tags[DECISION_TAG] == stage.decision().decision_id
        repeats = dg.ReexecutionOptions(parent_run_id=first.run_id)
        again = dg.execute_job(job, instance=instance, tags=dict(parent.tags), reexecution_options=repeats)  # the page copies tags
        shown = read_retrains(instance, stage.home, limit=1)[0]
    assert (shown.run_id, shown.outcome, shown.decision_id, shown.moved) == (again.run_id, "SKIP", None, None)


class _Overtaking(FileSystem):
    """Another process finishes a challenger of the same name a moment before this one."""

    def __init__(self) -> None:
        self.overtaken: list[str] = []

    def rename(self, source: Path, target: Path) -> None:
        if target.parent.name == "challengers" and not self.overtaken:
            shutil.copytree(source, target)
            self.overtaken.append(target.name)
        super().rename(source, target)


def test_a_challenger_whose_name_another_retrain_took_in_the_meantime_gets_one_of_its_own(grown: Stage, tmp_path: Path) -> None:
    stage, other = grown.copy(tmp_path), _Overtaking()
    with use_file_system(other):
        result = stage.materialize(*TRAIN, config=stage.config("PROMOTE"))
    assert len(other.overtaken) == 1
    assert result.success
    made = {path.name for path in stage.home.challengers.iterdir() if not path.name.startswith(".")}
    assert len(made) == 2
    assert made > set(other.overtaken)
