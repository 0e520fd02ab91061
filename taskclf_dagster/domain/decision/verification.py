"""Verifies a decision offline: recomputes verdict, comparison and gates from the numbers in the receipt."""

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.config.yaml_files import keep_known_keys, merge_mappings
from taskclf_dagster.domain.decision.candidate_gates import CANDIDATE_GATES, find_contradictions
from taskclf_dagster.domain.decision.comparative_gates import check_regression_gates
from taskclf_dagster.domain.decision.decision import PromotionDecision, content_hash, decide, make_decision_id
from taskclf_dagster.domain.decision.gate import RegressionGate
from taskclf_dagster.domain.evaluation.comparison import Comparison, complete_comparison, derive_seed, find_inconsistencies
from taskclf_dagster.domain.models.reproducibility import is_proof_wanted
from taskclf_dagster.domain.storage.records import canonical_json


def verify_decision(decision: PromotionDecision) -> list[str]:
    """Checks a decision against itself, offline: its hash, its verdict from its gates, each gate from its numbers and the settings.

    The comparison, its statistics and the comparative gates are computed again from the counts by block, and must be equal byte for byte.

    Returns:
        What does not hold, one sentence each.
    """
    findings: list[str] = []
    try:
        if content_hash(decision) != decision.decision_hash:
            findings.append("decision_hash does not match the contents: the record was changed after it was made")
        if decision.decision_id != make_decision_id(decision.as_of, decision.decision_hash):
            findings.append("decision_id is not the one made of as_of and decision_hash: the record was changed after it was made")
        findings.extend(_find_contradictions(decision))
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # a policy or a count that no run ever had
        findings.append(f"it cannot be computed again: {type(error).__name__}: {str(error).splitlines()[0]}")
    names = [gate.name for gate in decision.gates]
    findings.extend(f"gate {name} appears {names.count(name)} times" for name in sorted(set(names)) if names.count(name) > 1)
    return findings


def _find_contradictions(decision: PromotionDecision) -> list[str]:
    """A verdict that does not follow from the gates, and gates that do not follow from their numbers, the policy or the counts."""
    settings, findings = decision.settings, []
    verdict, reason = decide(
        decision.gates, decision.feasibility, auto_promote=settings.promotion.auto_promote, required=decision.required_gates
    )
    if verdict != decision.verdict:
        findings.append(f"the verdict is {decision.verdict}, but {verdict} follows from the gates: {reason}")
    findings.extend(find_contradictions([gate for gate in decision.gates if gate.kind == "candidate"], settings))
    excused = {gate.name for gate in decision.gates if gate.status == "NOT_APPLICABLE"}
    promotes = decision.verdict in ("PROMOTE", "AWAITING_APPROVAL")  # else it may just not have been tried
    if promotes and "reproducible" in excused and is_proof_wanted(settings, windows=sum(decision.split.values())):
        findings.append("gate reproducible does not apply, but the policy wants the proof")
    if promotes and "beats_lookup_baseline" in excused and settings.evaluation.require_baseline_improvement:
        findings.append("gate beats_lookup_baseline does not apply, but the policy wants baselines to be beaten")
    return [*findings, *_find_unfounded(decision, settings)]


def _find_unfounded(decision: PromotionDecision, settings: RetrainConfig) -> list[str]:
    """What does not follow from the counts: the comparison, or a comparative gate; and what contradicts itself."""
    findings = _find_unfounded_comparison(decision, settings) if decision.comparison is not None else []
    expected = {gate.name: _figures(gate) for gate in judge_beside_others(decision, settings)}
    for gate in decision.gates:
        if gate.kind != ("candidate" if gate.name in CANDIDATE_GATES else "comparative"):
            findings.append(f"gate {gate.name} is called {gate.kind}")
        elif gate.kind == "comparative" and expected.get(gate.name) != _figures(gate):
            findings.append(f"gate {gate.name} does not follow from the comparison")
    for anchor in decision.anchors:
        ours, theirs = anchor.challenger_macro_f1, anchor.anchor_macro_f1
        if anchor.difference is not None and (ours is None or theirs is None or anchor.difference != ours - theirs):
            findings.append(f"the difference to anchor {anchor.model_id} is not that of the figures")
    return findings


def _find_unfounded_comparison(decision: PromotionDecision, settings: RetrainConfig) -> list[str]:
    comparison, champion = decision.comparison, decision.champion
    if comparison is None or champion is None or decision.champion_state != "ok":
        return ["there is a comparison without a champion to compare with"]
    findings = find_inconsistencies(comparison)
    again = complete_comparison(
        challenger_id=comparison.challenger_id,
        champion_id=comparison.champion_id,
        left_out=comparison.left_out,
        exclusion=comparison.exclusion,
        sums=comparison.sums,
        flips=comparison.flips,
        seed=derive_seed(decision.dataset_digest, [champion.files, decision.challenger.files], _recorded_policy(decision)),
        config=settings,
    )
    if _numbers(again) != _numbers(comparison):
        findings.append("the comparison does not follow from its counts by block")
    if (comparison.challenger_id, comparison.champion_id) != (decision.challenger.model_id, champion.model_id):
        findings.append(f"the comparison is about {comparison.challenger_id} and {comparison.champion_id}")
    return findings


def _recorded_policy(decision: PromotionDecision) -> dict[str, object]:
    """Returns the policy with the types of its settings, because canonical JSON writes 1.0 as 1; keys that are unknown now stay as read."""
    return merge_mappings(decision.config, keep_known_keys(decision.settings.policy, decision.config))


def _numbers(comparison: Comparison) -> str:
    """The comparison without words, which a later version may put differently."""
    return canonical_json(comparison.model_dump(mode="json", exclude={"evidence": {"summary"}}))


def _figures(gate: RegressionGate) -> tuple[object, ...]:
    return gate.status, gate.observed, gate.threshold


def judge_beside_others(decision: PromotionDecision, config: RetrainConfig) -> list[RegressionGate]:
    """The comparative gates, from what a decision says about champion, comparison, anchors and rollbacks."""
    return check_regression_gates(
        decision.comparison,
        champion_state=decision.champion_state,
        champion_reason=decision.champion_reason,
        anchors=decision.anchors,
        rolled_back_as=decision.rolled_back_as,
        bootstrap=decision.bootstrap,
        config=config,
    ).gates
