"""Scoring through Dagster: the job with its range of days, the checks with data that makes each fail, the schedule, and the command."""

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from taskclf_dagster.cli.main import main
from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.automation.score_schedule import evaluate_score_days
from taskclf_dagster.defs.display.score_metadata import score_checks
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.domain.evaluation.window_scores import ScoreQuality
from taskclf_dagster.domain.monitoring.day_scores import DayScores, list_scored_days
from taskclf_dagster.domain.monitoring.scored_days import ScoredDays
from taskclf_dagster.domain.storage.stored_files import StoredFile
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import MID, home_with_champion
from taskclf_dagster_tests.scenario import AS_OF, DAY, add_learnable_days, learnable_home, make_home, retrain_config

DAYS = [(AS_OF - n * DAY).date() for n in (3, 2, 1)]

NOW = AS_OF + timedelta(hours=9)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_with_champion(learnable_home(tmp_path, users=2, days=3))


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def run_score(
    home: Home, instance: dg.DagsterInstance, *, settings: RunSettingsResource | None = None, **config: object
) -> dg.ExecuteInProcessResult:
    clock = ClockResource(fixed=NOW.isoformat())
    definitions = build_definitions(home=HomeResource(root=str(home.root)), clock=clock, run_settings=settings)
    run_config = {"ops": {"scored_windows": {"config": config}}}
    return definitions.resolve_job_def("score").execute_in_process(run_config=run_config, instance=instance, raise_on_error=False)


def statuses(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}


def test_the_job_scores_the_days_that_wait_and_its_checks_say_so(home: Home, instance: dg.DagsterInstance) -> None:
    result = run_score(home, instance)
    assert result.success
    record: ScoredDays = result.output_for_node("scored_windows")
    assert [day.day for day in record.days] == DAYS == list(list_scored_days(home))
    found = statuses(result)
    assert {name for name in ("every_window_is_scored", "probabilities_sum_to_one", "one_model_per_partition") if not found[name]} == set()
    (made,) = result.asset_materializations_for_node("scored_windows")
    assert made.metadata["model_id"].value == MID
    assert [record.data["day"] for record in made.metadata["days"].records] == [day.isoformat() for day in DAYS]


def test_a_range_of_days_is_scored_in_one_run(home: Home, instance: dg.DagsterInstance) -> None:
    assert run_score(home, instance, from_day=str(DAYS[0]), to_day=str(DAYS[1])).success
    assert list(list_scored_days(home)) == DAYS[:2]
    wrong = run_score(home, instance, from_day="yesterday")
    assert not wrong.success


def test_without_an_active_model_the_run_fails_with_what_to_do(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    result = run_score(learnable_home(tmp_path, users=1, days=1), instance)
    assert not result.success
    assert "no active model to score windows with" in str(result.get_step_failure_events())


def test_scores_older_than_keep_score_days_are_removed_by_the_next_run(home: Home, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    run_score(home, instance)
    path = tmp_path / "own.yaml"
    path.write_text("keep_score_days: 2\n", encoding="utf-8")
    run_score(home, instance, settings=RunSettingsResource(config_path=str(path)))
    assert list(list_scored_days(home)) == DAYS[1:]


def test_materialize_all_still_retrains_and_the_job_retrain_scores_nothing(home: Home) -> None:
    definitions = build_definitions(home=HomeResource(root=str(home.root)))
    assert "scored_windows" not in {node.name for node in definitions.resolve_job_def("retrain").nodes}
    everything = definitions.resolve_implicit_global_asset_job_def()
    assert {"labeled_windows", "active_pointer", "scored_windows"} <= {node.name for node in everything.nodes}
    assert everything.partitions_def is None


# --- Checks -----------------------------------------------------------------------------------------------------------------------


def a_day(**changes: object) -> DayScores:
    """A day on which every check passes, but for the changes."""
    quality = {
        "windows": 100,
        "bad_probabilities": 0,
        "reject_rate": 0.1,
        "flap_rate": 0.25,
        "flap_rate_smoothed": 0.15,
        "blocks": 10,
        "long_blocks": 0.8,
        "short_blocks": 0.1,
        "label_counts": {"Build": 100},
    }
    of_day = {key: value for key, value in changes.items() if key not in quality}
    found = ScoreQuality.model_validate({**quality, **{key: value for key, value in changes.items() if key in quality}})
    stored = StoredFile(path="artifacts/scores/date=2026-02-03/scores.parquet", sha256="0" * 64)
    day = DayScores(day=DAYS[2], outcome="scored", as_of=AS_OF, stored=stored, model_ids=(MID,), windows=100, quality=found)
    return day.model_copy(update=of_day)


def a_record(*days: DayScores) -> ScoredDays:
    of_model = {"model_id": MID, "bundle_hash": "", "pointer_sequence": None, "policy_hash": None, "reject_threshold": 0.5}
    return ScoredDays.model_validate({"home": "h", **of_model, "warnings": (), "days": days})


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("every_window_is_scored", {"missing": 1}, "1 of 100"),
        ("probabilities_sum_to_one", {"bad_probabilities": 2}, "2 windows"),
        ("one_model_per_partition", {"model_ids": (MID, "another")}, "another"),
        ("reject_rate_within_bounds", {"reject_rate": 0.0499}, "0.0499 < 0.05"),
        ("reject_rate_within_bounds", {"reject_rate": 0.3001}, "0.3001 > 0.3"),
        ("flap_rate", {"flap_rate": 0.2501}, "raw 0.2501 > 0.25"),
        ("flap_rate", {"flap_rate_smoothed": 0.1501}, "smoothed 0.1501 > 0.15"),
        ("blocks_are_long_enough", {"long_blocks": 0.7999}, "0.7999 < 0.8"),
        ("blocks_are_long_enough", {"short_blocks": 0.1001}, "0.1001 > 0.1"),
    ],
)
def test_each_check_fails_just_beyond_its_bound_and_names_day_value_and_bound(name: str, changes: dict[str, object], words: str) -> None:
    record = ScoredDays(
        home="h",
        model_id=MID,
        bundle_hash="",
        pointer_sequence=1,
        policy_hash=None,
        reject_threshold=0.5,
        warnings=(),
        days=(a_day(), a_day(**changes)),
    )
    results = {result.check_name: result for result in score_checks(record, retrain_config())}
    assert {check for check, result in results.items() if not result.passed} == {name}
    failed = results[name]
    assert failed.description is not None
    assert words in failed.description
    assert str(DAYS[2]) in failed.description
    is_advice = name in ("reject_rate_within_bounds", "flap_rate", "blocks_are_long_enough")
    assert failed.severity == (dg.AssetCheckSeverity.WARN if is_advice else dg.AssetCheckSeverity.ERROR)


def test_a_day_without_windows_passes_and_the_bounds_of_blocks_are_settings() -> None:
    nothing = DayScores(day=DAYS[0], outcome="no_windows", as_of=AS_OF)
    record = ScoredDays(
        home="h",
        model_id=MID,
        bundle_hash="",
        pointer_sequence=None,
        policy_hash=None,
        reject_threshold=0.5,
        warnings=(),
        days=(nothing, a_day()),
    )
    assert all(result.passed for result in score_checks(record, retrain_config()))
    stricter = score_checks(record, retrain_config(advice={"min_long_blocks": 0.81, "max_short_blocks": 0.09}))
    assert [result.check_name for result in stricter if not result.passed] == ["blocks_are_long_enough"]


# --- Schedule and command -----------------------------------------------------------------------------------------------------------


def tick(home: Home, instance: dg.DagsterInstance, tmp_path: Path, schedule: str, *, now: datetime = NOW) -> dg.RunRequest | dg.SkipReason:
    path = tmp_path / "own.yaml"
    path.write_text(f"score_schedule: '{schedule}'\n", encoding="utf-8")
    settings = RunSettingsResource(config_path=str(path))
    return evaluate_score_days(instance, HomeResource(root=str(home.root)), settings, scheduled=now, now=now)


def test_a_tick_requests_the_days_that_wait_and_hourly_today_as_well(home: Home, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    add_learnable_days(home, days=1)
    for schedule, last in (("hourly", AS_OF.date()), ("daily", DAYS[2])):
        request = tick(home, instance, tmp_path, schedule)
        assert isinstance(request, dg.RunRequest)
        assert request.run_config["ops"]["scored_windows"]["config"] == {"from_day": str(DAYS[0]), "to_day": str(last)}
    run_score(home, instance)
    skipped = tick(home, instance, tmp_path, "daily")
    assert isinstance(skipped, dg.SkipReason)
    assert "is scored" in str(skipped.skip_message)
    later = tick(home, instance, tmp_path, "daily", now=NOW + DAY)
    assert isinstance(later, dg.RunRequest)
    assert later.run_config["ops"]["scored_windows"]["config"]["from_day"] == str(AS_OF.date())


def test_a_tick_without_a_model_or_with_the_schedule_off_skips_and_says_why(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    empty = make_home(tmp_path)
    for schedule, words in (("off", "score_schedule is off"), ("hourly", "no active model")):
        skipped = tick(empty, instance, tmp_path, schedule)
        assert isinstance(skipped, dg.SkipReason)
        assert words in str(skipped.skip_message)
    schedules = (
        build_definitions(run_settings=RunSettingsResource(config_path=str(tmp_path / "own.yaml"))).get_repository_def().schedule_defs
    )
    assert {each.name: each.default_status for each in schedules}["score_days"] == dg.DefaultScheduleStatus.RUNNING


def test_the_command_prints_a_row_for_each_day(home: Home) -> None:
    def score(*options: str) -> str:
        result = CliRunner().invoke(main, ["score", "--home", str(home.root), *options])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert MID in score("--date", str(DAYS[0]), "--taskclf-files")
    assert (home.scores / f"date={DAYS[0]}" / "segments.json").exists() is False  # two users: each has a folder
    assert (home.scores / f"date={DAYS[0]}" / "user=user-0" / "segments.json").exists()
    record = ScoredDays.model_validate(json.loads(score("--from", str(DAYS[0]), "--json")))
    assert [day.outcome for day in record.days] == ["kept", "scored", "scored"]
    assert "no day waits" in score()
    assert date.fromisoformat(str(record.days[0].day)) == DAYS[0]
