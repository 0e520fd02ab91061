"""Two launches at the same moment, in processes of their own: what taskclf runs changes once for each decision in effect."""

import logging
from collections.abc import Mapping
from pathlib import Path
from queue import Empty
from typing import Any

import dagster as dg
import pytest

from taskclf_dagster.domain.registry.health import find_pointer_problem
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster_tests.cycle.stages import APPLY, PATIENCE, PROCESSES, Stage, definitions_of, made, materialize
from taskclf_dagster_tests.dagster_internals import engines_made_once
from taskclf_dagster_tests.models import contents

pytestmark = pytest.mark.slow


def _run_when_all_are_ready(ready: Any, answers: Any, root: Path, dagster: Path, config: Path, assets: tuple[str, ...]) -> None:
    """In a process of its own: waits for the others, then launches; assets () is the whole job."""
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    with engines_made_once(), dg.DagsterInstance.from_config(str(dagster)) as instance:
        job = definitions_of(root).resolve_job_def("retrain")
        ready.wait(PATIENCE)
        if assets:
            result = materialize(root, assets, config, instance)
        else:
            form = {"config_path": str(config), "force": True}
            result = job.execute_in_process(run_config=form, instance=instance, raise_on_error=False)
    errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    answers.put((result.success, "active_pointer" in made(result), "\n".join(str(error) for error in errors)))


def _at_once(stage: Stage, config: Path, *assets: str, processes: int = 2) -> list[tuple[bool, bool, str]]:
    """Launches in several processes at the same time: of each whether it ended well, whether it moved the pointer, and its errors."""
    ready, answers = PROCESSES.Barrier(processes), PROCESSES.Queue()
    arguments = (ready, answers, stage.home.root, stage.dagster, config, assets)
    children = [PROCESSES.Process(target=_run_when_all_are_ready, args=arguments) for _ in range(processes)]
    for child in children:
        child.start()
    try:
        found = [answers.get(timeout=PATIENCE) for _ in children]
    except Empty:
        found = []
    for child in children:
        child.join(10)
        child.kill()
    assert len(found) == processes, "a process ended without an answer"
    return found


def test_two_retrains_at_once_that_reject_leave_models_byte_for_byte(grown: Stage, tmp_path: Path) -> None:
    stage = grown.copy(tmp_path)
    before = contents(stage.home.models)
    results = _at_once(stage, stage.config("REJECT"))
    assert contents(stage.home.models) == before
    assert any(success for success, _, _ in results), results
    assert not any(moved for _, moved, _ in results)
    assert stage.damage() == []


def test_two_retrains_at_once_that_promote_move_the_pointer_once_for_each_decision_in_effect(grown: Stage, tmp_path: Path) -> None:
    stage = grown.copy(tmp_path)
    old, before = stage.active(), sum(stage.promotions().values())
    results = _at_once(stage, stage.config("PROMOTE"))
    moved = [result for result in results if result[1]]
    assert moved, results
    assert sum(stage.promotions().values()) - before == len(moved)
    assert set(stage.promotions().values()) == {1}
    assert stage.active() != old
    assert find_pointer_problem(read_registry_state(stage.home)) is None
    assert stage.damage() == []


def test_the_pointer_asset_twice_at_once_for_one_decision_moves_the_pointer_once(decided: Mapping[str, Stage], tmp_path: Path) -> None:
    stage = decided["PROMOTE"].copy(tmp_path)
    results = _at_once(stage, stage.config("PROMOTE"), *APPLY, processes=3)
    assert all(success for success, _, _ in results), results
    assert stage.promotions()[stage.decision().decision_id] == 1
    assert stage.active() == stage.decision().challenger.model_id
    assert stage.damage() == []
