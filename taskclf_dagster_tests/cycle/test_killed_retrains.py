"""Retrains that are killed at some moment: the pointer is the old one or the new one, whole, and the next run goes on from there."""

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from multiprocessing.process import BaseProcess
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.domain.decision.last_decided import read_last_decided
from taskclf_dagster.domain.registry.health import find_pointer_problem
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.storage.filesystem import FileSystem, use_file_system
from taskclf_dagster.home import Home
from taskclf_dagster_tests.cycle.stages import APPLY, PATIENCE, PROCESSES, SECOND, Stage, definitions_of, made, materialize, reconstructable
from taskclf_dagster_tests.dagster_internals import engines_made_once
from taskclf_dagster_tests.models import contents
from taskclf_dagster_tests.scenario import DAY

pytestmark = pytest.mark.slow


class Dying(FileSystem):
    """Kills its own process, as a power switch does, at one moment of a promotion."""

    def __init__(self, moment: str) -> None:
        self.moment = moment

    def _die(self, moment: str) -> None:
        if moment == self.moment:
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)

    def create(self, path: Path, content: bytes | Callable[[Path], object]) -> None:
        super().create(path, content)
        if path.parent.parent.name == ".staging":
            self._die("while staging")

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        if target.parent.name == "models":
            self._die("behind the bundle")

    def append(self, path: Path, content: bytes) -> None:
        if path.name == "active_history.jsonl" and self.moment == "within the history line":
            super().append(path, content[: len(content) // 2])
            self._die("within the history line")
        super().append(path, content)
        if path.name == "active_history.jsonl":
            self._die("behind the history line")

    def replace(self, source: Path, target: Path) -> None:
        if target.name == "active.json":
            self._die("at the pointer")
        super().replace(source, target)
        if target.name == "active.json":
            self._die("behind the pointer")


BEFORE_THE_POINTER = (
    "while staging",
    "behind the bundle",
    "within the history line",
    "behind the history line",
    "at the pointer",
)
ASSETS_OF = {"retrain": (), "apply": APPLY}


def run_until_killed(root: str, dagster: str, config: str, what: str, dies: str) -> None:
    """In a process of its own: a retrain, or the pointer asset alone, which kills itself at a moment if one is given."""
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    disk = use_file_system(Dying(dies)) if dies else nullcontext()
    with engines_made_once(), dg.DagsterInstance.from_config(dagster) as instance, disk:
        if what == "retrain":
            definitions_of(Path(root)).resolve_job_def("retrain").execute_in_process(run_config={"config_path": config}, instance=instance)
        else:
            materialize(Path(root), ASSETS_OF[what], Path(config), instance)


def _start(stage: Stage, what: str, verdict: str, *, dies: str = "") -> BaseProcess:
    arguments = (str(stage.home.root), str(stage.dagster), str(stage.config(verdict)), what, dies)
    process = PROCESSES.Process(target=run_until_killed, args=arguments)
    process.start()
    return process


def _end(process: BaseProcess) -> int | None:
    """Exit code of a process, which is waited for."""
    process.join(PATIENCE)
    return process.exitcode


def _assert_whole_and_mendable(stage: Stage, before: bytes, challenger: str | None) -> None:
    """The pointer is the old one, or the new one and complete; and after a repair every promise holds."""
    if stage.pointer() != before:
        assert stage.active() == challenger
        assert find_pointer_problem(read_registry_state(stage.home)) is None
    repair(stage.home, at=SECOND + DAY)
    assert stage.damage() == []
    assert find_pointer_problem(read_registry_state(stage.home)) is None
    assert not stage.home.staging.exists()
    assert set(stage.promotions().values()) == {1}


@pytest.mark.parametrize("moment", [*BEFORE_THE_POINTER, "behind the pointer"])
def test_a_kill_at_any_moment_of_a_promotion_leaves_the_old_pointer_or_the_new_one(
    decided: Mapping[str, Stage], tmp_path: Path, moment: str
) -> None:
    stage = decided["PROMOTE"].copy(tmp_path)
    before, challenger = stage.pointer(), stage.decision().challenger.model_id
    assert _end(_start(stage, "apply", "PROMOTE", dies=moment)) == -signal.SIGKILL
    assert (stage.pointer() == before) is (moment in BEFORE_THE_POINTER)
    _assert_whole_and_mendable(stage, before, challenger)
    assert stage.materialize(*APPLY, config=stage.config("PROMOTE")).success  # the same decision, once more
    assert stage.active() == challenger
    assert stage.promotions()[stage.decision().decision_id] == 1
    assert stage.damage() == []


def _new(folder: Path, known: set[str]) -> bool:
    return folder.is_dir() and any(path.name not in known and not path.name.startswith(".") for path in folder.iterdir())


WATCHED: dict[str, Callable[[Home], Callable[[], bool]]] = {
    "it has been scored": lambda home: _unlike(home.records / "challenger_report" / "latest.json"),
    "the receipt is there": lambda home: _appears(home.decisions),
    "the bundle is in models": lambda home: _appears(home.models),
}
"""What is waited for before a whole retrain is killed."""

UNDECIDED = "it has been scored"


def _appears(folder: Path) -> Callable[[], bool]:
    known = {path.name for path in folder.iterdir()}
    return lambda: _new(folder, known)


def _unlike(path: Path) -> Callable[[], bool]:
    before = path.read_bytes()
    return lambda: path.exists() and path.read_bytes() != before


@pytest.mark.parametrize("moment", WATCHED)
def test_a_retrain_killed_from_outside_leaves_the_old_pointer_or_the_new_one(grown: Stage, tmp_path: Path, moment: str) -> None:
    stage = grown.copy(tmp_path)
    before, models = stage.pointer(), contents(stage.home.models)
    happened = WATCHED[moment](stage.home)
    process = _start(stage, "retrain", "PROMOTE")
    deadline = time.monotonic() + PATIENCE
    while not happened() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.0005)
    process.kill()
    ended = _end(process)
    assert happened() or ended == 0
    if moment == UNDECIDED:
        assert ended == -signal.SIGKILL
        assert contents(stage.home.models) == models
    made = stage.decision().challenger.model_id
    _assert_whole_and_mendable(stage, before, made)


def test_a_retrain_that_will_not_promote_killed_at_its_decision_leaves_models_byte_for_byte(grown: Stage, tmp_path: Path) -> None:
    stage = grown.copy(tmp_path)
    before, happened = contents(stage.home.models), _appears(stage.home.decisions)
    process = _start(stage, "retrain", "REJECT")
    deadline = time.monotonic() + PATIENCE
    while not happened() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.0005)
    process.kill()
    _end(process)
    assert happened()
    assert contents(stage.home.models) == before
    assert stage.damage() == []


def test_after_a_killed_retrain_the_next_one_promotes_as_if_nothing_had_happened(grown: Stage, tmp_path: Path) -> None:
    stage = grown.copy(tmp_path)
    models = contents(stage.home.models)
    process = _start(stage, "retrain", "PROMOTE")
    deadline = time.monotonic() + PATIENCE
    while not _new(stage.home.challengers, set()) and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.0005)
    process.kill()
    assert _end(process) == -signal.SIGKILL
    assert contents(stage.home.models) == models
    result = stage.retrain(stage.config("PROMOTE"))
    assert result.success
    assert stage.decision().verdict == "PROMOTE"
    assert stage.active() == stage.decision().challenger.model_id
    assert stage.damage() == []


def test_a_promotion_cut_off_between_history_and_pointer_is_finished_once_by_the_retry(grown: Stage, tmp_path: Path) -> None:
    stage = grown.copy(tmp_path)
    before = stage.pointer()
    with stage.instance() as instance:
        known = {run.run_id for run in instance.get_runs()}
    process = _start(stage, "retrain", "PROMOTE", dies="at the pointer")
    assert _end(process) == -signal.SIGKILL
    assert stage.pointer() == before
    decision = stage.decision()
    assert stage.promotions()[decision.decision_id] == 1  # the history has it, the pointer has not

    with stage.instance() as instance:
        (dead,) = [run for run in instance.get_runs() if run.run_id not in known]
        instance.report_run_failed(dead)  # as Dagster's monitoring does with a run whose process has ended
        options = dg.ReexecutionOptions.from_failure(dead.run_id, instance)
        retry = dg.execute_job(reconstructable(stage), instance=instance, reexecution_options=options)
    assert retry.success
    assert made(retry) == {"active_pointer"}
    assert stage.active() == decision.challenger.model_id
    assert stage.promotions()[decision.decision_id] == 1
    assert stage.damage() == []
    last = read_last_decided(stage.home)
    assert last is not None
    assert (last.decision_id, last.outcome) == (decision.decision_id, "PROMOTE")
