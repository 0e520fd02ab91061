"""How old labels, dataset and active model may be before the UI calls them late or stale. Dagster concept: freshness policies.

Follows from the settings: data that no run looked at for longer than the cadence is late, a model older than max_days_since_training
as well.
"""

from collections.abc import Sequence
from datetime import timedelta

import dagster as dg

from taskclf_dagster.config.settings import RetrainConfig

GRACE = timedelta(days=1)
"""A retrain that is due at a daily tick may come a day late."""


def build_freshness(config: RetrainConfig) -> dict[str, dg.FreshnessPolicy]:
    """The policies by asset: data late after one cadence, stale after two; the model by its age, stale at one and a half times that."""
    cadence, age = timedelta(days=config.scheduling.global_retrain_cadence_days), timedelta(days=config.scheduling.max_days_since_training)
    data = dg.FreshnessPolicy.time_window(warn_window=cadence + GRACE, fail_window=2 * cadence + GRACE)
    model = dg.FreshnessPolicy.time_window(warn_window=age, fail_window=1.5 * age)
    return {"labeled_windows": data, "dataset_snapshot": data, "active_pointer": model}


def with_freshness(assets: Sequence[dg.AssetsDefinition], config: RetrainConfig) -> list[dg.AssetsDefinition]:
    """The assets, with the policies that the settings ask for."""
    policies = build_freshness(config)

    def apply(spec: dg.AssetSpec) -> dg.AssetSpec:
        policy = policies.get(spec.key.to_user_string())
        return spec if policy is None else dg.apply_freshness_policy(spec, policy)

    return [asset.map_asset_specs(apply) for asset in assets]
