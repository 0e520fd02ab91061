"""The command `taskclf-dagster` as a person types it: what it prints, and how it exits."""

import json
import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import dagster as dg
import pytest
from click.testing import CliRunner, Result
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.cli.main import main
from taskclf_dagster.config.loading import load_retrain_config
from taskclf_dagster.config.shipped import DEFAULT_CONFIG_PATH
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.decision.last_decided import read_last_decided
from taskclf_dagster.domain.decision.verdict import REQUIRED_GATES
from taskclf_dagster.domain.registry.active_model import find_active_model
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.errors import AsOfError, HomeNotFoundError, SettingsError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.masking import masked, table_words
from taskclf_dagster_tests.models import MID, OLD, contents, edit_json, home_with_champion, write_tiny_bundle
from taskclf_dagster_tests.scenario import AS_OF, DAY, day_file, learnable_home, make_home, span, windows_frame, write_labels, write_windows

pytestmark = pytest.mark.filterwarnings(
    # Dagster warns about itself when a resource (the IO manager) has another resource (the home) within.
    "ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning"
)

MODEL_ID = r"\d{4}-\d\d-\d\d_\d{6}_[0-9a-z-]+"

SMALL = "min_class_windows: 15\nmin_windows: 50\nmax_negative_flips: 1.0\nmax_flip_excess: 1.0\nsearch: off\n"
"""What a home of a few days needs."""

EASY = f"auto_promote: true\n{SMALL}train_params: {{num_boost_round: 15}}\n"
STRICT = f"{SMALL}train_params: {{num_boost_round: 3, num_leaves: 4}}\ngates: {{min_macro_f1: 0.999}}\n"


@dataclass(frozen=True)
class Shell:
    """Runs the command in this process, with configurations of its own and a Dagster instance."""

    folder: Path
    instance_folder: Path

    def __call__(self, *arguments: str | Path) -> Result:
        return CliRunner(env={"DAGSTER_HOME": str(self.instance_folder)}).invoke(
            main, [str(argument) for argument in arguments], terminal_width=100
        )

    def error(self, *arguments: str | Path) -> BaseException | None:
        """The error of this package that a refused command shows as one message."""
        result = CliRunner(env={"DAGSTER_HOME": str(self.instance_folder)}).invoke(
            main, [str(argument) for argument in arguments], standalone_mode=False
        )
        return None if result.exception is None else result.exception.__cause__

    def config(self, name: str, text: str) -> Path:
        path = self.folder / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    def runs(self) -> list[dg.DagsterRun]:
        with dg.DagsterInstance.from_config(str(self.instance_folder)) as instance:
            return list(instance.get_runs())


@pytest.fixture(scope="module")
def instance_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What DAGSTER_HOME names: one for all tests of this file, because to make one takes seconds."""
    folder = tmp_path_factory.mktemp("dagster")
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    return folder


@pytest.fixture
def shell(tmp_path: Path, instance_folder: Path) -> Shell:
    return Shell(tmp_path, instance_folder)


@dataclass(frozen=True)
class Story:
    """What was printed when a home got its first model, found nothing new, and then rejected a challenger."""

    home: Home
    promoted: Result
    skipped: Result
    rejected: Result
    shell: Shell


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, instance_folder: Path) -> Story:
    folder = tmp_path_factory.mktemp("story")
    shell = Shell(folder, instance_folder)
    home = learnable_home(folder, users=1, days=6)
    easy, strict = shell.config("easy", EASY), shell.config("strict", STRICT)
    common = ("retrain", "--home", home.root, "--as-of", "2026-02-04")
    promoted = shell(*common, "--config", easy)
    skipped = shell(*common, "--config", easy)
    rejected = shell(*common, "--config", strict, "--force")
    return Story(home, promoted, skipped, rejected, shell)


def _row(result: Result, gate: str) -> str:
    return next(line for line in result.stdout.splitlines() if re.match(rf"[A-Z_]+\s+{gate}\s", line))


def _assert_one_message(result: Result, *names: str) -> None:
    """Failed with one message that has all the names, and without a traceback."""
    assert result.exit_code != 0, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert "Traceback" not in result.output
    assert "dagster._core" not in result.output
    assert [name for name in names if name not in result.output] == []
    assert result.output.count(names[0]) == 1


# --- retrain ----------------------------------------------------------------------------------------------------------------------


def test_retrain_prints_every_gate_with_figure_and_threshold_and_what_it_did(story: Story, snapshot: SnapshotAssertion) -> None:
    result = story.promoted
    assert result.exit_code == 0
    model = str(read_active(story.home).model_id)
    macro = re.split(r"\s+", _row(result, "macro_f1").strip())
    assert macro[:2] == ["PASS", "macro_f1"]
    assert 0.65 <= float(macro[2]) <= 1
    assert macro[3:6] == ["at", "least", "0.65"]
    assert _row(result, "reject_rate_bounds").split()[3] == "0.05..0.3"
    shown = [line for line in result.stdout.splitlines() if re.match(r"(PASS|FAIL|NOT_APPLICABLE|INCONCLUSIVE|ERROR)\s", line)]
    assert [line.split()[1] for line in shown] == list(REQUIRED_GATES)
    assert str(story.home.models / model) in result.stdout
    assert _printed(story.promoted, story) == snapshot(name="promoted")
    assert _printed(story.skipped, story) == snapshot(name="skipped")


def _printed(result: Result, story: Story) -> str:
    """The output of a retrain, without the log of its assets and the figures of its gates."""
    lines = [line for line in result.stdout.splitlines() if not re.match(r"[a-z_]+: ", line)]
    plain = table_words(masked("\n".join(lines), story.home.root, also={MODEL_ID: "MODEL", "|".join(LABELS): "LABEL"}))
    return re.sub(r"\b\d+\b", "N", plain)


def test_retrain_says_where_the_decision_is_kept(story: Story) -> None:
    (line,) = [line for line in story.promoted.stdout.splitlines() if line.startswith("decision")]
    record = Path(line.split(maxsplit=1)[1])
    assert json.loads(record.read_text(encoding="utf-8"))["verdict"] == "PROMOTE"


def test_retrain_shows_what_the_assets_say_while_it_runs_and_none_of_dagsters_own_events(story: Story) -> None:
    lines = story.promoted.stdout.splitlines()
    assert {"challenger_model", "labeled_windows"} <= {line.partition(": ")[0] for line in lines}
    assert not any("STEP_START" in line or "RUN_START" in line for line in story.promoted.output.splitlines())


def test_a_second_retrain_says_that_there_is_nothing_new_and_exits_with_0(story: Story) -> None:
    assert story.skipped.exit_code == 0
    assert re.search(r"^SKIP: ", story.skipped.stdout, re.M)
    assert not re.search(r"^(PASS|FAIL|NOT_APPLICABLE) ", story.skipped.stdout, re.M)


def test_a_rejected_challenger_exits_with_0_and_names_the_gate_that_failed(story: Story) -> None:
    result = story.rejected
    assert result.exit_code == 0
    assert _row(result, "macro_f1").split()[0] == "FAIL"
    assert _row(result, "macro_f1").split()[3:6] == ["at", "least", "0.999"]
    assert re.search(r"^REJECT: .*\bmacro_f1\b", result.stdout, re.M)
    assert str(story.home.rejected_models) in result.stdout
    assert read_active(story.home).model_id in result.stdout


def test_decide_judges_the_last_challenger_by_todays_gates_without_training(story: Story, tmp_path: Path) -> None:
    home = Home(shutil.copytree(story.home.root, tmp_path / "home"))
    own = Shell(tmp_path, tmp_path / "instance")
    (tmp_path / "instance").mkdir()
    before = {path.name: path.read_bytes() for path in (home.records / "challenger_model").iterdir()}
    trained_at = read_last_decided(home).trained_at
    lax = own.config("lax", STRICT.replace("0.999", "0.0") + "auto_promote: true\nregression_tolerance: 1.0\n")
    skipped = own("retrain", "--home", home.root, "--as-of", "2026-02-04", "--config", lax)
    assert "min_macro_f1" in skipped.stdout
    assert "taskclf-dagster decide" in skipped.stdout
    held = own("decide", "--home", home.root, "--config", own.config("held", SMALL.replace("min_windows: 50", "min_windows: 3000")))
    assert re.search(r"^HOLD: ", held.stdout, re.M)
    last = read_last_decided(home)
    assert last is not None
    assert (last.outcome, len(list(home.pending_models.iterdir()))) == ("HOLD", 1)
    assert (last.trained_at, last.decided_at > trained_at) == (trained_at, True)
    decided = own("decide", "--home", home.root, "--config", lax)
    assert decided.exit_code == 0, decided.output
    assert _row(decided, "macro_f1").split()[0] == "PASS"
    assert _row(story.rejected, "macro_f1").split()[2] == _row(decided, "macro_f1").split()[2]  # the same model on the same windows
    assert {path.name: path.read_bytes() for path in (home.records / "challenger_model").iterdir()} == before
    assert own("registry", "fsck", "--home", home.root).exit_code == 0


def test_decide_about_the_challenger_of_a_dry_run_records_when_that_was_trained(story: Story, shell: Shell, tmp_path: Path) -> None:
    home = Home(shutil.copytree(story.home.root, tmp_path / "home"))
    config = shell.config("strict", STRICT)
    begin = datetime.now(UTC)
    shell("retrain", "--home", home.root, "--as-of", "2026-02-04", "--dry-run", "--config", config)
    end = datetime.now(UTC)
    assert shell("decide", "--home", home.root, "--config", config).exit_code == 0
    last = read_last_decided(home)
    assert last is not None
    assert last.trained_at is not None
    assert begin < last.trained_at < end < last.decided_at


def test_decide_after_a_promotion_is_refused_because_the_challenger_is_the_active_model(story: Story, tmp_path: Path) -> None:
    home = Home(shutil.copytree(story.home.root, tmp_path / "home"))
    promoted = next(decision for decision in list_decisions(home)[0] if decision.verdict == "PROMOTE")
    edit_json(home.records / "challenger_model" / "latest.json", {"model_id": promoted.challenger.model_id})
    _assert_one_message(Shell(tmp_path, tmp_path / "instance")("decide", "--home", home.root), "it is the active model")


def test_decide_without_a_challenger_says_so(shell: Shell, tmp_path: Path) -> None:
    home = make_home(tmp_path)
    _assert_one_message(shell("decide", "--home", home.root), "none was trained")


def test_a_run_from_the_command_line_is_in_the_history_of_the_instance(story: Story) -> None:
    outcomes = {run.run_id: run.tags.get("taskclf/outcome") for run in story.shell.runs()}
    printed = [re.search(r"^run       (\S+)$", result.stdout, re.M) for result in (story.promoted, story.skipped, story.rejected)]
    assert [outcomes[found[1]] for found in printed if found] == ["PROMOTE", "SKIP", "REJECT"]


def test_too_few_labels_exit_with_1_and_say_what_to_label(shell: Shell, tmp_path: Path) -> None:
    home = make_home(tmp_path)
    begin = AS_OF - DAY + timedelta(hours=9)
    write_windows(home, windows_frame(start=begin, n=60))
    write_labels(home, [span(begin, begin + timedelta(minutes=60), "Build")])
    result = shell("retrain", "--home", home.root, "--as-of", "2026-02-04")
    assert result.exit_code == 1
    _assert_one_message(result, "FAILED: ", "dataset_snapshot: enough_labels", "140", "min_labels")
    tags = shell.runs()[0].tags  # what the API tells of a failed run
    assert tags["taskclf/outcome"] == "FAILED"
    assert "140" in tags["taskclf/outcome_reason"]


def test_a_torn_file_exits_with_1_and_names_file_and_fix(shell: Shell, tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=2)
    torn = day_file(home, (AS_OF - DAY).date())
    torn.write_bytes(b"PAR1 torn")
    result = shell("retrain", "--home", home.root, "--as-of", "2026-02-04")
    assert result.exit_code == 1
    _assert_one_message(result, str(torn), "skip_unreadable_days")


def test_a_wrong_configuration_is_one_message_with_every_finding_before_any_run(shell: Shell, tmp_path: Path) -> None:
    config = shell.config("wrong", "auto_promot: true\ndata_lookback_days: -3\nregression_tolerance: 5\n")
    before = len(shell.runs())
    command = ("retrain", "--home", make_home(tmp_path).root, "--config", config)
    result, error = shell(*command), shell.error(*command)
    assert isinstance(error, SettingsError)
    assert {setting.key for setting in error.invalid} == {"auto_promot", "data_lookback_days", "regression_tolerance"}
    _assert_one_message(result, "wrong.yaml", "auto_promot", "data_lookback_days", "regression_tolerance")
    assert len(shell.runs()) == before


def test_a_configuration_that_does_not_exist_is_one_message(shell: Shell, tmp_path: Path) -> None:
    command = ("retrain", "--home", make_home(tmp_path).root, "--config", tmp_path / "none.yaml")
    assert isinstance(shell.error(*command), SettingsError)
    _assert_one_message(shell(*command), "Error: ", "none.yaml")


def test_a_wrong_as_of_time_is_one_message_with_an_example(shell: Shell, tmp_path: Path) -> None:
    command = ("retrain", "--home", make_home(tmp_path).root, "--as-of", "last week")
    assert isinstance(shell.error(*command), AsOfError)
    _assert_one_message(shell(*command), "'last week'", "as_of", "2026-02-04")


def test_a_share_out_of_bounds_is_one_message(shell: Shell, tmp_path: Path) -> None:
    result = shell("retrain", "--home", make_home(tmp_path).root, "--holdout-user-fraction", "2")
    _assert_one_message(result, "holdout_user_fraction", "2.0")


@pytest.mark.parametrize("command", ["retrain", "check-retrain", "list", "history", "status"])
def test_a_home_that_does_not_exist_is_one_message_with_how_to_get_one(shell: Shell, tmp_path: Path, command: str) -> None:
    runs = shell.runs()
    assert isinstance(shell.error(command, "--home", tmp_path / "nowhere"), HomeNotFoundError)
    _assert_one_message(shell(command, "--home", tmp_path / "nowhere"), "TASKCLF_HOME", str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()
    assert shell.runs() == runs


@pytest.mark.parametrize("command", ["retrain", "check-retrain", "list", "history", "status", "prune"])
def test_a_folder_that_is_no_home_is_refused_before_a_run_is_recorded_and_stays_as_it_is(
    shell: Shell, tmp_path: Path, command: str
) -> None:
    folder = tmp_path / "documents"
    (folder / "artifacts").mkdir(parents=True)
    runs = shell.runs()
    error = shell.error(command, "--home", folder)
    assert isinstance(error, HomeNotFoundError)
    assert error.kind == "not_a_home"
    assert contents(folder) == {"artifacts": b"<folder>"}
    assert shell.runs() == runs


def test_without_home_the_environment_names_it(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKCLF_HOME", str(learnable_home(tmp_path, users=1, days=2).root))
    assert str(tmp_path / "home") in shell("history").stdout


# --- check-retrain ------------------------------------------------------------------------------------------------------------------


def _recent_home(tmp_path: Path) -> Home:
    """A home whose labels are of yesterday, because this command has no as-of time."""
    home = make_home(tmp_path)
    begin = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0) - DAY
    write_windows(home, windows_frame(start=begin, n=300))
    write_labels(home, [span(begin + timedelta(minutes=50 * i), begin + timedelta(minutes=50 * (i + 1)), label) for i, label in _LABELS])
    return home


_LABELS = list(enumerate(["Build", "Debug", "Build", "Debug", "Build", "Debug"]))


def test_check_retrain_says_that_it_is_due_and_why_and_launches_nothing(shell: Shell, tmp_path: Path) -> None:
    home = _recent_home(tmp_path)
    before = contents(home.root)
    result = shell("check-retrain", "--home", home.root)
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("retrain")]
    assert re.match(r"retrain due\s+yes: 6 ", line)
    assert contents(home.root) == before


def test_check_retrain_says_why_it_is_not_due_and_until_when(story: Story) -> None:
    result = story.shell("check-retrain", "--home", story.home.root)
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("retrain")]
    assert re.match(r"retrain due\s+no: .*\d{4}-\d\d-\d\d \d\d:\d\d UTC", line)


def test_check_retrain_names_what_is_missing_where_there_is_nothing_to_learn_from(shell: Shell, tmp_path: Path) -> None:
    config = shell.config("picky", "min_labels: 1000\n")
    result = shell("check-retrain", "--home", _recent_home(tmp_path).root, "--config", config)
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("retrain")]
    assert re.match(r"retrain due\s+no: .*\b300\b.*\bmin_labels\b.*\b1000\b.*\b700\b", line)


def _calibrators(result: Result) -> str:
    return next(line for line in result.stdout.splitlines() if line.startswith("calibrators"))


def test_check_retrain_tells_whether_the_calibrators_are_due_by_the_cadence_of_the_settings(shell: Shell, tmp_path: Path) -> None:
    home = _recent_home(tmp_path)
    assert _calibrators(shell("check-retrain", "--home", home.root)).split()[2] == "yes:"
    home.calibrator_store.parent.mkdir(parents=True)
    fitted = datetime.now(UTC) - 10 * DAY
    home.calibrator_store.write_text(json.dumps({"created_at": fitted.isoformat()}), encoding="utf-8")
    assert _calibrators(shell("check-retrain", "--home", home.root)).split()[2] == "yes:"
    monthly = shell.config("monthly", "calibrator_update_cadence_days: 30\n")
    found = _calibrators(shell("check-retrain", "--home", home.root, "--config", monthly))
    assert found.split()[2] == "no:"


# --- list ---------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def bundles(tmp_path: Path) -> Home:
    """A model that runs, one with a better stored score, one whose model is missing, one trained on synthetic labels."""
    home = home_with_champion(make_home(tmp_path))
    edit_json(home.models / OLD / "metrics.json", {"macro_f1": 0.99})
    edit_json(home.models / MID / "metrics.json", {"macro_f1": 0.81})
    (write_tiny_bundle(home.models / "2026-01-21_060000_run-0004") / "model.txt").unlink()
    write_tiny_bundle(home.models / "2026-01-22_060000_run-0005", metadata={"data_provenance": "synthetic"})
    return home


def test_list_ranks_the_bundles_marks_what_runs_and_says_why_others_are_left_out(
    shell: Shell, bundles: Home, snapshot: SnapshotAssertion
) -> None:
    result = shell("list", "--home", bundles.root)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert table_words(result.stdout.replace(str(bundles.root), "HOME")) == snapshot
    ranked = [line for line in lines if OLD in line or MID in line][1:]
    assert [OLD in line for line in ranked[:2]] == [True, False]
    assert [line.startswith("*") for line in ranked[:2]] == [False, True]
    assert "0.99" in ranked[0]


def test_list_warns_that_a_better_stored_score_is_not_a_comparison(shell: Shell, bundles: Home) -> None:
    result = shell("list", "--home", bundles.root)
    assert result.stdout.splitlines()[-1].startswith(OLD)
    strict = shell.config("strict", "min_improvement: 0.5\n")
    assert not shell("list", "--home", bundles.root, "--config", strict).stdout.splitlines()[-1].startswith(OLD)


def test_list_as_json_says_the_same(shell: Shell, bundles: Home) -> None:
    found = json.loads(shell("list", "--home", bundles.root, "--json").stdout)
    assert found["active"] == MID
    assert [(row["model_id"], row["macro_f1"], row["active"]) for row in found["ranked"]] == [(OLD, 0.99, False), (MID, 0.81, True)]
    assert {row["model_id"]: row["reason"].partition(":")[0] for row in found["excluded"]} == {
        "2026-01-21_060000_run-0004": "invalid",
        "2026-01-22_060000_run-0005": "constraint",
    }


def test_list_changes_nothing_and_tells_a_torn_pointer(shell: Shell, bundles: Home) -> None:
    bundles.active_pointer.write_text("{", encoding="utf-8")
    before = contents(bundles.root)
    result = shell("list", "--home", bundles.root)
    assert result.exit_code == 0
    assert str(bundles.active_pointer) in result.stderr
    active = find_active_model(read_registry_state(bundles))
    assert active.source == "last_known_good"
    assert active.summary in result.stdout.splitlines()[0]
    assert [active.model_id in line for line in result.stdout.splitlines() if line.startswith("*")] == [True]
    assert contents(bundles.root) == before


def test_list_of_a_home_without_models_ranks_none(shell: Shell, tmp_path: Path) -> None:
    result = shell("list", "--home", make_home(tmp_path).root)
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 2)


# --- history --------------------------------------------------------------------------------------------------------------------------


def _history(story: Story, *options: str) -> list[dict]:
    return json.loads(story.shell("history", "--home", story.home.root, "--json", *options).stdout)


def test_history_lists_every_retrain_with_verdict_models_scores_and_reason(story: Story) -> None:
    result = story.shell("history", "--home", story.home.root)
    assert result.exit_code == 0
    assert any(line.startswith(f"{story.home.root}: 3 ") for line in result.stdout.splitlines())
    assert re.search(rf"^1 .* promote +{read_active(story.home).model_id} ", result.stdout, re.MULTILINE)  # what moved the pointer
    assert {"PROMOTE", "SKIP", "REJECT"} <= set(re.findall(r"\b[A-Z]{4,}\b", result.stdout))
    assert re.search(r" REJECT +0\.\d{4} to 0\.\d{4} on \d+ ", result.stdout)  # champion and challenger on the windows compared
    assert re.search(r" SKIP +- ", result.stdout)
    assert re.search(r" PROMOTE, record 1 +0\.\d{4} on \d+ ", result.stdout)


def test_tables_are_no_wider_than_the_terminal(story: Story) -> None:
    result = CliRunner(env={"DAGSTER_HOME": str(story.shell.instance_folder), "COLUMNS": "110"}).invoke(
        main, ["history", "--home", str(story.home.root)]
    )
    assert max(map(len, result.stdout.splitlines())) <= 110


def test_history_as_json_has_versions_times_labels_and_scores_before_and_after(story: Story) -> None:
    rejected, skipped, promoted = _history(story)
    model = read_active(story.home).model_id
    assert (promoted["status"], promoted["outcome"], promoted["moved"]) == ("completed", "PROMOTE", 1)
    assert (promoted["previous_version"], promoted["new_version"], promoted["metrics_before"]) == (None, model, None)
    assert (rejected["status"], rejected["outcome"], rejected["moved"]) == ("completed", "REJECT", None)
    assert (rejected["previous_version"], rejected["new_version"]) == (model, None)
    assert 0 < rejected["metrics_after"]["macro_f1"] < 0.999
    assert rejected["metrics_before"]["accuracy"] > 0
    assert promoted["metrics_after"]["accuracy"] is None  # there was nothing to compare with
    assert 0 < rejected["compared_windows"] <= promoted["compared_windows"]
    assert "macro_f1" in rejected["reason"]
    assert promoted["labels"] == rejected["labels"] == 6 * 160
    assert (skipped["status"], skipped["outcome"], skipped["decision_id"], skipped["labels"]) == ("skipped", "SKIP", None, None)
    assert skipped["reason"]
    for row in (promoted, skipped, rejected):
        assert row["cause"] == "command line"
        assert row["error"] is None
        assert datetime.fromisoformat(row["started"]) < datetime.fromisoformat(row["finished"])


def test_history_tells_why_a_retrain_failed(shell: Shell, tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=2)
    home.labels.write_bytes(b"torn")
    assert shell("retrain", "--home", home.root, "--as-of", "2026-02-04").exit_code == 1
    (row,) = json.loads(shell("history", "--home", home.root, "--json").stdout)
    assert (row["status"], row["outcome"], row["decision_id"]) == ("failed", "FAILED", None)
    assert str(home.labels) in row["error"]


def test_history_has_decisions_that_another_instance_made(story: Story, tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    rows = json.loads(Shell(tmp_path, tmp_path)("history", "--home", story.home.root, "--json").stdout)
    assert [(row["run_id"], row["outcome"]) for row in rows] in (
        [(None, "REJECT"), (None, "PROMOTE")],
        [(None, "PROMOTE"), (None, "REJECT")],  # written in the same moment
    )
    assert [row["finished"] for row in rows] == [None, None]


def test_the_record_of_a_run_with_a_time_in_the_future_does_not_come_before_its_run(story: Story) -> None:
    (newest,) = _history(story, "--limit", "1")
    assert newest["run_id"] is not None


def test_history_stops_at_the_limit(story: Story) -> None:
    assert [row["outcome"] for row in _history(story, "--limit", "1")] == ["REJECT"]


def test_history_passes_over_a_damaged_record_and_names_it(story: Story, tmp_path: Path) -> None:
    home = Home(tmp_path / "copy")
    shutil.copytree(story.home.root, home.root)
    damaged = next(home.decisions.glob("*_*_*.json"))
    damaged.write_text("{", encoding="utf-8")
    result = story.shell("history", "--home", home.root)
    assert result.exit_code == 0
    assert str(damaged) in result.stderr
    assert f"{home.root}: 1 " in result.stdout


def test_history_of_a_home_without_retrains_says_so(shell: Shell, tmp_path: Path) -> None:
    result = shell("history", "--home", make_home(tmp_path).root)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{tmp_path / 'home'}: 0 ")


# --- status ---------------------------------------------------------------------------------------------------------------------------


def _status(shell: Shell, home: Home, *options: str | Path) -> dict:
    result = shell("status", "--home", home.root, "--json", *options)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_home_where_nothing_was_launched_is_idle_and_its_labels_are_new(shell: Shell, tmp_path: Path) -> None:
    home = _recent_home(tmp_path)
    found = _status(shell, home)
    assert (found["state"], found["last_decided"], found["active_model"], found["progress"]) == ("idle", None, None, None)
    assert (found["labels_since"], found["due"]) == (6, True)
    assert found["due_reason"].startswith("6 ")
    assert datetime.fromisoformat(found["next_tick"]) > datetime.now(UTC)


def test_the_status_after_a_rejected_challenger_tells_verdict_reason_and_what_runs(story: Story) -> None:
    found = _status(story.shell, story.home)
    assert (found["state"], found["last_outcome"], found["active_model"]) == ("completed", "REJECT", read_active(story.home).model_id)
    assert re.search(r"REJECT: .*\bmacro_f1\b", found["reason"])
    assert (found["labels_since"], found["due"]) == (0, False)
    assert datetime.fromisoformat(found["due_at"]) > datetime.now(UTC)
    assert found["last_run_id"] == _history(story)[0]["run_id"]


def test_the_status_after_a_failed_run_tells_the_error(shell: Shell, tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=2)
    home.labels.write_bytes(b"torn")
    shell("retrain", "--home", home.root, "--as-of", "2026-02-04")
    found = _status(shell, home)
    assert found["state"] == "failed"
    assert str(home.labels) in found["reason"]
    assert found["labels_since"] is None
    assert str(home.labels) in found["due_reason"]


def test_the_status_for_people_has_a_line_for_each_question(story: Story, snapshot: SnapshotAssertion) -> None:
    lines = story.shell("status", "--home", story.home.root).stdout.splitlines()
    names = [re.split(r"  +", line)[0] for line in lines if line and not line.startswith(" ")]
    assert names == [
        "home",
        "state",
        "last decision",
        "active model",
        "new labels",
        "labels",
        "due",
        "next tick",
        "events",
        *2 * ["warning"],
    ]
    assert [
        _without_figures(line, story) for line in lines if line.startswith(("home", "last", "active", "new", "due", "next", "events"))
    ] == snapshot


def _without_figures(line: str, story: Story) -> str:
    models = {MODEL_ID: "MODEL", r"\d{4}-\d\d-\d\d \d\d:\d\d [A-Z]\w+": "TIME"}
    return table_words(masked(line, story.home.root, also=models))


def test_where_nothing_is_launched_by_itself_there_is_no_next_tick(shell: Shell, tmp_path: Path) -> None:
    off = shell.config("off", "enabled: false\n")
    found = _status(shell, _recent_home(tmp_path), "--config", off)
    assert found["next_tick"] is None
    assert "`enabled`" in found["due_reason"]


# --- config ---------------------------------------------------------------------------------------------------------------------------


def test_config_show_tells_every_key_with_its_value_and_where_it_comes_from(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRAIN_MIN_LABELS", "12")
    own = shell.config("own", "gates: {min_macro_f1: 0.7}\nmin_new_labels: 9\n")
    lines = {line.split()[0]: line for line in shell("config", "show", "--config", own).stdout.splitlines()[2:]}
    assert re.match(rf"gates\.min_macro_f1 +0\.7 +{own}$", lines["gates.min_macro_f1"])
    assert re.match(r"min_new_labels +12 +environment RETRAIN_MIN_LABELS$", lines["min_new_labels"])
    assert re.match(r"timeout_minutes +30 +retrain\.yaml$", lines["timeout_minutes"])
    assert {"schedule.cron", "events.sinks", "keep_rejected"} <= set(lines)


def test_config_show_as_json_is_what_runs_read(shell: Shell) -> None:
    own = shell.config("own", "min_labels: 50\n")
    assert json.loads(shell("config", "show", "--config", own, "--json").stdout) == load_retrain_config(own).document


def test_config_check_says_what_is_valid_and_what_the_environment_overrides(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion
) -> None:
    assert shell("config", "check").stdout.startswith(str(DEFAULT_CONFIG_PATH))
    monkeypatch.setenv("RETRAIN_ENABLED", "off")
    own = shell.config("own", "min_labels: 50\n")
    result = shell("config", "check", "--config", own)
    assert result.exit_code == 0
    assert [name in result.stdout for name in (str(own), str(DEFAULT_CONFIG_PATH), "enabled", "RETRAIN_ENABLED")] == [True] * 4
    assert result.stdout.replace(str(own), "OWN").replace(str(DEFAULT_CONFIG_PATH), "DEFAULT") == snapshot


def test_config_check_lists_every_mistake_and_exits_with_1(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRAIN_SCHEDULE", "0 24 * * *")
    command = ("config", "check", "--config", shell.config("wrong", "min_labels: 0\nauto_promot: true\n"))
    result, error = shell(*command), shell.error(*command)
    assert isinstance(error, SettingsError)
    assert {setting.key for setting in error.invalid} == {"min_labels", "auto_promot", "schedule.cron"}
    _assert_one_message(result, "wrong.yaml", "min_labels", "auto_promot", "RETRAIN_SCHEDULE")
    assert result.exit_code == 1


# --- demo and help --------------------------------------------------------------------------------------------------------------------


def test_a_demo_home_is_named_so_and_the_next_command_is_printed(shell: Shell, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    folder = tmp_path / "demo"
    result = shell("demo", folder, "--end", "2026-01-10", "--users", "1", "--days", "2")
    assert result.exit_code == 0
    assert result.stdout.replace(str(folder), "FOLDER") == snapshot
    assert shell("list", "--home", folder).stdout.startswith(f"DEMO home {folder}")


def _commands(group: click.Group, *above: str) -> list[str]:
    """The names of a group's commands and of those below it, with the group's own."""
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    below = [_commands(each, *above, name) if isinstance(each, click.Group) else [" ".join((*above, name))] for name, each in found.items()]
    return [" ".join(above), *(name for names in below for name in names)]


HELP = _commands(main)


@pytest.mark.parametrize("command", HELP)
def test_help_names_every_option_and_what_it_does(shell: Shell, command: str, snapshot: SnapshotAssertion) -> None:
    result = shell(*command.split(), "--help")
    assert result.exit_code == 0
    options = [part for part in re.split(r"\n  (?=-)", result.stdout) if part.startswith("--")]
    assert [option for option in options if len(option.split(maxsplit=1)[-1]) < 15] == []
    assert result.stdout == snapshot


def test_the_version_is_told(shell: Shell) -> None:
    assert re.search(r"\d+\.\d+\.\d+", shell("--version").stdout)
