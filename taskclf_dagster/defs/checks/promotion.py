"""Claims about what taskclf runs now; they can be executed at any time. Dagster concept: asset checks."""

import dagster as dg

from taskclf_dagster.defs.assets.promotion import active_pointer
from taskclf_dagster.defs.resources import HomeResource
from taskclf_dagster.domain.champion import find_history_disagreement, find_pointer_problem


@dg.asset_check(asset=active_pointer, pool="retrain", description="active.json names a bundle within the home that loads.")
def points_to_a_valid_bundle(home: HomeResource) -> dg.AssetCheckResult:
    """Reads the pointer as taskclf does and loads what it names."""
    problem = find_pointer_problem(home.open())
    return dg.AssetCheckResult(passed=problem is None, description=problem or "The bundle loads.")


@dg.asset_check(
    asset=active_pointer, pool="retrain", description="The pointer, the policy and the last line of the history name the same model."
)
def agrees_with_the_history(home: HomeResource) -> dg.AssetCheckResult:
    """Compares active.json, inference_policy.json and active_history.jsonl."""
    problem = find_history_disagreement(home.open())
    return dg.AssetCheckResult(passed=problem is None, description=problem or "They agree.")


PROMOTION_CHECKS = [points_to_a_valid_bundle, agrees_with_the_history]
