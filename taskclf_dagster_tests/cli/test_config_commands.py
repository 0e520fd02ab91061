"""The commands about the settings file of a home: what they print and write, and that every command reads that file."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskclf_dagster.cli.main import main
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.errors import DecisionNotVerifiedError, RegistryRefusedError, SettingsError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import MID, NEW, OLD
from taskclf_dagster_tests.registry_scenario import promoted
from taskclf_dagster_tests.retrain_scenario import Waiting
from taskclf_dagster_tests.scenario import make_home


def run(home: Home, *arguments: str, exits: int = 0, **environ: str) -> Result:
    result = CliRunner(env=environ).invoke(main, [*arguments, "--home", str(home.root)])
    assert result.exit_code == exits, result.output
    return result


def error_of(home: Home, *arguments: str) -> BaseException | None:
    """The error of this package that a refused command shows as one message."""
    result = CliRunner().invoke(main, [*arguments, "--home", str(home.root)], standalone_mode=False)
    return None if result.exception is None else result.exception.__cause__


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


# --- set ------------------------------------------------------------------------------------------------------------------------------


def test_config_set_writes_values_as_yaml_reads_them_and_texts_as_they_are(home: Home) -> None:
    run(home, "config", "set", "enabled=false", "gates.min_macro_f1=0.7", "floor_policy=improve", "schedule.cron=*/5 * * * *")
    found = json.loads(run(home, "config", "show", "--json").stdout)
    assert (found["enabled"], found["gates"]["min_macro_f1"], found["floor_policy"]) == (False, 0.7, "improve")
    assert found["schedule"]["cron"] == "*/5 * * * *"
    run(home, "config", "set", "schedule.cron=null", "--unset", "floor_policy", "--unset", "enabled")
    assert home.settings_file.read_text(encoding="utf-8").splitlines()[1:] == ["gates:", "  min_macro_f1: 0.7"]


def test_config_set_says_for_each_key_when_it_counts_and_what_overrides_it(home: Home) -> None:
    arguments = ("config", "set", "min_new_labels=8", "schedule.cron=0 7 * * *", "enabled=true")
    labels, cron, enabled = run(home, *arguments, RETRAIN_ENABLED="no").stdout.splitlines()
    assert ("min_new_labels is 8" in labels, "next tick" in labels) == (True, True)
    assert "loaded its definitions" in cron
    assert "RETRAIN_ENABLED" in enabled


def test_config_set_refuses_what_is_not_valid_and_writes_nothing(home: Home) -> None:
    error = error_of(home, "config", "set", "enabled=false", "min_new_labels=0", "timeout_minutes=x")
    assert isinstance(error, SettingsError)
    assert {(invalid.key, invalid.kind) for invalid in error.invalid} == {
        ("min_new_labels", "greater_than_equal"), ("timeout_minutes", "int_type"),
    }  # fmt: skip
    assert isinstance(error_of(home, "config", "set", "signing.public_key=null"), SettingsError)
    for arguments in (["min_new_labels"], [], ["enabled=true", "enabled=false"], ["enabled=true", "--unset", "enabled"], ["=3"]):
        run(home, "config", "set", *arguments, exits=2)
    assert not home.settings_file.exists()
    assert not home.settings_changes.exists()


# --- show, check, history -------------------------------------------------------------------------------------------------------------


def test_config_show_and_check_name_the_file_of_the_home(home: Home) -> None:
    assert str(home.settings_file) not in run(home, "config", "check").stdout
    run(home, "config", "set", "min_new_labels=8")
    (line,) = [line for line in run(home, "config", "show").stdout.splitlines() if line.startswith("min_new_labels")]
    assert line.split() == ["min_new_labels", "8", str(home.settings_file)]
    assert run(home, "config", "check").stdout.startswith(str(home.settings_file))
    home.settings_file.write_text("timeout_minutes: 0\n", encoding="utf-8")
    checked = run(home, "config", "check", exits=1, RETRAIN_TIMEOUT_MINUTES="5")
    assert ("timeout_minutes" in checked.stderr, str(home.settings_file) in checked.stderr) == (True, True)


def test_config_history_lists_changes_newest_first_and_what_was_edited_since(home: Home) -> None:
    run(home, "config", "set", "min_new_labels=8", LOGNAME="ann")
    run(home, "config", "set", "min_new_labels=9", LOGNAME="bob")
    shown = json.loads(run(home, "config", "history", "--json", "--limit", "1").stdout)
    assert [(each["who"], each["via"], each["key"], each["before"], each["after"]) for each in shown] == [
        ("bob", "command line", "min_new_labels", 8, 9)
    ]
    home.settings_file.write_text("min_new_labels: 12\n", encoding="utf-8")
    lines = run(home, "config", "history").stdout.splitlines()
    assert [line.split()[2] for line in lines[3:5]] == ["bob", "ann"]
    assert all(figure in lines[5] for figure in ("min_new_labels", "9", "12"))


# --- Every command --------------------------------------------------------------------------------------------------------------------

READING = (
    ("retrain",),
    ("check-retrain",),
    ("status",),
    ("list",),
    ("prune",),
    ("score",),
    ("study",),
    ("drift",),
    ("live",),
    ("calibrate",),
    ("compare", OLD, NEW),
    ("config", "show"),
    ("config", "check"),
)
SIGNING = (("registry", "fsck"), ("registry", "repair"), ("rollback", "--reason", "worse"), ("unblock", NEW, "--reason", "better"))


def test_with_a_damaged_file_every_command_that_reads_settings_names_it_and_those_of_the_registry_work(tmp_path: Path) -> None:
    home = promoted(make_home(tmp_path), OLD, MID, NEW)
    home.settings_file.write_text("gates: [\n", encoding="utf-8")
    arguments = {command: (*command[:1], str(home.root), *command[1:]) if command == ("study",) else command for command in READING}
    found = {}
    for command, given in arguments.items():
        options = [] if command == ("study",) else ["--home", str(home.root)]
        result = CliRunner().invoke(main, [*given, *options], standalone_mode=False)
        cause = None if result.exception is None else result.exception.__cause__
        if not isinstance(cause, SettingsError) or cause.path != home.settings_file:
            found[command] = result.output or result.exception
    assert found == {}
    for command in SIGNING:
        run(home, *command)
    pointer = read_active(home)
    assert pointer is not None
    assert pointer.name == MID


def test_an_approval_goes_by_the_gates_of_the_home(waiting_home: Waiting, tmp_path: Path) -> None:
    shutil.copytree(waiting_home[0].root, tmp_path / "home")
    home = Home(tmp_path / "home")
    run(home, "config", "set", "gates.min_macro_f1=1")
    assert isinstance(error_of(home, "approve"), RegistryRefusedError | DecisionNotVerifiedError)
    run(home, "config", "set", "--unset", "gates.min_macro_f1")
    assert error_of(home, "approve") is None
    assert read_active(home) is not None
