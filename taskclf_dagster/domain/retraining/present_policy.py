"""Judges a decision by today's policy, before it is carried out: thresholds may have become stricter since it was made.

Nothing is predicted again: the observed values and the counts of the receipt are held against the settings of now. The receipt itself is
verified by the policy that it was made with (`decision.verification`).
"""

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.config.yaml_files import flatten
from taskclf_dagster.domain.decision.candidate_gates import CANDIDATE_GATES, configured_threshold, passes_threshold
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.floors import judge_floors, judged_alone
from taskclf_dagster.domain.decision.gate import RegressionGate
from taskclf_dagster.domain.decision.verdict import Verdict, decide
from taskclf_dagster.domain.decision.verification import find_unexcused, judge_comparative_gates
from taskclf_dagster.domain.evaluation.comparison import complete_again
from taskclf_dagster.errors import DecisionFinding, RegistryRefusedError


def require_present_policy(decision: PromotionDecision, settings: RetrainConfig, *, approved: bool = False) -> None:
    """Checks that a decision would be promoted by today's policy as well; with an approval, that it would at least await one.

    Judged are the thresholds of the gates, the comparison and the promotion, not what shapes data and training. A receipt that does not
    hold by its own policy, or does not ask for this, passes: `promote` refuses it with the reason.

    Raises:
        RegistryRefusedError: it would not; the message names the keys that differ.
    """
    wanted, allowed = ("AWAITING_APPROVAL", ("PROMOTE", "AWAITING_APPROVAL")) if approved else ("PROMOTE", ("PROMOTE",))
    try:
        differing = find_differing_keys(decision, settings) if decision.verdict == wanted else []
        if not differing:
            return
        verdict, reason = judge_by_present_policy(decision, settings)
    except (ArithmeticError, LookupError, TypeError, ValueError):  # a policy or a count that no run ever had
        return
    if verdict in allowed:
        return
    raise RegistryRefusedError(
        f"{'Approving' if approved else 'Promoting by'} {decision.decision_id}",
        "present_policy",
        f"by today's policy the verdict is {verdict} ({reason.rstrip('.')}); since the decision changed {', '.join(differing)}",
        "Retrain, or insist with --as-judged (in the launch form: as_judged)."
        if approved
        else "Retrain, or launch with the config_path of the decision.",
    )


def find_differing_keys(decision: PromotionDecision, settings: RetrainConfig) -> list[str]:
    """Returns the keys of the policy that have another value now, each with the value then and now."""
    then, now = dict(flatten(decision.settings.policy)), dict(flatten(settings.policy))
    return [f"{key} (then {then.get(key)}, now {now.get(key)})" for key in {**then, **now} if then.get(key) != now.get(key)]


def judge_by_present_policy(decision: PromotionDecision, settings: RetrainConfig) -> tuple[Verdict, str]:
    """Returns the verdict, and its reason, that follow from the numbers of a decision and other settings than its own."""
    comparison, fewest = decision.comparison, settings.evaluation.min_class_windows
    if comparison is not None:
        comparison = complete_again(comparison, seed=comparison.seed, settings=settings.comparison, min_class_windows=fewest)
    comparative = judge_comparative_gates(decision.model_copy(update={"comparison": comparison}), settings)
    alone = [_judge_again(judged_alone(gate), settings) for gate in decision.gates if gate.name in CANDIDATE_GATES]
    sums = None if comparison is None else comparison.sums
    candidate = judge_floors(alone, sums, held_out=decision.dataset.holdout_users, config=settings)
    missing = find_unexcused(decision, settings)
    verdict, reason = decide(
        [*candidate, *comparative],
        decision.dataset.feasibility,
        auto_promote=settings.promotion.auto_promote,
        required=decision.required_gates,
    )
    then = decision.settings.evaluation.min_class_windows
    if fewest < then:
        missing.append(DecisionFinding("gate_not_excused", f"labels of {fewest} to {then} windows were not judged"))
    if missing and verdict in ("PROMOTE", "AWAITING_APPROVAL"):
        return "HOLD", "; ".join(map(str, missing))
    return verdict, reason


def _judge_again(gate: RegressionGate, settings: RetrainConfig) -> RegressionGate:
    """Returns a candidate gate by today's threshold; one without a figure, or whose threshold is no setting, stays as it is."""
    threshold = configured_threshold(gate.name, settings.evaluation)
    if gate.status not in ("PASS", "FAIL") or gate.observed is None or threshold is None:
        return gate
    passes = passes_threshold(gate.name, gate.observed, threshold)
    detail = gate.detail if threshold == gate.threshold else f"{gate.observed:.4f} was judged by {gate.threshold}, today's is {threshold}"
    return gate.model_copy(update={"status": "PASS" if passes else "FAIL", "threshold": threshold, "detail": detail})
