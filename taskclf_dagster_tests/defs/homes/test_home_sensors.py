"""The sensors over all homes: partitions that come and go, cron lines of each home, and requests that Dagster accepts."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.homes.answers import request_of_partition
from taskclf_dagster.defs.homes.sensors import ROUND_SENSORS
from taskclf_dagster.defs.resources.inputs import ClockResource, RunSettingsResource
from taskclf_dagster.defs.resources.partition_home import HomesResource
from taskclf_dagster.domain.storage.instance_homes import RECORD_NAME
from taskclf_dagster.domain.storage.instance_owner import claim_instance
from taskclf_dagster.home import Home
from taskclf_dagster.team_definitions import build_team_definitions
from taskclf_dagster_tests.team_scenario import instance_of, make_team, write_homes_file

MONDAY = datetime(2026, 3, 2, 12, tzinfo=UTC)
WEEKLY = "weekly_verification"


@pytest.fixture(scope="module")
def kept_instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    folder = tmp_path_factory.mktemp("team")
    with instance_of(make_team(folder), folder / "dagster") as instance:
        yield instance


@pytest.fixture
def instance(kept_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """The instance without a record of its homes: each test has homes of its own."""
    (Path(kept_instance.root_directory) / RECORD_NAME).unlink(missing_ok=True)
    for name in kept_instance.get_dynamic_partitions("homes"):
        kept_instance.delete_dynamic_partition("homes", name)
    return kept_instance


def _tick(directory: HomeDirectory, instance: dg.DagsterInstance, name: str, *, cursor: str | None = None, now: datetime = MONDAY) -> Any:
    """A tick as Dagster's code server evaluates it; partitions that it asks for are added, as the daemon does."""
    definitions = build_team_definitions(homes_file=str(directory.path))
    resources: dict[str, object] = {"homes": HomesResource(homes_file=str(directory.path))}
    if name != "homes":
        resources |= {"run_settings": RunSettingsResource(), "clock": ClockResource(fixed=now.isoformat())}
    repository = definitions.get_repository_def()
    built = dg.build_sensor_context(resources=resources)
    with dg.SensorEvaluationContext(
        instance.get_ref(), cursor=cursor, repository_def=repository, sensor_name=name, resources=built.resource_defs
    ) as context:
        tick = definitions.resolve_sensor_def(name).evaluate_tick(context)
    for request in tick.dynamic_partitions_requests or []:
        if isinstance(request, dg.AddDynamicPartitionsRequest):
            instance.add_dynamic_partitions("homes", list(request.partition_keys))
        else:
            for key in request.partition_keys:
                instance.delete_dynamic_partition("homes", key)
    return tick


def test_the_sensors_are_those_of_one_home_with_its_schedules_and_one_that_keeps_the_homes() -> None:
    one, many = build_definitions().get_repository_def(), build_team_definitions().get_repository_def()
    names = {*(sensor.name for sensor in one.sensor_defs), *(schedule.name for schedule in one.schedule_defs)}
    assert {sensor.name for sensor in many.sensor_defs} == {*names, "homes"}
    jobs = {sensor.name: sensor.job_name for sensor in (*one.sensor_defs, *one.schedule_defs) if sensor.name != "event_delivery"}
    assert {sensor.name: sensor.job for sensor in ROUND_SENSORS if sensor.job} == jobs


def test_assets_checks_and_jobs_are_those_of_one_home_and_all_have_the_partitions_of_the_homes() -> None:
    one, many = build_definitions(), build_team_definitions()
    replay, backtest = dg.AssetKey("policy_replay"), "backtest"  # on the command line only
    assert {job.name for job in one.resolve_all_job_defs()} == {backtest, *(job.name for job in many.resolve_all_job_defs())}
    partitions = dg.DynamicPartitionsDefinition(name="homes")
    assert {job.partitions_def for job in many.resolve_all_job_defs()} == {partitions}
    ours, theirs = one.resolve_asset_graph(), many.resolve_asset_graph()
    assert ours.asset_check_keys == theirs.asset_check_keys
    assert {key: ours.get(key).parent_keys for key in ours.get_all_asset_keys() - {replay}} == {
        key: theirs.get(key).parent_keys for key in theirs.get_all_asset_keys()
    }
    assert {theirs.get(key).partitions_def for key in theirs.get_all_asset_keys()} == {partitions}


def test_partitions_come_and_go_with_the_homes_and_a_broken_home_keeps_its_own(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    directory = make_team(tmp_path)
    assert "new: anna, ben, cleo" in str(_tick(directory, instance, "homes").skip_message)
    anna, ben = directory.open("anna"), directory.open("ben")
    ben.artifacts.mkdir()
    ben.processed.rmdir()
    anna.root.rename(tmp_path / "elsewhere")
    said = str(_tick(directory, instance, "homes").skip_message)
    assert said == f"2 homes; ben: {ben.root} has neither data/processed nor models; gone: anna"
    assert set(instance.get_dynamic_partitions("homes")) == {"ben", "cleo"}


def test_each_home_is_verified_at_its_own_time_once_in_its_partition(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    directory = make_team(tmp_path)
    directory.open("anna").settings_file.write_text('schedule: {verify_cron: "0 13 * * 1", timezone: UTC}\n')
    for name in ("ben", "cleo"):
        directory.open(name).settings_file.write_text('schedule: {verify_cron: "0 13 * * 2", timezone: UTC}\n')
    cursor = _tick(directory, instance, WEEKLY).cursor
    tick = _tick(directory, instance, WEEKLY, cursor=cursor, now=MONDAY + timedelta(hours=2))
    (request,) = tick.run_requests or []
    assert (request.tags["dagster/partition"], request.run_key) == ("anna", "anna:2026-03-02T13:00+0000")
    later = _tick(directory, instance, WEEKLY, cursor=tick.cursor, now=MONDAY + timedelta(hours=3))
    assert later.run_requests == []
    tuesday = _tick(directory, instance, WEEKLY, cursor=tick.cursor, now=MONDAY + timedelta(days=1, hours=2))
    assert [request.tags["dagster/partition"] for request in tuesday.run_requests or []] == ["ben", "cleo"]


def test_a_home_whose_settings_are_broken_is_named_and_the_others_are_served(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    directory = make_team(tmp_path)
    cursor = _tick(directory, instance, WEEKLY).cursor
    directory.open("ben").settings_file.write_text("min_labels: many\n")
    later = MONDAY + timedelta(days=7)
    tick = _tick(directory, instance, WEEKLY, cursor=cursor, now=later)
    assert [request.tags["dagster/partition"] for request in tick.run_requests or []] == ["anna", "cleo"]
    again = _tick(directory, instance, WEEKLY, cursor=tick.cursor, now=later + timedelta(minutes=1))
    assert "ben: SettingsError" in str(again.skip_message)
    directory.open("ben").settings_file.unlink()
    mended = _tick(directory, instance, WEEKLY, cursor=again.cursor, now=later + timedelta(minutes=2))
    assert [request.tags["dagster/partition"] for request in mended.run_requests or []] == ["ben"]


def test_a_homes_file_that_is_not_valid_skips_the_tick_with_its_reason_and_loses_no_state(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    directory = make_team(tmp_path)
    cursor = _tick(directory, instance, WEEKLY).cursor
    directory.path.write_text("folder: here\n")
    for name in ("homes", *(sensor.name for sensor in ROUND_SENSORS)):
        tick = _tick(directory, instance, name, cursor=cursor)
        assert "folder: 'here' is relative" in str(tick.skip_message)
        assert tick.cursor in (None, cursor)
        assert not tick.dynamic_partitions_requests


def test_every_sensor_looks_at_every_home(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    directory = make_team(tmp_path)
    for sensor in ROUND_SENSORS:
        assert str(_tick(directory, instance, sensor.name).skip_message).startswith("3 of 3 homes looked at"), sensor.name


def test_an_instance_of_one_home_or_of_other_homes_is_refused(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    directory = make_team(tmp_path)
    _tick(directory, instance, "homes")
    other = make_team(tmp_path / "other")
    assert f"it serves the homes of {directory.path}, and this is {other.path}" in str(_tick(other, instance, "homes").skip_message)
    stranger = Home(tmp_path / "stranger")
    stranger.processed.mkdir(parents=True)
    folder = tmp_path / "one"
    folder.mkdir()
    claim_instance(folder, stranger)
    with dg.DagsterInstance.local_temp(str(folder)) as owned:
        assert "it belongs to one home" in str(_tick(directory, owned, "label_arrival").skip_message)


def test_what_a_home_asks_for_becomes_a_request_that_its_job_accepts() -> None:
    definitions = build_team_definitions()
    made = request_of_partition("anna", "retrain", dg.RunRequest(run_key="labels-1", run_config={"force": True}, tags={"cause": "x"}))
    assert (made.partition_key, made.run_key, made.tags["cause"]) == ("anna", "anna:labels-1", "x")
    assert made.run_config["resources"]["run_settings"]["config"]["force"] is True
    for job in ("retrain", "monitor", "calibrate", "verify_registry", "score"):
        request = request_of_partition("anna", job, dg.RunRequest())
        dg.validate_run_config(definitions.resolve_job_def(job), request.run_config)


def test_a_home_that_is_added_between_two_ticks_gets_its_partition_with_its_first_run(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    directory = make_team(tmp_path)
    cursor = _tick(directory, instance, WEEKLY).cursor
    assert instance.get_dynamic_partitions("homes") == []
    tick = _tick(directory, instance, WEEKLY, cursor=cursor, now=MONDAY + timedelta(days=7))
    assert len(tick.run_requests or []) == 3
    assert set(instance.get_dynamic_partitions("homes")) == {"anna", "ben", "cleo"}
    assert write_homes_file(tmp_path) == directory
