"""The table of contents, pinned: every asset, check, job, schedule and sensor by name, written out by hand."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
import tzlocal
import yaml

from taskclf_dagster import definitions
from taskclf_dagster.config.shipped import DEFAULT_CONFIG_PATH
from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.assets.common import RETRAIN_ASSETS
from taskclf_dagster.defs.jobs.calibrate import CalibrateParams
from taskclf_dagster.defs.jobs.monitor import MonitorParams
from taskclf_dagster.defs.jobs.registry_jobs import ApproveParams, PruneParams, RollbackParams, VerifyParams
from taskclf_dagster.defs.jobs.retrain import RetrainParams
from taskclf_dagster.defs.resources.inputs import RunSettingsResource
from taskclf_dagster.errors import SettingsError
from taskclf_dagster.home import Home

ASSETS = {
    "labeled_windows": ({"parquet", "pandas"}, set()),
    "dataset_snapshot": ({"parquet", "json"}, {"labeled_windows"}),
    "challenger_model": ({"lightgbm"}, {"dataset_snapshot"}),
    "challenger_report": ({"json"}, {"dataset_snapshot", "challenger_model"}),
    "champion_report": ({"json"}, {"dataset_snapshot"}),
    "promotion_decision": ({"json"}, {"dataset_snapshot", "challenger_model", "challenger_report", "champion_report"}),
    "active_pointer": ({"json"}, {"promotion_decision"}),
    "scored_windows": ({"parquet", "lightgbm"}, {"active_pointer"}),
}
"""For each asset of a retrain its kinds and what it is made from."""

MONITORING: dict[str, tuple[set[str], set[str]]] = {
    "drift_report": ({"json"}, {"active_pointer"}),
    "live_performance": ({"json"}, {"scored_windows"}),
    "calibrator_store": ({"json"}, {"active_pointer"}),
    "probation": ({"json"}, {"active_pointer", "scored_windows"}),
    "contender_trials": ({"json"}, {"active_pointer", "scored_windows"}),
}
"""The same for the assets that watch the active model."""

ON_REQUEST: dict[str, tuple[set[str], set[str]]] = {"policy_replay": ({"json"}, set())}
"""The same for those that only a run of their own makes."""

BLOCKING_CHECKS = {
    "labeled_windows:columns_are_complete_and_typed",
    "labeled_windows:schema_hash_is_known",
    "labeled_windows:values_are_in_bounds",
    "labeled_windows:windows_are_whole_minutes",
    "labeled_windows:windows_are_of_their_day",
    "labeled_windows:labels_are_in_the_label_set",
    "labeled_windows:spans_end_after_they_start",
    "labeled_windows:keys_are_unique",
    "labeled_windows:no_raw_columns",
    "dataset_snapshot:enough_labels",
    "dataset_snapshot:no_split_is_empty",
    "dataset_snapshot:hash_matches_contents",
    "dataset_snapshot:splits_are_disjoint_in_time_per_user",
}
"""Data contracts: what follows would be meaningless."""

OTHER_CHECKS = {
    "labeled_windows:every_user_has_windows",
    "labeled_windows:labels_are_not_shifted_in_time",
    "labeled_windows:every_window_file_is_read",
    "dataset_snapshot:a_model_could_be_promoted",
    "dataset_snapshot:every_class_has_support",
    "dataset_snapshot:no_day_has_a_single_label",
    "challenger_report:bundle_reloads_and_predicts_identically",
    "challenger_report:loads_and_predicts",
    "challenger_report:macro_f1",
    "challenger_report:weighted_f1",
    "challenger_report:breakidle_precision",
    "challenger_report:breakidle_recall",
    "challenger_report:no_class_below_50_precision",
    "challenger_report:reject_rate_bounds",
    "challenger_report:seen_user_f1",
    "challenger_report:unseen_user_f1",
    "challenger_report:beats_rule_baseline",
    "challenger_report:beats_lookup_baseline",
    "challenger_report:reproducible",
    "challenger_report:every_label_is_judged",
    "challenger_report:flap_rate_is_low",
    "champion_report:scored_on_the_challengers_windows",
    "champion_report:has_not_trained_on_them",
    "champion_report:is_what_taskclf_runs",
    "promotion_decision:challenger_is_promoted",
    "promotion_decision:no_floor_is_missed",
    "promotion_decision:macro_f1_no_regression",
    "promotion_decision:min_improvement",
    "promotion_decision:not_worse_than_anchor",
    "promotion_decision:no_user_clearly_worse",
    "promotion_decision:no_class_clearly_worse",
    "promotion_decision:no_slice_clearly_worse",
    "promotion_decision:negative_flips",
    "promotion_decision:not_rolled_back",
    "promotion_decision:enough_user_days",
    "promotion_decision:no_day_disagrees_with_the_models",
    "promotion_decision:verdict_follows_from_the_gates",
    "active_pointer:points_to_a_valid_bundle",
    "active_pointer:agrees_with_the_history",
    "scored_windows:every_window_is_scored",
    "scored_windows:probabilities_sum_to_one",
    "scored_windows:one_model_per_partition",
    "scored_windows:reject_rate_within_bounds",
    "scored_windows:flap_rate",
    "scored_windows:blocks_are_long_enough",
}
"""Gates and advice: a rejected model is a result, so none of these may stop a run."""

MONITORING_CHECKS = {
    "drift_report:drift_is_not_confirmed",
    "drift_report:inputs_have_not_drifted",
    "drift_report:no_input_is_dead",
    "drift_report:categories_are_known",
    "drift_report:reject_rate_has_not_risen",
    "drift_report:entropy_has_not_risen",
    "drift_report:class_shares_are_stable",
    "live_performance:active_model_performs_as_tested",
    "live_performance:every_score_file_is_read",
    "contender_trials:every_trial_is_looked_at",
    "probation:probation_is_looked_at",
    "probation:the_last_promotion_does_no_harm",
    "calibrator_store:improves_brier_or_stays_identity",
    "calibrator_store:fitted_for_the_active_model",
    "calibrator_store:covers_the_users",
}
"""Advice about the active model."""


@pytest.fixture(scope="module")
def defs() -> dg.Definitions:
    return build_definitions()


@pytest.fixture
def _machine_in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    tzlocal.reload_localzone()
    yield
    monkeypatch.undo()
    tzlocal.reload_localzone()


def _overlay(tmp_path: Path, text: str) -> RunSettingsResource:
    path = tmp_path / "overlay.yaml"
    path.write_text(text, encoding="utf-8")
    return RunSettingsResource(config_path=str(path))


# --- Assets and checks ----------------------------------------------------------------------------------------------------------


def test_the_assets_are_these_and_each_is_made_from_these(defs: dg.Definitions) -> None:
    found = {
        spec.key.to_user_string(): (set(spec.kinds), {dep.asset_key.to_user_string() for dep in spec.deps})
        for spec in defs.resolve_all_asset_specs()
    }
    assert found == {**ASSETS, **MONITORING, **ON_REQUEST}


def test_every_asset_has_a_description_an_owner_and_the_one_group_that_opens_expanded(defs: dg.Definitions) -> None:
    for spec in defs.resolve_all_asset_specs():
        assert spec.group_name == "retrain", spec.key
        assert list(spec.owners) == ["team:taskclf"], spec.key
        assert len(spec.description or "") > 40, spec.key


def test_every_asset_of_a_retrain_holds_the_run_lock_also_when_it_is_made_alone(defs: dg.Definitions) -> None:
    found = {made.node_def.name: "supervisor" in made.required_resource_keys for made in defs.resolve_asset_graph().assets_defs}
    assert {name for name, holds in found.items() if holds and name in {*ASSETS, *MONITORING}} == {*RETRAIN_ASSETS, "calibrator_store"}


def test_the_checks_are_these_and_only_data_contracts_block(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    blocking = {key.to_user_string(): graph.get(key).blocking for key in graph.asset_check_keys}
    assert blocking == {**dict.fromkeys(BLOCKING_CHECKS, True), **dict.fromkeys(OTHER_CHECKS | MONITORING_CHECKS, False)}


def test_every_check_says_what_it_claims(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    assert [key.to_user_string() for key in graph.asset_check_keys if len(graph.get(key).description or "") < 15] == []


def test_every_step_is_in_the_pool_of_which_the_instance_admits_one_run(defs: dg.Definitions) -> None:
    nodes = {node.node_def.name: node.node_def.pool for node in defs.resolve_asset_graph().assets_defs}
    assert {*ASSETS, *MONITORING} < set(nodes)
    assert {name: pool for name, pool in nodes.items() if pool != "retrain"} == {"scored_windows": "scoring", "policy_replay": "backtest"}
    instance = yaml.safe_load((DEFAULT_CONFIG_PATH.parent.parent / "dagster.yaml").read_text(encoding="utf-8"))
    assert instance["concurrency"]["pools"] == {"granularity": "run", "default_limit": 1}


def test_an_active_model_is_late_after_30_days_and_stale_after_45(defs: dg.Definitions) -> None:
    spec = next(spec for spec in defs.resolve_all_asset_specs() if spec.key == dg.AssetKey("active_pointer"))
    policy = spec.freshness_policy
    assert policy is not None
    windows = (policy.warn_window.to_timedelta(), policy.fail_window.to_timedelta())
    assert windows == (timedelta(days=30), timedelta(days=45))


# --- Job, schedule, sensor ------------------------------------------------------------------------------------------------------


def test_the_job_calibrate_holds_the_calibrators_and_their_checks(defs: dg.Definitions) -> None:
    job = defs.resolve_job_def("calibrate")
    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == {"calibrator_store"}
    found = {key.to_user_string() for key in job.asset_layer.asset_graph.asset_check_keys}
    assert found == {name for name in MONITORING_CHECKS if name.startswith("calibrator_store:")}


def test_the_job_monitor_holds_what_watches_the_active_model_and_nothing_else(defs: dg.Definitions) -> None:
    job = defs.resolve_job_def("monitor")
    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == set(MONITORING)
    assert {key.to_user_string() for key in job.asset_layer.asset_graph.asset_check_keys} == MONITORING_CHECKS
    schedule = defs.resolve_schedule_def("daily_monitoring")
    assert (schedule.cron_schedule, schedule.job_name) == ("0 5 * * *", "monitor")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING


def test_the_job_retrain_holds_every_asset_of_a_retrain_and_its_checks(defs: dg.Definitions) -> None:
    job = defs.resolve_job_def("retrain")
    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == set(RETRAIN_ASSETS)
    expected = {check for check in BLOCKING_CHECKS | OTHER_CHECKS if check.partition(":")[0] in RETRAIN_ASSETS}
    assert {key.to_user_string() for key in job.asset_layer.asset_graph.asset_check_keys} == expected
    assert job.description


def test_the_job_backtest_holds_the_replay_alone(defs: dg.Definitions) -> None:
    job = defs.resolve_job_def("backtest")
    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == set(ON_REQUEST)


SENSORS = ("label_arrival", "drift_report", "performance_drop", "calibration_due", "failed_runs")

JOBS = ["retrain", "monitor", "score", "calibrate", "backtest", "rollback", "approve", "prune", "verify_registry"]


def test_the_jobs_schedules_and_sensors_are_these(defs: dg.Definitions) -> None:
    repository = defs.get_repository_def()
    assert {job.name for job in repository.get_all_jobs()} == {*JOBS, "__ASSET_JOB"}
    schedules = {schedule.name for schedule in repository.schedule_defs}
    assert schedules == {"daily_retrain", "weekly_verification", "daily_monitoring", "score_days"}
    assert {sensor.name for sensor in repository.sensor_defs} == {
        *SENSORS, "event_delivery"
    }  # fmt: skip


@pytest.mark.parametrize("name", [*JOBS, "__ASSET_JOB"])
def test_the_jobs_and_materialize_all_run_in_one_process(defs: dg.Definitions, name: str) -> None:
    job = defs.resolve_implicit_global_asset_job_def() if name == "__ASSET_JOB" else defs.resolve_job_def(name)
    assert job.executor_def.name == "in_process"


def test_a_retrain_says_that_it_excludes_others_and_when_dagster_ends_it(defs: dg.Definitions) -> None:
    tags = defs.resolve_job_def("retrain").tags
    assert tags[".dagster/taskclf_exclusive"] == "retrain"
    assert int(tags["dagster/max_runtime"]) == 3 * 30 * 60 + 300  # waiting for another and its own time, then five minutes


def test_the_job_shows_the_configuration_that_was_in_effect_when_it_was_loaded(tmp_path: Path) -> None:
    job = build_definitions(run_settings=_overlay(tmp_path, "min_new_labels: 17\n")).resolve_job_def("retrain")
    shown = job.metadata["configuration"].value
    assert isinstance(shown, dict)
    assert (shown["min_new_labels"], shown["global_retrain_cadence_days"]) == (17, 7)


def test_the_launch_form_has_the_fields_and_defaults_of_the_resource_behind_it() -> None:
    expected = {
        "force": False,
        "dry_run": False,
        "as_of": None,
        "holdout_user_fraction": 0.0,
        "config_path": None,
        "bootstrap": False,
    }
    assert {name: field.default for name, field in RetrainParams.model_fields.items()} == expected
    assert {name: field.default for name, field in RunSettingsResource.model_fields.items()} == expected


@pytest.mark.parametrize("form", [RetrainParams, MonitorParams, CalibrateParams, RollbackParams, ApproveParams, PruneParams, VerifyParams])
def test_every_field_of_a_launch_form_is_explained(form: type[dg.Config]) -> None:
    assert [name for name, field in form.model_fields.items() if len(field.description or "") < 15] == []


def test_the_schedule_looks_every_morning_at_six_and_is_on(defs: dg.Definitions) -> None:
    schedule = defs.resolve_schedule_def("daily_retrain")
    assert schedule.cron_schedule == "0 6 * * *"
    assert schedule.job_name == "retrain"
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING


def test_the_registry_is_verified_every_monday_after_the_retrain(defs: dg.Definitions) -> None:
    schedule = defs.resolve_schedule_def("weekly_verification")
    assert (schedule.cron_schedule, schedule.job_name) == ("30 6 * * 1", "verify_registry")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING


@pytest.mark.parametrize(
    ("name", "seconds"), [("label_arrival", 60), ("drift_report", 300), ("performance_drop", 300), ("failed_runs", 30)]
)
def test_each_sensor_launches_the_job_looks_often_enough_and_is_on(defs: dg.Definitions, name: str, seconds: int) -> None:
    sensor = defs.resolve_sensor_def(name)
    assert [target.job_name for target in sensor.targets] == ["retrain"]
    assert sensor.minimum_interval_seconds == seconds
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING


def test_the_sensor_for_calibration_launches_its_job_every_five_minutes_and_is_on(defs: dg.Definitions) -> None:
    sensor = defs.resolve_sensor_def("calibration_due")
    assert [target.job_name for target in sensor.targets] == ["calibrate"]
    assert sensor.minimum_interval_seconds == 300
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING


def test_the_sensor_that_delivers_events_looks_twice_a_minute_launches_nothing_and_is_on(defs: dg.Definitions) -> None:
    sensor = defs.resolve_sensor_def("event_delivery")
    assert list(sensor.targets) == []
    assert sensor.minimum_interval_seconds == 30
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING


def test_every_schedule_and_sensor_is_on_in_dagster_so_that_a_changed_setting_counts_at_its_next_tick(tmp_path: Path) -> None:
    defs = build_definitions(run_settings=_overlay(tmp_path, "enabled: false\nscore_schedule: 'off'\n"))
    schedules = {schedule.default_status for schedule in defs.schedules or [] if isinstance(schedule, dg.ScheduleDefinition)}
    assert schedules == {dg.DefaultScheduleStatus.RUNNING}
    assert {defs.resolve_sensor_def(name).default_status for name in SENSORS} == {dg.DefaultSensorStatus.RUNNING}


@pytest.mark.usefixtures("_machine_in_tokyo")
@pytest.mark.parametrize("name", ["daily_retrain", "weekly_verification"])
def test_without_a_time_zone_in_the_settings_the_schedules_have_the_machines(name: str) -> None:
    assert build_definitions().resolve_schedule_def(name).execution_timezone == "Asia/Tokyo"


@pytest.mark.usefixtures("_machine_in_tokyo")
def test_cron_lines_and_time_zone_of_the_settings_win(tmp_path: Path) -> None:
    crons = 'cron: "30 4 * * 1", verify_cron: "15 5 1 * *", monitor_cron: "45 3 * * *"'
    settings = _overlay(tmp_path, f"schedule: {{{crons}, timezone: Europe/Vienna}}\n")
    defs = build_definitions(run_settings=settings)
    daily, weekly, watch = (defs.resolve_schedule_def(name) for name in ("daily_retrain", "weekly_verification", "daily_monitoring"))
    assert (watch.cron_schedule, watch.execution_timezone, watch.job_name) == ("45 3 * * *", "Europe/Vienna", "monitor")
    assert (daily.cron_schedule, daily.execution_timezone) == ("30 4 * * 1", "Europe/Vienna")
    assert (weekly.cron_schedule, weekly.execution_timezone) == ("15 5 1 * *", "Europe/Vienna")
    assert defs.resolve_schedule_def("daily_monitoring").cron_schedule == "45 3 * * *"


# --- Loading --------------------------------------------------------------------------------------------------------------------


def test_everything_loads_and_binds() -> None:
    dg.Definitions.validate_loadable(definitions.defs())


def test_loading_touches_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKCLF_HOME", str(tmp_path / "none"))
    dg.Definitions.validate_loadable(build_definitions())
    assert not Home(tmp_path / "none").root.exists()


def test_a_wrong_configuration_stops_the_loading_with_every_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("auto_promot: true\ndata_lookback_days: -3\n", encoding="utf-8")
    monkeypatch.setenv("TASKCLF_DAGSTER_CONFIG", str(path))
    with pytest.raises(SettingsError) as caught:
        build_definitions()
    assert {setting.key: setting.kind for setting in caught.value.invalid} == {
        "auto_promot": "extra_forbidden",
        "data_lookback_days": "greater_than_equal",
    }
