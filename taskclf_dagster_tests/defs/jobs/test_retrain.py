"""The launch form of the job, and running it from Python: what is refused, and in which words a failure is told."""

from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.jobs.retrain import RetrainParams, RetrainResult, run_retrain_pipeline
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource
from taskclf_dagster.home import Home
from taskclf_dagster_tests.scenario import AS_OF, DAY, day_file, learnable_home, make_home, span, windows_frame, write_labels, write_windows

pytestmark = pytest.mark.filterwarnings(
    # Dagster warns about itself when a resource (the IO manager) has another resource (the home) within.
    "ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning"
)


def _retrain(home: Home, **params: object) -> RetrainResult:
    definitions = build_definitions(home=HomeResource(root=str(home.root)), clock=ClockResource(fixed=AS_OF.isoformat()))
    with dg.DagsterInstance.ephemeral() as instance:
        return run_retrain_pipeline(definitions, RetrainParams(**params), instance=instance)


# --- The launch form --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def job() -> dg.JobDefinition:
    return build_definitions().resolve_job_def("retrain")


def test_an_empty_form_is_right(job: dg.JobDefinition) -> None:
    dg.validate_run_config(job, {})


def test_a_full_form_is_right(job: dg.JobDefinition) -> None:
    form = {
        "force": True,
        "dry_run": True,
        "as_of": "2026-02-04",
        "holdout_user_fraction": 0.2,
        "config_path": "configs/demo.yaml",
        "bootstrap": True,
    }
    dg.validate_run_config(job, form)


@pytest.mark.parametrize("form", [{"forc": True}, {"force": "yes"}, {"as_of": 20260204}, {"resources": {}}])
def test_an_unknown_field_or_a_wrong_type_is_refused_at_launch(job: dg.JobDefinition, form: dict[str, object]) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError):
        dg.validate_run_config(job, form)


@pytest.mark.parametrize("share", [-0.1, 1.0, 7.0])
def test_a_share_out_of_bounds_is_refused_at_launch(job: dg.JobDefinition, share: float) -> None:
    with pytest.raises(dg.DagsterConfigMappingFunctionError) as caught:
        dg.validate_run_config(job, {"holdout_user_fraction": share})
    assert "holdout_user_fraction" in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("form", "field", "value"),
    [
        ({"force": True}, "force", True),
        ({"dry_run": True}, "dry_run", True),
        ({"as_of": "2026-02-04"}, "as_of", "2026-02-04"),
        ({"holdout_user_fraction": 0.2}, "holdout_user_fraction", 0.2),
        ({"config_path": "x.yaml"}, "config_path", "x.yaml"),
        ({"bootstrap": True}, "bootstrap", True),
    ],
)
def test_every_field_of_the_form_reaches_the_settings_that_the_assets_read(
    job: dg.JobDefinition, form: dict[str, object], field: str, value: object
) -> None:
    assert job.config_mapping is not None
    mapped = job.config_mapping.resolve_from_unvalidated_config(form)
    settings = mapped["resources"]["run_settings"]["config"]
    defaults = job.config_mapping.resolve_from_unvalidated_config({})["resources"]["run_settings"]["config"]
    assert settings[field] == value != defaults.get(field)
    assert {**settings, field: None} == {**defaults, field: None}


# --- How a failure is told ----------------------------------------------------------------------------------------------------------


def test_a_red_blocking_check_is_told_in_its_own_words(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    home = make_home(tmp_path)
    begin = AS_OF - DAY + timedelta(hours=9)
    write_windows(home, windows_frame(start=begin, n=60))
    write_labels(home, [span(begin, begin + timedelta(minutes=60), "Build")])
    result = _retrain(home)
    assert (result.success, result.outcome, result.decision, result.pointer_moved) == (False, "FAILED", None, False)
    assert result.reason.startswith("dataset_snapshot: enough_labels: ")
    assert result.reason == snapshot
    assert "DagsterAssetCheckFailedError" not in result.reason


def test_a_look_back_that_begins_in_the_middle_of_labels_passes_every_blocking_check(tmp_path: Path) -> None:
    # From 09:10 on, four days ago, windows are split; those of the session of that minute before it only teach.
    config = tmp_path / "short.yaml"
    config.write_text("data_lookback_days: 4\nsearch: 'off'\ntrain_params: {num_boost_round: 2}\n", encoding="utf-8")
    home, moment = learnable_home(tmp_path / "home", users=1, days=6), AS_OF + timedelta(hours=9, minutes=10)
    result = _retrain(home, as_of=moment.isoformat(), config_path=str(config))
    assert result.decision is not None, result.reason
    assert result.decision.dataset.split["older"] > 0


def test_a_missing_home_is_told_with_how_to_get_one(tmp_path: Path) -> None:
    result = _retrain(Home(tmp_path / "none"))
    assert result.outcome == "FAILED"
    assert str(tmp_path / "none") in result.reason
    assert "Traceback" not in result.reason


def test_a_torn_daily_file_is_told_with_the_file_and_the_fix(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=2)
    torn = day_file(home, (AS_OF - DAY).date())
    torn.write_bytes(b"PAR1 torn")
    result = _retrain(home)
    assert str(torn) in result.reason
    assert "skip_unreadable_days" in result.reason


def test_a_torn_label_store_is_told_with_the_file_and_the_fix(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=2)
    home.labels.write_bytes(b"PAR1 torn")
    result = _retrain(home)
    assert str(home.labels) in result.reason


def test_an_as_of_time_before_all_data_is_told_with_the_range(tmp_path: Path) -> None:
    result = _retrain(learnable_home(tmp_path, users=1, days=2), as_of="2020-01-31")
    assert [day for day in ("2020-01-01", "2020-01-31", "data_lookback_days") if day not in result.reason] == []


def test_a_wrong_as_of_time_is_told_with_an_example_of_a_right_one(tmp_path: Path) -> None:
    result = _retrain(learnable_home(tmp_path, users=1, days=2), as_of="yesterday")
    assert [name for name in ("as_of", "'yesterday'", "2026-02-04") if name not in result.reason] == []


def test_a_wrong_configuration_is_told_with_every_finding(tmp_path: Path) -> None:
    config = tmp_path / "wrong.yaml"
    config.write_text("min_labels: 0\nauto_promot: true\n", encoding="utf-8")
    result = _retrain(learnable_home(tmp_path, users=1, days=2), config_path=str(config))
    assert "auto_promot: " in result.reason
    assert "min_labels" in result.reason


def test_a_failed_run_leaves_nothing_that_a_later_one_could_take_for_a_decision(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=2)
    home.labels.write_bytes(b"PAR1 torn")
    _retrain(home)
    assert not home.models.exists()
    assert not list(home.decisions.glob("*.json")) if home.decisions.exists() else True
