"""Checks of the decision receipt and of the present registry, which can be executed at any time. Dagster concept: asset checks.

Add a check of what is stored after a decision here. Problems are found in `domain.registry.health` and `domain.decision.verification`.
"""

import dagster as dg

from taskclf_dagster.defs.assets.promotion import active_pointer, promotion_decision
from taskclf_dagster.defs.resources.inputs import HomeResource
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import read_decision
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.registry.health import find_history_disagreement, read_pointer_problem
from taskclf_dagster.domain.registry.state import read_registry_state


@dg.asset_check(asset=active_pointer, pool="retrain", description="active.json names a bundle within the home that loads.")
def points_to_a_valid_bundle(home: HomeResource) -> dg.AssetCheckResult:
    """Reads the pointer as taskclf does and loads its bundle."""
    problem = read_pointer_problem(home.open())
    return dg.AssetCheckResult(passed=problem is None, description="The bundle loads." if problem is None else problem.detail)


@dg.asset_check(asset=promotion_decision, pool="retrain", description="Computed again from the stored record, the verdict is the same.")
def verdict_follows_from_the_gates(promotion_decision: PromotionDecision, home: HomeResource) -> dg.AssetCheckResult:
    """Reads artifacts/decisions/<decision_id>.json back, and decides again from its gates."""
    stored = read_decision(home.open(), promotion_decision.decision_id)
    findings = ["the record in artifacts/decisions is missing or damaged"] if stored is None else verify_decision(stored)
    if stored is not None and stored.decision_hash != promotion_decision.decision_hash:
        findings.append("the record in artifacts/decisions is not the one this run made")
    description = "\n".join(findings) or f"{promotion_decision.outcome}: {promotion_decision.reason}"
    return dg.AssetCheckResult(passed=not findings, description=description, metadata={"findings": len(findings)})


@dg.asset_check(
    asset=active_pointer, pool="retrain", description="The pointer, the policy and the last line of the history name the same model."
)
def agrees_with_the_history(home: HomeResource) -> dg.AssetCheckResult:
    """Compares active.json, inference_policy.json and active_history.jsonl."""
    problem = find_history_disagreement(read_registry_state(home.open()))
    return dg.AssetCheckResult(passed=problem is None, description=problem or "They agree.")


PROMOTION_CHECKS = [verdict_follows_from_the_gates, points_to_a_valid_bundle, agrees_with_the_history]
