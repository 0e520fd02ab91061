"""Whatever Dagster is made to do, what taskclf runs changes only by a decision to promote, whole and once.

The pointer asset alone after a rejection, checks that warn, retries from failure, two launches at once, and a kill in the middle. Every run
is a real one on a real instance in SQLite; stages of a home are built once and copied by each test.
"""

import json
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from queue import Empty
from typing import Any

import dagster as dg
import pytest

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.decision.last_decided import read_last_decided
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.health import find_pointer_problem
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.storage.filesystem import FileSystem, use_file_system
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import contents
from taskclf_dagster_tests.scenario import AS_OF, DAY, add_learnable_days, learnable_home

PROJECT = Path(__file__).resolve().parents[2]
FIRST, SECOND = AS_OF + timedelta(hours=1), AS_OF + DAY + timedelta(hours=1)
"""When the champion came to run, and when the runs of these tests happen."""

SMALL = "min_class_windows: 20\nmin_windows: 50\nmax_negative_flips: 1.0\nmax_flip_excess: 1.0\ntrain_params: {num_boost_round: 10}\n"
CALM = "min_user_days: 2\nadvice: {max_flap_rate: 1.0, max_flap_rate_smoothed: 1.0}\n"
ALARMED = "min_user_days: 1000\nadvice: {max_flap_rate: 0.0, max_flap_rate_smoothed: 0.0}\n"
VERDICTS = {
    "PROMOTE": f"auto_promote: true\n{SMALL}",
    "REJECT": f"auto_promote: true\n{SMALL}gates: {{min_macro_f1: 0.999}}\n",
    "HOLD": f"auto_promote: true\n{SMALL.replace('min_windows: 50', 'min_windows: 100000')}",
    "AWAITING_APPROVAL": SMALL,
}
"""Settings that make the same challenger end in each verdict."""

TRAIN = ("labeled_windows", "dataset_snapshot", "challenger_model")
DECIDE = ("challenger_report", "champion_report", "promotion_decision")
APPLY = ("active_pointer",)
WARNINGS = ("enough_user_days", "flap_rate_is_low")
PATIENCE = 300.0
"""Seconds that another process may take on a busy machine."""


# --- A home, and ways to run things on it ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """A home, the folder of an instance, and a folder for settings."""

    home: Home
    dagster: Path
    folder: Path

    def copy(self, folder: Path) -> "Stage":
        shutil.copytree(self.home.root, folder / "home")
        return Stage(Home(folder / "home"), self.dagster, folder)

    def config(self, verdict: str, more: str = "") -> Path:
        path = self.folder / f"{verdict}-{abs(hash(more))}.yaml"
        path.write_text(VERDICTS[verdict] + more, encoding="utf-8")
        return path

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.dagster))

    def retrain(self, config: Path, **form: object) -> dg.ExecuteInProcessResult:
        """The whole job."""
        with self.instance() as instance:
            return (
                _definitions(self.home.root)
                .resolve_job_def("retrain")
                .execute_in_process(run_config={"config_path": str(config), **form}, instance=instance, raise_on_error=False)
            )

    def materialize(self, *assets: str, config: Path) -> dg.ExecuteInProcessResult:
        """Some of the assets, as a launch from the lineage page does it."""
        with self.instance() as instance:
            return _materialize(self.home.root, assets, config, instance)

    def pointer(self) -> bytes:
        return self.home.active_pointer.read_bytes()

    def active(self) -> str:
        pointer = read_active(self.home)
        assert pointer is not None
        return pointer.name

    def decision(self) -> PromotionDecision:
        """The one made last."""
        path = self.home.records / "promotion_decision" / "latest.json"
        return PromotionDecision.model_validate(json.loads(path.read_text(encoding="utf-8")))

    def promotions(self) -> Counter[str]:
        """How often each decision moved the pointer."""
        return Counter(entry.decision_id or "" for entry in read_history(self.home).moves if entry.action == "promote")

    def damage(self) -> list[str]:
        return [f"{finding.promise} {finding.words}" for finding in check_registry(self.home) if finding.severity == "damage"]


def _definitions(root: Path, **more: Any) -> dg.Definitions:
    return build_definitions(home=HomeResource(root=str(root)), clock=ClockResource(fixed=SECOND.isoformat()), **more)


def _materialize(root: Path, assets: tuple[str, ...], config: Path, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    settings = {"resources": {"run_settings": {"config": {"config_path": str(config)}}}}
    return (
        _definitions(root)
        .resolve_implicit_global_asset_job_def()
        .execute_in_process(
            asset_selection=[dg.AssetKey(name) for name in assets], run_config=settings, instance=instance, raise_on_error=False
        )
    )


def _made(result: Any) -> set[str]:
    return {event.asset_key.to_user_string() for event in result.all_events if event.is_step_materialization}


def _checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}


@pytest.fixture(scope="module")
def dagster_home() -> Iterator[Path]:
    """An instance in SQLite, made once and before anything runs at once: two processes that make the same one at a time break it."""
    memory = Path("/dev/shm")  # noqa: S108  # SQLite syncs after every event, which a busy disk turns into minutes
    with (
        tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder,
        dg.instance_for_test(temp_dir=folder, set_dagster_home=False),
    ):
        yield Path(folder)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory, dagster_home: Path) -> Stage:
    """A model runs, and a day of new labels is there."""
    folder = tmp_path_factory.mktemp("grown")
    stage = Stage(learnable_home(folder, users=2, days=6), dagster_home, folder)
    definitions = build_definitions(home=HomeResource(root=str(stage.home.root)), clock=ClockResource(fixed=FIRST.isoformat()))
    with stage.instance() as instance:
        form = {"config_path": str(stage.config("PROMOTE"))}
        assert definitions.resolve_job_def("retrain").execute_in_process(run_config=form, instance=instance).success
    assert stage.active()
    add_learnable_days(stage.home)
    return stage


@pytest.fixture(scope="module")
def trained(grown: Stage, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The same with a challenger that nobody has judged yet."""
    stage = grown.copy(tmp_path_factory.mktemp("trained"))
    assert stage.materialize(*TRAIN, config=stage.config("PROMOTE")).success
    return stage


@pytest.fixture(scope="module")
def decided(trained: Stage, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Stage]:
    """The same with each decision that can be made about it; none of them is in effect yet."""
    stages = {}
    for verdict in VERDICTS:
        stage = trained.copy(tmp_path_factory.mktemp("decided"))
        assert stage.materialize(*DECIDE, config=stage.config(verdict)).success
        assert stage.decision().verdict == verdict
        stages[verdict] = stage
    return stages


# --- (a) The pointer asset alone ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", ["REJECT", "HOLD", "AWAITING_APPROVAL"])
def test_the_pointer_asset_alone_after_any_verdict_but_promote_leaves_models_byte_for_byte(
    decided: Mapping[str, Stage], tmp_path: Path, verdict: str
) -> None:
    stage = decided[verdict].copy(tmp_path)
    before = contents(stage.home.models)
    for number in range(2):
        result = stage.materialize(*APPLY, config=stage.config(verdict))
        assert result.success, number
        assert "active_pointer" not in _made(result), number
    assert contents(stage.home.models) == before
    assert stage.decision().destination(stage.home).is_dir()
    assert not list(stage.home.challengers.iterdir())
    assert stage.damage() == []


def test_the_pointer_asset_alone_after_a_whole_run_that_rejected_leaves_models_byte_for_byte(grown: Stage, tmp_path: Path) -> None:
    stage = grown.copy(tmp_path)
    before = contents(stage.home.models)
    run = stage.retrain(stage.config("REJECT"))
    assert run.success
    assert stage.decision().verdict == "REJECT"
    result = stage.materialize(*APPLY, config=stage.config("PROMOTE"))  # settings of now do not change what was decided
    assert result.success
    assert contents(stage.home.models) == before


def test_the_pointer_asset_alone_after_promote_moves_the_pointer_once(decided: Mapping[str, Stage], tmp_path: Path) -> None:
    stage = decided["PROMOTE"].copy(tmp_path)
    before = stage.pointer()
    assert _made(stage.materialize(*APPLY, config=stage.config("PROMOTE"))) == {"active_pointer"}
    moved = contents(stage.home.models)
    assert stage.pointer() != before
    assert _made(stage.materialize(*APPLY, config=stage.config("PROMOTE"))) == set()
    assert contents(stage.home.models) == moved
    assert stage.promotions()[stage.decision().decision_id] == 1


# --- (b) Checks that warn -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "more"),
    [("PROMOTE", ALARMED), ("REJECT", CALM), ("REJECT", ALARMED), ("HOLD", ALARMED)],
    ids=["PROMOTE, all warn", "REJECT, none warns", "REJECT, all warn", "HOLD, all warn"],
)
def test_a_check_that_warns_neither_stops_a_promotion_nor_causes_one(trained: Stage, tmp_path: Path, verdict: str, more: str) -> None:
    stage = trained.copy(tmp_path)
    before = contents(stage.home.models)
    result = stage.materialize(*DECIDE, *APPLY, config=stage.config(verdict, more))
    assert result.success
    checks = _checks(result)
    assert {name: checks[name].passed for name in WARNINGS} == dict.fromkeys(WARNINGS, more == CALM)
    assert {checks[name].severity for name in WARNINGS} == {dg.AssetCheckSeverity.WARN}
    assert stage.decision().verdict == verdict
    if verdict == "PROMOTE":
        assert stage.active() == stage.decision().challenger.model_id
        assert "active_pointer" in _made(result)
    else:
        assert contents(stage.home.models) == before
        assert "active_pointer" not in _made(result)


# --- (c) A run that fails, and is retried from its failure ------------------------------------------------------------------------------


BETWEEN_STEPS: dict[str, Callable[[], object]] = {}
"""What happens as soon as a step has ended well; a test fills it."""


def retrain_job_of(root: str) -> dg.JobDefinition:
    """The job `retrain` on one home, which Dagster makes again when it re-executes a run."""
    return _definitions(Path(root), loggers={"console": _meddler}).resolve_job_def("retrain")


def _reconstructable(stage: Stage) -> Any:
    return dg.build_reconstructable_job(__name__, "retrain_job_of", (str(stage.home.root),))


class _Meddling(logging.Handler):
    """Does what a test has asked for as soon as a step has ended well."""

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "dagster_meta", {}).get("dagster_event")
        if event is not None and event.is_step_success:
            BETWEEN_STEPS.get(event.step_key, lambda: None)()


@dg.logger(config_schema={"log_level": str})
def _meddler(_: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.getLogger("taskclf_dagster_tests.meddler")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.handlers = [_Meddling()]
    return logger


def _snapshot_file(stage: Stage) -> Path:
    """The windows of the snapshot made last."""
    record = json.loads((stage.home.records / "dataset_snapshot" / "latest.json").read_text(encoding="utf-8"))
    return stage.home.root / record["path"] / "windows.parquet"


def _predictions_file(stage: Stage) -> Path:
    """What the challenger made last said about the test windows."""
    record = json.loads((stage.home.records / "challenger_report" / "latest.json").read_text(encoding="utf-8"))
    return stage.home.root / record["report"]["predictions_path"]


FAILURES: dict[str, tuple[str, Callable[[Stage], Path], str]] = {
    "the snapshot is damaged after training": ("challenger_model", _snapshot_file, "challenger_report"),
    "what the challenger said is damaged before the decision": ("challenger_report", _predictions_file, "promotion_decision"),
}
"""After which step which file is damaged, and which step fails then."""


@pytest.mark.parametrize(("case", "verdict"), [*((case, "REJECT") for case in FAILURES), (next(iter(FAILURES)), "PROMOTE")])
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
    job = _reconstructable(stage)
    with stage.instance() as instance:
        form = {"config_path": str(stage.config(verdict))}
        first = dg.execute_job(job, instance=instance, run_config=form)
        failed = {event.step_key for event in first.all_events if event.is_step_failure}
        assert not first.success
        assert failing in failed
        assert "promotion_decision" not in _made(first)
        assert contents(stage.home.models) == before
        assert len(list_decisions(stage.home)[0]) == 1  # that of the champion

        shutil.copyfile(kept, file(stage))
        monkeypatch.delitem(BETWEEN_STEPS, step)
        second = dg.execute_job(job, instance=instance, reexecution_options=dg.ReexecutionOptions.from_failure(first.run_id, instance))
    assert second.success
    assert not _made(second) & set(TRAIN)
    assert stage.decision().verdict == verdict
    if verdict == "REJECT":
        assert contents(stage.home.models) == before
    else:
        assert stage.active() == stage.decision().challenger.model_id
        assert stage.promotions()[stage.decision().decision_id] == 1
    assert stage.damage() == []


def test_a_promotion_cut_off_between_history_and_pointer_is_finished_once_by_the_retry(grown: Stage, tmp_path: Path) -> None:
    stage = grown.copy(tmp_path)
    before = stage.pointer()
    with stage.instance() as instance:
        known = {run.run_id for run in instance.get_runs()}
    process = _start(stage, "retrain", "PROMOTE", dies="at the pointer")
    assert process.wait(PATIENCE) == -signal.SIGKILL
    assert stage.pointer() == before
    decision = stage.decision()
    assert stage.promotions()[decision.decision_id] == 1  # the history has it, the pointer has not

    with stage.instance() as instance:
        (dead,) = [run for run in instance.get_runs() if run.run_id not in known]
        instance.report_run_failed(dead)  # as Dagster's monitoring does with a run whose process is gone
        options = dg.ReexecutionOptions.from_failure(dead.run_id, instance)
        retry = dg.execute_job(_reconstructable(stage), instance=instance, reexecution_options=options)
    assert retry.success
    assert _made(retry) == {"active_pointer"}
    assert stage.active() == decision.challenger.model_id
    assert stage.promotions()[decision.decision_id] == 1
    assert stage.damage() == []
    last = read_last_decided(stage.home)
    assert last is not None
    assert (last.decision_id, last.outcome) == (decision.decision_id, "PROMOTE")


# --- (d) Two launches at once -----------------------------------------------------------------------------------------------------------


def _run_when_all_are_ready(ready: Any, answers: Any, root: Path, dagster: Path, config: Path, assets: tuple[str, ...]) -> None:
    """In a process of its own: waits for the others, then launches; assets () is the whole job."""
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    with dg.DagsterInstance.from_config(str(dagster)) as instance:
        job = _definitions(root).resolve_job_def("retrain")
        ready.wait(PATIENCE)
        if assets:
            result = _materialize(root, assets, config, instance)
        else:
            form = {"config_path": str(config), "force": True}
            result = job.execute_in_process(run_config=form, instance=instance, raise_on_error=False)
    errors = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    answers.put((result.success, "active_pointer" in _made(result), "\n".join(str(error) for error in errors)))


def _at_once(stage: Stage, config: Path, *assets: str, processes: int = 2) -> list[tuple[bool, bool, str]]:
    """Launches in several processes at the same time: of each whether it ended well, whether it moved the pointer, and its errors."""
    spawn = multiprocessing.get_context("spawn")
    ready, answers = spawn.Barrier(processes), spawn.Queue()
    arguments = (ready, answers, stage.home.root, stage.dagster, config, assets)
    children = [spawn.Process(target=_run_when_all_are_ready, args=arguments) for _ in range(processes)]
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
    assert find_pointer_problem(stage.home) is None
    assert stage.damage() == []


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


def test_the_pointer_asset_twice_at_once_for_one_decision_moves_the_pointer_once(decided: Mapping[str, Stage], tmp_path: Path) -> None:
    stage = decided["PROMOTE"].copy(tmp_path)
    results = _at_once(stage, stage.config("PROMOTE"), *APPLY, processes=3)
    assert all(success for success, _, _ in results), results
    assert stage.promotions()[stage.decision().decision_id] == 1
    assert stage.active() == stage.decision().challenger.model_id
    assert stage.damage() == []


# --- (e) Killed in the middle -------------------------------------------------------------------------------------------------------------


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
        into_models = target.parent.name == "models"
        if into_models:
            self._die("before the bundle is in models")
        super().rename(source, target)
        if into_models:
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
        if target.name == "inference_policy.json":
            self._die("behind the policy")
        if target.name == "active.json":
            self._die("behind the pointer")


BEFORE_THE_POINTER = (
    "while staging",
    "before the bundle is in models",
    "behind the bundle",
    "within the history line",
    "behind the history line",
    "behind the policy",
    "at the pointer",
)
ASSETS_OF = {"retrain": (), "apply": APPLY}


def run_until_killed(root: str, dagster: str, config: str, what: str, dies: str) -> None:
    """In a process of its own: a retrain, or the pointer asset alone, which kills itself at a moment if one is given."""
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    with dg.DagsterInstance.from_config(dagster) as instance, use_file_system(Dying(dies)) if dies else nullcontext():
        if what == "retrain":
            _definitions(Path(root)).resolve_job_def("retrain").execute_in_process(run_config={"config_path": config}, instance=instance)
        else:
            _materialize(Path(root), ASSETS_OF[what], Path(config), instance)


def _start(stage: Stage, what: str, verdict: str, *, dies: str = "") -> subprocess.Popen[bytes]:
    module = "taskclf_dagster_tests.cycle.test_pointer_through_dagster"
    code = f"import sys; from {module} import run_until_killed; run_until_killed(*sys.argv[1:])"
    arguments = [str(stage.home.root), str(stage.dagster), str(stage.config(verdict)), what, dies]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=stage.folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _assert_whole_and_mendable(stage: Stage, before: bytes, challenger: str | None) -> None:
    """The pointer is the old one, or the new one and complete; and after a repair every promise holds."""
    if stage.pointer() != before:
        assert stage.active() == challenger
        assert find_pointer_problem(stage.home) is None
    repair(stage.home, at=SECOND + DAY)
    assert stage.damage() == []
    assert find_pointer_problem(stage.home) is None
    assert not stage.home.staging.exists()
    assert set(stage.promotions().values()) == {1}


@pytest.mark.parametrize("moment", [*BEFORE_THE_POINTER, "behind the pointer"])
def test_a_kill_at_any_moment_of_a_promotion_leaves_the_old_pointer_or_the_new_one(
    decided: Mapping[str, Stage], tmp_path: Path, moment: str
) -> None:
    stage = decided["PROMOTE"].copy(tmp_path)
    before, challenger = stage.pointer(), stage.decision().challenger.model_id
    assert _start(stage, "apply", "PROMOTE", dies=moment).wait(PATIENCE) == -signal.SIGKILL
    assert (stage.pointer() == before) is (moment in BEFORE_THE_POINTER)
    _assert_whole_and_mendable(stage, before, challenger)
    assert stage.materialize(*APPLY, config=stage.config("PROMOTE")).success  # the same decision, once more
    assert stage.active() == challenger
    assert stage.promotions()[stage.decision().decision_id] == 1
    assert stage.damage() == []


def _new(folder: Path, known: set[str]) -> bool:
    return folder.is_dir() and any(path.name not in known and not path.name.startswith(".") for path in folder.iterdir())


WATCHED: dict[str, Callable[[Home], Callable[[], bool]]] = {
    "the challenger is there": lambda home: lambda: _new(home.challengers, set()),
    "it has been scored": lambda home: _unlike(home.records / "challenger_report" / "latest.json"),
    "the receipt is there": lambda home: _appears(home.decisions),
    "the bundle is being staged": lambda home: home.staging.exists,
    "the bundle is in models": lambda home: _appears(home.models),
}
"""What is waited for before a whole retrain is killed."""

UNDECIDED = ("the challenger is there", "it has been scored")


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
    while not happened() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    ended = process.wait(PATIENCE)
    assert happened() or ended == 0
    if moment in UNDECIDED:
        assert ended == -signal.SIGKILL
        assert contents(stage.home.models) == models
    made = stage.decision().challenger.model_id
    _assert_whole_and_mendable(stage, before, made)


@pytest.mark.parametrize("verdict", ["REJECT", "HOLD"])
def test_a_retrain_that_will_not_promote_killed_at_its_decision_leaves_models_byte_for_byte(
    grown: Stage, tmp_path: Path, verdict: str
) -> None:
    stage = grown.copy(tmp_path)
    before, happened = contents(stage.home.models), _appears(stage.home.decisions)
    process = _start(stage, "retrain", verdict)
    deadline = time.monotonic() + PATIENCE
    while not happened() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE)
    assert happened()
    assert contents(stage.home.models) == before
    assert stage.damage() == []


def test_after_a_killed_retrain_the_next_one_promotes_as_if_nothing_had_happened(grown: Stage, tmp_path: Path) -> None:
    stage = grown.copy(tmp_path)
    process = _start(stage, "retrain", "PROMOTE")
    deadline = time.monotonic() + PATIENCE
    while not _new(stage.home.challengers, set()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.0005)
    process.kill()
    assert process.wait(PATIENCE) == -signal.SIGKILL
    result = stage.retrain(stage.config("PROMOTE"))
    assert result.success
    assert stage.decision().verdict == "PROMOTE"
    assert stage.active() == stage.decision().challenger.model_id
    assert stage.damage() == []
