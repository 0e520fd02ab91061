"""Checks of the decision receipt and of the present registry, which can be executed at any time. Dagster concept: asset checks.

Add a check of what is stored after a decision here. Problems are found in `domain.registry.health` and `domain.decision.verification`.
"""

from collections.abc import Iterator

import dagster as dg

from taskclf_dagster.defs.assets.promotion import active_pointer, promotion_decision
from taskclf_dagster.defs.display.promotion_metadata import AGREES, LOADS, registry_checks
from taskclf_dagster.defs.resources.inputs import HomeResource
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import read_decision
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.shown_text import show_block

REGISTRY_SPECS = [
    dg.AssetCheckSpec(LOADS, asset=active_pointer, description="active.json names a bundle within the home that loads."),
    dg.AssetCheckSpec(
        AGREES, asset=active_pointer, description="The pointer, the policy and the last line of the history name the same model."
    ),
]


@dg.asset_check(asset=promotion_decision, pool="retrain", description="Computed again from the stored record, the verdict is the same.")
def verdict_follows_from_the_gates(promotion_decision: PromotionDecision, home: HomeResource) -> dg.AssetCheckResult:
    """Reads artifacts/decisions/<decision_id>.json back, and decides again from its gates."""
    stored = read_decision(home.open(), promotion_decision.decision_id)
    findings = (
        ["the record in artifacts/decisions is missing or damaged"]
        if stored is None
        else [str(finding) for finding in verify_decision(stored)]
    )
    if stored is not None and stored.decision_hash != promotion_decision.decision_hash:
        findings.append("the record in artifacts/decisions is not the one this run made")
    description = "\n".join(findings) or f"{promotion_decision.outcome}: {promotion_decision.reason}"
    return dg.AssetCheckResult(passed=not findings, description=show_block(description), metadata={"findings": len(findings)})


@dg.multi_asset_check(name="registry_files", specs=REGISTRY_SPECS, pool="retrain")
def registry_files(home: HomeResource) -> Iterator[dg.AssetCheckResult]:
    """Reads active.json, inference_policy.json and active_history.jsonl, loads the bundle that the pointer names, and compares them."""
    yield from registry_checks(read_registry_state(home.open()))


PROMOTION_CHECKS = [verdict_follows_from_the_gates, registry_files]
