"""How old labels, dataset and model may be before the UI says so: from the settings."""

from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.automation.freshness import build_freshness
from taskclf_dagster.defs.resources.inputs import RunSettingsResource
from taskclf_dagster_tests.scenario import retrain_config


def _windows(policy: object) -> tuple[timedelta, timedelta]:
    return policy.warn_window.to_timedelta(), policy.fail_window.to_timedelta()


def test_as_shipped_data_are_late_after_8_days_and_the_model_after_30() -> None:
    found = {name: _windows(policy) for name, policy in build_freshness(retrain_config()).items()}
    assert found == {
        "labeled_windows": (timedelta(days=8), timedelta(days=15)),
        "dataset_snapshot": (timedelta(days=8), timedelta(days=15)),
        "active_pointer": (timedelta(days=30), timedelta(days=45)),
        "calibrator_store": (timedelta(days=8), timedelta(days=15)),
        **dict.fromkeys(("scored_windows", "drift_report", "live_performance"), (timedelta(days=2), timedelta(days=7))),
    }


def test_other_settings_make_other_windows() -> None:
    policies = build_freshness(retrain_config(global_retrain_cadence_days=1, max_days_since_training=10))
    assert _windows(policies["labeled_windows"]) == (timedelta(days=2), timedelta(days=3))
    assert _windows(policies["active_pointer"]) == (timedelta(days=10), timedelta(days=15))


@pytest.mark.parametrize(
    ("asset", "late"), [("labeled_windows", 4), ("dataset_snapshot", 4), ("active_pointer", 20), ("promotion_decision", None)]
)
def test_the_definitions_carry_the_policies_of_the_settings(tmp_path: Path, asset: str, late: int | None) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("global_retrain_cadence_days: 3\nmax_days_since_training: 20\n", encoding="utf-8")
    definitions = build_definitions(run_settings=RunSettingsResource(config_path=str(path)))
    spec = next(spec for spec in definitions.resolve_all_asset_specs() if spec.key == dg.AssetKey(asset))
    assert (spec.freshness_policy is None) is (late is None)
    if late is not None:
        assert _windows(spec.freshness_policy)[0] == timedelta(days=late)
