"""The daily schedule: launches when a retrain is due, else says why not."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._utils.schedules import cron_string_iterator

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.resources import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.schedules import build_daily_schedule
from taskclf_dagster.domain.cadence import LastDecided, write_last_decided
from taskclf_dagster.domain.labels import keep_fingerprints, read_fingerprints
from taskclf_dagster.home import Home
from taskclf_dagster.settings import ScheduleSettings
from taskclf_dagster_tests.scenario import AS_OF, learnable_home, make_home, span, windows_frame, write_labels, write_windows

TICK = datetime(2026, 2, 4, 6, tzinfo=UTC)


def _tick(home: Home, *, at: datetime = TICK, config: Path | None = None) -> dg.RunRequest | str:
    """What one tick of the schedule does: the run it asks for, or the words with which it skips."""
    resources = {
        "home": HomeResource(root=str(home.root)),
        "run_settings": RunSettingsResource(config_path=None if config is None else str(config)),
        "clock": ClockResource(fixed=at.isoformat()),
    }
    definitions = build_definitions(home=resources["home"])
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=at,
            resources=resources,
            repository_def=definitions.get_repository_def(),
        )
        tick = definitions.resolve_schedule_def("daily_retrain").evaluate_tick(context)
    if tick.run_requests:
        (request,) = tick.run_requests
        dg.validate_run_config(definitions.resolve_job_def("retrain"), request.run_config)
        return request
    return str(tick.skip_message)


def _decided(home: Home, *, at: datetime) -> None:
    """A run that decided on the label store as it is now."""
    mark = keep_fingerprints(home.decisions, read_fingerprints(home))
    facts = {"outcome": "REJECT", "decided_at": at, "as_of": at, "run_id": "r", "decision_id": "d", "dataset_hash": "0" * 16}
    write_last_decided(home, LastDecided(**facts, snapshot_path="artifacts/snapshots/0", label_watermark=mark))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return learnable_home(tmp_path_factory.mktemp("schedule"), users=1, days=6)


def test_a_home_without_any_decision_is_due(home: Home) -> None:
    request = _tick(home)
    assert isinstance(request, dg.RunRequest)
    assert request.tags["taskclf/cause"] == "new_labels"  # all labels are new, which is the better reason of the two
    assert request.run_config == {}


def test_the_run_key_names_the_tick_so_that_it_launches_once(home: Home) -> None:
    assert _tick(home).run_key == "2026-02-04T06:00+0000"
    assert _tick(home, at=TICK + timedelta(days=1)).run_key == "2026-02-05T06:00+0000"


def test_seven_days_after_the_last_decision_a_retrain_is_due_by_cadence(home: Home) -> None:
    _decided(home, at=TICK - timedelta(days=7))
    request = _tick(home)
    assert isinstance(request, dg.RunRequest)
    assert request.tags["taskclf/cause"] == "cadence"


def test_a_minute_earlier_it_is_not_and_the_words_say_when(home: Home) -> None:
    _decided(home, at=TICK - timedelta(days=7) + timedelta(minutes=1))
    assert _tick(home) == (
        "retrain is not due before 2026-02-04 06:01 UTC: the last one was 7.0 days ago, cadence is 7 days; "
        "0 label spans are new, changed or gone since the last decided run (min_new_labels is 5)"
    )


def test_the_cadence_of_the_settings_counts(home: Home, tmp_path: Path) -> None:
    _decided(home, at=TICK - timedelta(days=7))
    config = tmp_path / "monthly.yaml"
    config.write_text("global_retrain_cadence_days: 30\n", encoding="utf-8")
    assert "is not due before 2026-02-27 06:00 UTC" in str(_tick(home, config=config))


def test_without_a_home_the_tick_skips_and_says_how_to_get_one(tmp_path: Path) -> None:
    words = _tick(Home(tmp_path / "none"))
    assert f"There is no taskclf home at {tmp_path / 'none'}" in words
    assert "taskclf-dagster demo" in words


def test_with_too_few_labels_the_tick_skips_and_says_what_to_label(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    morning = AS_OF - timedelta(hours=15)
    write_windows(home, windows_frame(start=morning, n=50))
    write_labels(home, [span(morning, morning + timedelta(minutes=50), "Build")])
    words = _tick(home)
    assert "there is nothing to learn from" in words
    assert "50 windows are labelled by a person, but min_labels is 200: label at least 150 more minutes" in words


def test_without_windows_in_range_the_tick_skips_and_says_where_it_looked(tmp_path: Path) -> None:
    words = _tick(make_home(tmp_path))
    assert "there is nothing to learn from" in words
    assert "holds no feature partition from 2026-01-05 to 2026-02-04" in words


def test_a_damaged_label_store_skips_with_the_file_and_the_fix(home: Home, tmp_path: Path) -> None:
    damaged = make_home(tmp_path)
    damaged.labels.parent.mkdir(parents=True)
    damaged.labels.write_bytes(b"PAR1 no more")
    words = _tick(damaged)
    assert f"{damaged.labels} cannot be read" in words
    assert "Restore the label store" in words


def test_a_wrong_configuration_skips_with_the_finding(home: Home, tmp_path: Path) -> None:
    config = tmp_path / "wrong.yaml"
    config.write_text("min_labels: 0\n", encoding="utf-8")
    assert "min_labels" in str(_tick(home, config=config))


def test_six_in_the_morning_stays_six_when_the_clocks_change() -> None:
    schedule = build_daily_schedule(ScheduleSettings(cron="0 6 * * *", timezone="Europe/Vienna"))
    begin = datetime(2026, 3, 27, 12, tzinfo=UTC).timestamp()
    ticks = cron_string_iterator(begin, str(schedule.cron_schedule), schedule.execution_timezone)
    found = [next(ticks).astimezone(UTC) for _ in range(3)]
    assert [moment.date() for moment in found] == [date(2026, 3, 28), date(2026, 3, 29), date(2026, 3, 30)]
    assert [moment.hour for moment in found] == [5, 4, 4]
