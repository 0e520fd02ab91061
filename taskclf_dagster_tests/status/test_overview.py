"""The summary of a home for page and API: its words in each state, what can be done, and that nothing broken makes it fail."""

import os
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.config.loading import load_retrain_config
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.runs.run_tags import DECISION_TAG
from taskclf_dagster.domain.registry.rollback import rollback
from taskclf_dagster.domain.reporting.verdict_words import say_verdict
from taskclf_dagster.home import Home
from taskclf_dagster.status.actions import NO_DAEMON, NONE_WAITS, READ_ONLY
from taskclf_dagster.status.overview import NO_WINDOWS, OverviewReader, read_overview
from taskclf_dagster.status.overview_records import Action, Overview
from taskclf_dagster_tests.dagster_internals import DaemonHeartbeat
from taskclf_dagster_tests.models import AT, MID, NEW, OLD
from taskclf_dagster_tests.registry_scenario import MODELS, judged, promote, promoted, set_active, write_variant
from taskclf_dagster_tests.retrain_scenario import LATER, QUICK, Learned, Waiting
from taskclf_dagster_tests.runs import Status, add_run
from taskclf_dagster_tests.scenario import AS_OF, DAY, learnable_home, make_home, retrain_config

CONFIG = retrain_config(schedule={"timezone": "UTC"}, train_params=QUICK)
STRICTER = CONFIG.with_changes(gates={"min_macro_f1": 0.999})


def look(
    instance: dg.DagsterInstance, home: Home, now: datetime = AS_OF, *, config: RetrainConfig = CONFIG, read_only: bool = False
) -> Overview:
    return read_overview(instance, home, lambda: config, now, read_only=read_only)


def with_daemon(instance: dg.DagsterInstance, now: datetime = AS_OF) -> None:
    instance.add_daemon_heartbeat(DaemonHeartbeat(now.timestamp(), "SCHEDULER", "daemon", []))


def without_daemon(instance: dg.DagsterInstance) -> None:
    with_daemon(instance, AS_OF - timedelta(days=1))


def kinds(seen: Overview) -> list[str]:
    return [problem.kind for problem in seen.problems]


def refusal(action: Action) -> str:
    assert not action.allowed
    assert action.reason is not None
    return action.reason


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[Home], Home]:
    def make(home: Home) -> Home:
        shutil.copytree(home.root, tmp_path / "copy")
        return Home(tmp_path / "copy")

    return make


# --- Homes without a model ----------------------------------------------------------------------------------------------------------


def test_a_first_run_has_no_problem_and_says_what_comes_first(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    (tmp_path / "new" / "data" / "processed").mkdir(parents=True)
    with_daemon(instance)
    seen = look(instance, Home(tmp_path / "new"))
    assert (seen.state, seen.active_model, seen.last_decision, seen.job, seen.trend, seen.problems) == ("idle", None, None, None, [], [])
    assert (seen.labels.since, seen.labels.needed, seen.labels.summary) == (0, CONFIG.scheduling.min_new_labels, NO_WINDOWS)
    assert not seen.due.is_due
    assert refusal(seen.actions.trigger) == NO_WINDOWS
    assert refusal(seen.actions.approve) == NONE_WAITS
    assert (seen.actions.rollback.allowed, seen.actions.rollback.targets) == (False, [])
    assert seen.actions.config.allowed


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_that_is_no_home_is_one_problem(tmp_path: Path, instance: dg.DagsterInstance, exists: bool) -> None:
    folder = tmp_path / "nothing"
    if exists:
        folder.mkdir()
    seen = look(instance, Home(folder))
    assert kinds(seen) == ["home"]
    assert str(folder) in seen.problems[0].detail
    assert seen.problems[0].title in refusal(seen.actions.trigger)
    assert not exists or list(folder.iterdir()) == []


def test_with_labels_and_no_model_the_first_retrain_is_due_and_allowed(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = learnable_home(tmp_path, users=1, days=3)
    with_daemon(instance)
    seen = look(instance, home)
    assert (seen.due.is_due, seen.actions.trigger.allowed, seen.actions.trigger.reason) == (True, True, None)
    assert seen.labels.summary.startswith("48 label spans")
    assert "waits for your approval" in seen.actions.trigger.effect
    assert "becomes the running model" in look(instance, home, config=CONFIG.with_changes(auto_promote=True)).actions.trigger.effect


# --- Decisions ----------------------------------------------------------------------------------------------------------------------


def test_the_model_that_runs_has_its_figures_and_its_age(learned: Learned, instance: dg.DagsterInstance) -> None:
    home, first, second = learned
    seen = look(instance, home, AS_OF + 2 * DAY)
    model = seen.active_model
    assert model is not None
    assert (model.model_id, model.decision_id, model.active_since) == (first.challenger.model_id, first.decision_id, AS_OF)
    assert model.age_days == pytest.approx(2.0)
    assert model.fair is not None
    assert (model.fair.macro_f1, model.fair.windows) == (first.challenger.macro_f1, first.dataset.split["test"])
    assert [point.decision_id for point in seen.trend] == [first.decision_id, second.decision_id]
    assert [(point.before is None, point.after is None) for point in seen.trend] == [(True, False), (False, False)]


def test_the_last_decision_has_its_failed_gates_first_and_the_difference_with_its_interval(
    learned: Learned, instance: dg.DagsterInstance
) -> None:
    home, _, decision = learned
    seen = look(instance, home, LATER).last_decision
    assert seen is not None
    assert (seen.decision_id, seen.previous_version) == (decision.decision_id, learned[1].challenger.model_id)
    order = [gate.status for gate in seen.gates]
    ranks = {"FAIL": 0, "ERROR": 1, "INCONCLUSIVE": 2, "PASS": 3, "NOT_APPLICABLE": 4}
    assert [ranks[status] for status in order] == sorted(ranks[status] for status in order)
    comparison, found = seen.comparison, decision.comparison
    assert comparison is not None
    assert found is not None
    assert (comparison.before, comparison.after) == (found.champion_macro_f1, found.challenger_macro_f1)
    assert (comparison.low, comparison.high) == (found.evidence.interval or (None, None))
    assert comparison.changes.became_wrong == sum(found.flips.negative.values())


def test_a_decision_that_waits_can_be_approved_and_says_what_will_run(waiting_home: Waiting, instance: dg.DagsterInstance) -> None:
    home, decision = waiting_home
    with_daemon(instance)
    seen = look(instance, home)
    approve = seen.actions.approve
    assert (approve.allowed, approve.decision_id, approve.model_id) == (True, decision.decision_id, decision.challenger.model_id)
    assert decision.challenger.model_id in approve.effect
    assert seen.last_decision is not None
    assert seen.last_decision.waits
    without_daemon(instance)
    assert refusal(look(instance, home).actions.approve) == NO_DAEMON
    with_daemon(instance)
    assert refusal(look(instance, home, read_only=True).actions.approve) == READ_ONLY


def test_a_stricter_policy_of_today_is_in_the_way_unless_it_is_approved_as_judged(
    waiting_home: Waiting, instance: dg.DagsterInstance
) -> None:
    with_daemon(instance)
    approve = look(instance, waiting_home[0], config=STRICTER).actions.approve
    assert "gates.min_macro_f1" in refusal(approve)
    assert approve.as_judged
    assert not look(instance, waiting_home[0]).actions.approve.as_judged


def test_a_decision_that_waited_is_said_to_be_an_old_one_once_the_running_model_changed(
    waiting_home: Waiting, copy: Callable[[Home], Home], instance: dg.DagsterInstance
) -> None:
    home, decision = copy(waiting_home[0]), waiting_home[1]
    reader = OverviewReader(home)
    with_daemon(instance)
    assert reader.read(instance, lambda: CONFIG, AS_OF).actions.approve.allowed
    write_variant(home.models / MID)
    set_active(home, MID)
    seen = reader.read(instance, lambda: CONFIG, AS_OF)
    assert decision.decision_id in refusal(seen.actions.approve)
    assert (seen.actions.approve.decision_id, seen.actions.approve.as_judged) == (None, False)
    assert seen.active_model is not None
    assert seen.active_model.model_id == MID


# --- Rollback -----------------------------------------------------------------------------------------------------------------------


def test_targets_of_a_rollback_are_models_that_verify_the_default_first(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = promoted(make_home(tmp_path), *MODELS[:4])
    with_daemon(instance)
    rollback_ = look(instance, home).actions.rollback
    assert rollback_.allowed
    assert [(target.model_id, target.is_default) for target in rollback_.targets] == [
        (MODELS[2], True),
        (MODELS[1], False),
        (MODELS[0], False),
    ]
    first = rollback_.targets[0]
    assert (first.active_from, first.active_until) == (AT + 2 * DAY, AT + 3 * DAY)
    assert MODELS[3] in first.effect, "the model that would be blocked"
    (home.models / MODELS[2] / "model.txt").write_text("no trees", encoding="utf-8")
    assert [target.model_id for target in look(instance, home).actions.rollback.targets] == [MODELS[1], MODELS[0]]


def test_a_rollback_shows_at_the_next_look_and_what_it_left_is_no_target(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = promoted(make_home(tmp_path), OLD, MID)
    reader = OverviewReader(home)
    assert [target.model_id for target in reader.read(instance, lambda: CONFIG, AS_OF).actions.rollback.targets] == [OLD]
    rollback(home, to=None, reason="a test", at=AT + 9 * DAY)
    seen = reader.read(instance, lambda: CONFIG, AT + 10 * DAY)
    assert seen.active_model is not None
    assert (seen.active_model.model_id, seen.active_model.active_since) == (OLD, AT + 9 * DAY)
    assert seen.active_model.went_back_because == "a test"
    assert seen.actions.rollback.targets == []
    assert refusal(seen.actions.rollback) == f"A rollback left {MID} and blocked it. `taskclf-dagster unblock {MID}` allows it again."


def test_a_promotion_shows_at_the_next_look(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = promoted(make_home(tmp_path), MID)
    reader = OverviewReader(home)
    before = reader.read(instance, lambda: CONFIG, AS_OF)
    decision = judged(home, NEW, as_of=AS_OF + timedelta(hours=1))
    promote(home, decision, at=AT + 5 * DAY)
    after = reader.read(instance, lambda: CONFIG, AS_OF)
    shown = [None if seen.active_model is None else seen.active_model.model_id for seen in (before, after)]
    assert shown == [MID, NEW]
    assert after.last_decision is not None
    assert (after.last_decision.decision_id, after.last_decision.moved) == (decision.decision_id, 2)


# --- Runs ---------------------------------------------------------------------------------------------------------------------------


def test_while_a_retrain_waits_or_runs_no_other_can_be_launched(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = learnable_home(tmp_path, users=1, days=3)
    with_daemon(instance)
    run = add_run(instance, home, Status.QUEUED)
    seen = look(instance, home)
    assert (seen.state, seen.job is not None and seen.job.status) == ("queued", "pending")
    assert refusal(seen.actions.trigger) == "A retrain is queued already. Wait for it to end."
    assert seen.progress is not None
    assert seen.progress.run_id == run.run_id
    assert (seen.progress.step_title, seen.progress.seconds_left) == ("waiting in the queue", None)


def test_a_failed_run_gives_its_error_as_the_reason(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = learnable_home(tmp_path, users=1, days=3)
    run = add_run(instance, home, Status.FAILURE, failed_with="the disk is full")
    seen = look(instance, home)
    assert (seen.state, seen.reason) == ("failed", "The disk is full.")
    assert seen.job is not None
    assert (seen.job.run_id, seen.job.error_message) == (run.run_id, "the disk is full")


def test_a_run_whose_decision_is_not_the_last_one_gives_its_verdict_in_plain_words(learned: Learned, instance: dg.DagsterInstance) -> None:
    home, first, _ = learned
    add_run(instance, home, Status.SUCCESS, tags={DECISION_TAG: first.decision_id, "taskclf/outcome_reason": "macro_f1 (0.8569 < 0.95)"})
    assert look(instance, home, LATER).reason == say_verdict(first, moved=True)


def test_a_skipped_run_gives_its_reason(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = make_home(tmp_path)
    add_run(instance, home, Status.SUCCESS, tags={"taskclf/outcome": "SKIP", "taskclf/outcome_reason": "no label is new"})
    seen = look(instance, home)
    assert (seen.state, seen.reason) == ("skipped", "No label is new.")


def test_without_a_daemon_nothing_can_be_launched_and_settings_can_be_changed(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = learnable_home(tmp_path, users=1, days=3)
    without_daemon(instance)
    seen = look(instance, home)
    assert not seen.daemon.running
    assert refusal(seen.actions.trigger) == NO_DAEMON
    assert seen.actions.config.allowed


def test_a_read_only_server_allows_nothing(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    with_daemon(instance)
    actions = look(instance, promoted(make_home(tmp_path), OLD, MID), read_only=True).actions
    assert [refusal(action) for action in (actions.trigger, actions.rollback, actions.config)] == [READ_ONLY] * 3


# --- Broken homes -------------------------------------------------------------------------------------------------------------------


def test_a_damaged_pointer_is_a_problem_of_the_registry_with_its_fix(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = promoted(make_home(tmp_path), OLD, MID)
    reader = OverviewReader(home)
    assert reader.read(instance, lambda: CONFIG, AS_OF).problems == []
    home.active_pointer.write_text("{", encoding="utf-8")
    seen = reader.read(instance, lambda: CONFIG, AS_OF)
    assert kinds(seen) == ["registry"]
    assert "registry repair" in seen.problems[0].fix
    with_daemon(instance)
    assert reader.read(instance, lambda: CONFIG, AS_OF).actions.rollback.allowed


def test_where_no_model_can_run_that_is_the_first_problem(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = promoted(make_home(tmp_path), MID)
    shutil.rmtree(home.models / MID)
    seen = look(instance, home)
    assert seen.active_model is None
    assert kinds(seen)[:1] == ["registry"]
    assert "restore" in seen.problems[0].fix


def test_a_damaged_history_is_a_problem(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = promoted(make_home(tmp_path), MID)
    home.active_history.write_bytes(home.active_history.read_bytes() + b"garbage\n")
    seen = look(instance, home)
    assert kinds(seen) == ["registry"]
    assert home.active_history.name in seen.problems[0].detail


def test_labels_that_cannot_be_read_are_a_problem_of_the_data(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = learnable_home(tmp_path, users=1, days=3)
    home.labels.write_bytes(b"no parquet")
    with_daemon(instance)
    seen = look(instance, home)
    assert kinds(seen) == ["data"]
    assert str(home.labels) in seen.problems[0].detail
    assert (seen.labels.since, seen.due.is_due) == (None, False)
    assert seen.problems[0].title in refusal(seen.actions.trigger)


def test_windows_that_cannot_be_read_are_a_problem_of_the_data(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = learnable_home(tmp_path, users=1, days=3)
    for path in home.features("v1").rglob("*.parquet"):
        path.write_bytes(b"no parquet")
    assert "data" in kinds(look(instance, home))


def test_an_invalid_configuration_is_a_problem_that_names_the_key(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = learnable_home(tmp_path, users=1, days=3)
    file = tmp_path / "own.yaml"
    file.write_text("min_new_labels: none\n", encoding="utf-8")
    with_daemon(instance)
    seen = read_overview(instance, home, lambda: load_retrain_config(file), AS_OF)
    assert kinds(seen) == ["config"]
    assert "min_new_labels" in seen.problems[0].detail
    assert not seen.actions.trigger.allowed


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_cannot_be_written_to_is_a_problem(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = promoted(make_home(tmp_path), MID)
    home.models.chmod(0o500)
    assert "home" in kinds(look(instance, home))


def test_models_that_are_a_link_out_of_the_home_are_a_problem_of_the_home(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = promoted(make_home(tmp_path), MID)
    home.models.rename(tmp_path / "elsewhere")
    home.models.symlink_to(tmp_path / "elsewhere")
    assert "home" in kinds(look(instance, home))


def test_a_home_may_be_read_while_its_files_are_replaced(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    home = promoted(make_home(tmp_path), OLD, MID)
    reader, done = OverviewReader(home), threading.Event()

    def replace() -> None:
        content = home.active_pointer.read_bytes()
        while not done.is_set():
            home.active_pointer.unlink()
            home.active_pointer.write_bytes(content)

    other = threading.Thread(target=replace)
    other.start()
    try:
        for _ in range(5):
            reader.read(instance, lambda: CONFIG, datetime.now(UTC))
    finally:
        done.set()
        other.join()
    assert reader.read(instance, lambda: CONFIG, datetime.now(UTC)).problems == []


# --- The wire -----------------------------------------------------------------------------------------------------------------------


def test_names_are_camel_case_on_the_wire_and_snake_case_in_python(waiting_home: Waiting, instance: dg.DagsterInstance) -> None:
    seen = look(instance, waiting_home[0])
    wire = seen.model_dump(mode="json", by_alias=True)
    assert {"isDemo", "activeModel", "lastDecision", "nextTick", "readOnly"} <= wire.keys()
    assert wire["lastDecision"]["gates"][0].keys() == {"name", "title", "status", "observed", "threshold", "unit", "sentence", "help"}
    assert Overview.model_validate(wire) == Overview.model_validate(seen.model_dump()) == seen
