"""Freshness policies of labels, dataset, active model and monitoring. Dagster concept: freshness policies.

They follow from the settings: data that no run has read for longer than the cadence is late, and so is a model older than
max_days_since_training.
"""

from collections.abc import Sequence
from datetime import timedelta

import dagster as dg

from taskclf_dagster.config.settings import RetrainConfig

MONITORING_WARN, MONITORING_FAIL = timedelta(days=2), timedelta(days=7)
"""Ages of a report that is made every day."""


GRACE = timedelta(days=1)
"""A retrain that is due at a daily tick may come a day late."""


def build_freshness(config: RetrainConfig) -> dict[str, dg.FreshnessPolicy]:
    """Returns the policies by asset: data warn at one cadence and fail at two, the model at its age limit and 1.5 times that.

    What watches the model warns after two days and fails after a week.
    """
    cadence, age = timedelta(days=config.scheduling.global_retrain_cadence_days), timedelta(days=config.scheduling.max_days_since_training)
    data = dg.FreshnessPolicy.time_window(warn_window=cadence + GRACE, fail_window=2 * cadence + GRACE)
    model = dg.FreshnessPolicy.time_window(warn_window=age, fail_window=1.5 * age)
    monitoring = dg.FreshnessPolicy.time_window(warn_window=MONITORING_WARN, fail_window=MONITORING_FAIL)
    calibrated = timedelta(days=config.scheduling.calibrator_update_cadence_days)
    calibrators = dg.FreshnessPolicy.time_window(warn_window=calibrated + GRACE, fail_window=2 * calibrated + GRACE)
    watching = {"calibrator_store": calibrators} | dict.fromkeys(("scored_windows", "drift_report", "live_performance"), monitoring)
    return {"labeled_windows": data, "dataset_snapshot": data, "active_pointer": model, **watching}


def with_freshness(assets: Sequence[dg.AssetsDefinition], config: RetrainConfig) -> list[dg.AssetsDefinition]:
    """Returns the assets with the policies that follow from the settings."""
    policies = build_freshness(config)

    def apply(spec: dg.AssetSpec) -> dg.AssetSpec:
        policy = policies.get(spec.key.to_user_string())
        return spec if policy is None else dg.apply_freshness_policy(spec, policy)

    return [asset.map_asset_specs(apply) for asset in assets]
