"""`taskclf-dagster` without a command: the state of the present home, and commands that help."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import click
import dagster as dg
import pytest
from click.testing import CliRunner, Result

from taskclf_dagster.cli.command_summaries import SUMMARIES
from taskclf_dagster.cli.instance_files import write_instance_settings
from taskclf_dagster.cli.instance_glance import InstanceGlance, glance_at_instance
from taskclf_dagster.cli.main import COMMANDS, main
from taskclf_dagster.cli.next_steps import MAX_STEPS, HomeState, find_first_steps, find_next_steps, read_home_state
from taskclf_dagster.defs.dagster_internals import read_scheduler_heartbeat
from taskclf_dagster.home import Home
from taskclf_dagster_tests.cli.test_start_up import MODELS, _imported
from taskclf_dagster_tests.dagster_internals import DaemonHeartbeat
from taskclf_dagster_tests.models import MID, OLD
from taskclf_dagster_tests.registry_scenario import promoted
from taskclf_dagster_tests.retrain_scenario import Waiting
from taskclf_dagster_tests.runs import Status, add_run
from taskclf_dagster_tests.scenario import learnable_home, make_home


def run(home: Home | Path, *arguments: str) -> Result:
    root = home.root if isinstance(home, Home) else home
    return CliRunner(env={"TASKCLF_HOME": str(root)}).invoke(main, list(arguments))


def steps(state: HomeState) -> list[str]:
    return [command.removeprefix("taskclf-dagster ") for command, _ in find_next_steps(state)][:MAX_STEPS]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Home, dg.DagsterInstance]]:
    """A home with a model and an instance of its own."""
    home = promoted(make_home(tmp_path), OLD, MID)
    write_instance_settings(home.instance)
    with dg.DagsterInstance.from_config(str(home.instance)) as instance:
        yield home, instance


def test_without_a_home_it_says_how_to_make_one(tmp_path: Path) -> None:
    result = run(tmp_path / "nothing")
    assert result.exit_code == 0, result.output
    assert [command in result.output for command, _ in find_first_steps()] == [True, True]
    assert "Commands:" in result.output


def test_a_new_home_is_told_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "data" / "processed").mkdir(parents=True)
    state = read_home_state(Home(tmp_path))
    assert (state.due, state.has_windows, state.problems) == (False, False, [])
    assert steps(state)[:2] == ["check-retrain", "serve"]


def test_with_labels_the_first_retrain_is_next(tmp_path: Path) -> None:
    state = read_home_state(learnable_home(tmp_path, users=1, days=3))
    assert state.due
    assert steps(state)[0] == "retrain"


def test_a_decision_that_waits_is_to_be_read_and_approved(waiting_home: Waiting) -> None:
    home, decision = waiting_home
    assert steps(read_home_state(home))[:2] == [f"report {decision.decision_id} --open", "approve"]
    assert decision.decision_id in run(home).output


def test_a_broken_registry_is_checked_and_repaired_first(tmp_path: Path) -> None:
    home = promoted(make_home(tmp_path), OLD, MID)
    home.active_pointer.write_text("{", encoding="utf-8")
    assert steps(read_home_state(home))[:2] == ["registry fsck", "registry repair"]
    assert home.active_pointer.name in run(home).output


def test_labels_that_cannot_be_read_are_to_be_checked(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=3)
    home.labels.write_bytes(b"no parquet")
    state = read_home_state(home)
    assert (state.changed_spans, [problem.kind for problem in state.problems]) == (None, ["data"])
    assert steps(state)[0] == "check-retrain"


def test_invalid_settings_are_to_be_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = promoted(make_home(tmp_path / "a"), MID)
    (tmp_path / "own.yaml").write_text("min_new_labels: none\n", encoding="utf-8")
    monkeypatch.setenv("TASKCLF_DAGSTER_CONFIG", str(tmp_path / "own.yaml"))
    assert steps(read_home_state(home))[0] == "config check"
    assert run(home).exit_code == 0


def test_the_glance_at_an_instance_sees_what_dagster_says(own: tuple[Home, dg.DagsterInstance]) -> None:
    home, instance = own
    assert glance_at_instance(home) == InstanceGlance()
    add_run(instance, home, Status.SUCCESS)
    newest = add_run(instance, home, Status.QUEUED)
    add_run(instance, None, Status.FAILURE)
    instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - 30, "SCHEDULER", "daemon", []))
    seen, beat = glance_at_instance(home), read_scheduler_heartbeat(instance)
    assert seen is not None
    assert (seen.run_id, seen.status) == (newest.run_id, newest.status.value)
    assert beat is not None
    assert seen.heartbeat_age == pytest.approx(time.time() - beat, abs=5)


def test_a_retrain_under_way_is_to_be_watched_and_one_that_failed_to_be_explained(own: tuple[Home, dg.DagsterInstance]) -> None:
    home, instance = own
    add_run(instance, home, Status.FAILURE)
    assert "status" in steps(read_home_state(home))
    started = add_run(instance, home, Status.STARTED)
    assert steps(read_home_state(home))[0] == "status"
    assert started.run_id in run(home).output


def test_with_a_daemon_serve_is_not_proposed(own: tuple[Home, dg.DagsterInstance]) -> None:
    home, instance = own
    assert "serve" in steps(read_home_state(home))
    instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "SCHEDULER", "daemon", []))
    assert "serve" not in steps(read_home_state(home))


@pytest.mark.parametrize("place", ["models", "artifacts", "data/processed/labels_v1", ".dagster"])
def test_it_never_fails_whatever_is_in_the_way(tmp_path: Path, place: str) -> None:
    home = promoted(make_home(tmp_path), MID)
    shutil.rmtree(home.root / place, ignore_errors=True)
    (home.root / place).write_text("no folder", encoding="utf-8")
    result = run(home)
    assert (result.exit_code, "Commands:" in result.output, "Next:" in result.output) == (0, True, True)


def test_help_is_without_the_home(tmp_path: Path) -> None:
    result = run(promoted(make_home(tmp_path), MID), "--help")
    assert "Commands:" in result.output
    assert MID not in result.output


def test_every_proposed_command_exists_with_its_options(waiting_home: Waiting, tmp_path: Path) -> None:
    broken = promoted(make_home(tmp_path / "broken"), MID)
    broken.active_history.write_bytes(b"garbage\n")
    homes = [waiting_home[0], broken, learnable_home(tmp_path / "labels", users=1, days=3), make_home(tmp_path / "new")]
    proposed = {command for home in homes for command, _ in find_next_steps(read_home_state(home))}
    assert len(proposed) >= 6
    refused = {}
    for command in proposed:
        program, name, *arguments = command.split()
        assert program == "taskclf-dagster"
        found = main.get_command(click.Context(main), name)
        assert found is not None, command
        if isinstance(found, click.Group):
            found = found.get_command(click.Context(found), arguments.pop(0))
            assert found is not None, command
        try:
            found.make_context(command, list(arguments))
        except click.UsageError as error:
            refused[command] = str(error)
    assert refused == {}


def test_the_summaries_are_those_of_the_commands() -> None:
    context = click.Context(main)
    commands = {name: main.get_command(context, name) for name in COMMANDS}
    assert {name: command and command.get_short_help_str(limit=1000) for name, command in commands.items()} == SUMMARIES


def test_it_imports_neither_dagster_nor_models(tmp_path: Path) -> None:
    home = promoted(make_home(tmp_path), MID)
    assert _imported(environ={"TASKCLF_HOME": str(home.root)}) & (MODELS | {"dagster", "rich", "starlette", "jinja2"}) == set()
