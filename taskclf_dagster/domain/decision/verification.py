"""Verifies a decision offline: recomputes comparison, gates and verdict from the numbers in the receipt."""

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.config.yaml_files import keep_known_keys, merge_mappings
from taskclf_dagster.domain.decision.candidate_gates import CANDIDATE_GATES, find_contradictions
from taskclf_dagster.domain.decision.comparative_gates import SLICE_GATE, check_regression_gates
from taskclf_dagster.domain.decision.decision import DecisionContent, PromotionDecision, content_hash, make_decision_id
from taskclf_dagster.domain.decision.floors import judge_floors, judged_alone
from taskclf_dagster.domain.decision.gate import RegressionGate
from taskclf_dagster.domain.decision.trial_gate import judge_trial
from taskclf_dagster.domain.decision.verdict import decide
from taskclf_dagster.domain.evaluation.comparison import Comparison, complete_again, derive_seed, find_inconsistencies
from taskclf_dagster.domain.execution.training_recipe import TrainingRecipe
from taskclf_dagster.domain.models.reproducibility import is_proof_wanted
from taskclf_dagster.domain.storage.records import canonical_json
from taskclf_dagster.errors import DecisionFinding


def verify_decision(decision: PromotionDecision) -> list[DecisionFinding]:
    """Checks a decision against itself, offline.

    The hash must be that of every field, the verdict must follow from the gates, and each gate from its numbers and the policy. The
    comparison, its statistics and the comparative gates are computed again from the counts by block, and must be equal byte for byte.

    Returns:
        What does not hold; empty if everything does.
    """
    findings: list[DecisionFinding] = []
    try:
        if content_hash(decision) != decision.decision_hash:
            findings.append(
                DecisionFinding("hash_differs", "decision_hash does not match the contents: the record was changed after it was made")
            )
        if decision.decision_id != make_decision_id(decision.as_of, decision.decision_hash):
            findings.append(
                DecisionFinding(
                    "id_differs", "decision_id is not the one made of as_of and decision_hash: the record was changed after it was made"
                )
            )
        findings.extend(_find_contradictions(decision, decision.settings))
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # a policy or a count that no run ever had
        findings.append(
            DecisionFinding("not_computable", f"it cannot be computed again: {type(error).__name__}: {str(error).splitlines()[0]}")
        )
    names = [gate.name for gate in decision.gates]
    findings.extend(
        DecisionFinding("gate_repeated", f"gate {name} appears {names.count(name)} times")
        for name in sorted(set(names))
        if names.count(name) > 1
    )
    return findings


def judge_comparative_gates(content: DecisionContent, settings: RetrainConfig) -> list[RegressionGate]:
    """Returns the comparative gates that follow from champion, comparison, anchors and rolled-back models of a decision."""
    judged = check_regression_gates(
        content.comparison,
        champion_state=content.champion.state,
        champion_reason=content.champion.reason,
        anchors=content.anchors,
        rolled_back_as=content.rolled_back_as,
        history_damaged=content.registry.history_damaged,
        bootstrap=content.options.bootstrap,
        settings=settings.comparison,
    ).gates
    return judged if content.trial is None else [*judged, judge_trial(content.trial)]


def list_judged_alone(content: DecisionContent) -> list[RegressionGate]:
    """Returns the candidate gates of a decision as they are judged on the challenger alone."""
    return [judged_alone(gate) for gate in content.gates if gate.kind == "candidate"]


def _find_contradictions(decision: PromotionDecision, settings: RetrainConfig) -> list[DecisionFinding]:
    """Finds a verdict that does not follow from the gates, and gates that do not follow from their numbers, the policy or the counts."""
    verdict, reason = decide(
        decision.gates, decision.dataset.feasibility, auto_promote=settings.promotion.auto_promote, required=decision.required_gates
    )
    findings = []
    if verdict != decision.verdict:
        findings.append(
            DecisionFinding("verdict_does_not_follow", f"the verdict is {decision.verdict}, but {verdict} follows from the gates: {reason}")
        )
    findings.extend(find_contradictions(list_judged_alone(decision), settings.evaluation))
    findings.extend(find_unexcused(decision, settings))
    if decision.comparison is not None:
        findings.extend(_find_unfounded_comparison(decision, decision.comparison, settings))
    findings.extend(_find_unfounded_trial(decision, settings))
    findings.extend(_find_unfounded_gates(decision, settings))
    findings.extend(_find_wrong_anchors(decision))
    return findings


def find_unexcused(decision: PromotionDecision, settings: RetrainConfig) -> list[DecisionFinding]:
    """Finds gates that do not apply although the policy asks for them; a verdict that does not promote may not have got to them."""
    if decision.verdict not in ("PROMOTE", "AWAITING_APPROVAL"):
        return []
    excused = {gate.name for gate in decision.gates if gate.status == "NOT_APPLICABLE"}
    findings = []
    proof_wanted = is_proof_wanted(settings.training.prove_reproducible, windows=_count_trained(decision))
    if "reproducible" in excused and proof_wanted and can_always_be_followed(decision.recipe):
        findings.append(DecisionFinding("gate_not_excused", "gate reproducible does not apply, but the policy wants the proof"))
    if "beats_lookup_baseline" in excused and settings.evaluation.require_baseline_improvement:
        findings.append(
            DecisionFinding("gate_not_excused", "gate beats_lookup_baseline does not apply, but the policy wants baselines to be beaten")
        )
    if settings.comparison.slice_gate and SLICE_GATE not in {gate.name for gate in decision.gates}:
        findings.append(DecisionFinding("gate_not_excused", f"gate {SLICE_GATE} was not judged, but the policy has slice_gate on"))
    return findings


def can_always_be_followed(recipe: TrainingRecipe | None) -> bool:
    """Returns True for the recipe of a model that one process trained: whatever decides about it can train it again."""
    return recipe is None or recipe.trainer == "local"


def _count_trained(decision: PromotionDecision) -> int:
    """Returns the number of windows of the dataset that the challenger was made of."""
    return sum(decision.dataset.split.values()) if decision.trial is None else decision.trial.held_windows


def is_older_than_slices(content: DecisionContent) -> bool:
    """Returns True for a receipt that was made before windows were counted by slice: it has neither the counts nor the gate."""
    sliced = content.comparison is not None and content.comparison.slices is not None
    return not sliced and SLICE_GATE not in {gate.name for gate in content.gates}


def _find_unfounded_gates(decision: PromotionDecision, settings: RetrainConfig) -> list[DecisionFinding]:
    """Finds gates that do not follow from the comparison, and gates that call themselves of the other kind."""
    sums = None if decision.comparison is None else decision.comparison.sums
    candidate = judge_floors(list_judged_alone(decision), sums, held_out=decision.dataset.holdout_users, config=settings)
    expected = {gate.name: gate.numbers for gate in [*candidate, *judge_comparative_gates(decision, settings)]}
    findings = []
    for gate in decision.gates:
        if gate.kind != ("candidate" if gate.name in CANDIDATE_GATES else "comparative"):
            findings.append(DecisionFinding("gate_of_other_kind", f"gate {gate.name} is called {gate.kind}"))
        elif expected.get(gate.name) != gate.numbers:
            findings.append(DecisionFinding("gate_does_not_follow", f"gate {gate.name} does not follow from the comparison"))
    return findings


def _find_wrong_anchors(decision: PromotionDecision) -> list[DecisionFinding]:
    findings = []
    for anchor in decision.anchors:
        ours, theirs = anchor.challenger_macro_f1, anchor.anchor_macro_f1
        if anchor.difference is not None and (ours is None or theirs is None or anchor.difference != ours - theirs):
            findings.append(
                DecisionFinding("anchor_does_not_follow", f"the difference to anchor {anchor.model_id} is not that of the figures")
            )
    return findings


def _find_unfounded_comparison(decision: PromotionDecision, comparison: Comparison, settings: RetrainConfig) -> list[DecisionFinding]:
    """Finds what does not follow from the counts by block, and counts that contradict each other."""
    champion = decision.champion.model
    if champion is None or decision.champion.state != "ok":
        return [DecisionFinding("comparison_without_champion", "there is a comparison without a champion to compare with")]
    findings = [DecisionFinding("comparison_inconsistent", found) for found in find_inconsistencies(comparison)]
    again = complete_again(
        comparison,
        seed=derive_seed(decision.dataset.digest, [champion.files, decision.challenger.files], _recorded_policy(decision, settings)),
        settings=settings.comparison,
        min_class_windows=settings.evaluation.min_class_windows,
    )
    if _numbers_of_comparison(again) != _numbers_of_comparison(comparison):
        findings.append(DecisionFinding("comparison_does_not_follow", "the comparison does not follow from its counts by block"))
    if (comparison.challenger_id, comparison.champion_id) != (decision.challenger.model_id, champion.model_id):
        findings.append(
            DecisionFinding(
                "comparison_of_other_models", f"the comparison is about {comparison.challenger_id} and {comparison.champion_id}"
            )
        )
    return findings


def _find_unfounded_trial(decision: PromotionDecision, settings: RetrainConfig) -> list[DecisionFinding]:
    """Finds bounds of a trial that do not follow from the counts of the comparison, or that are looser than the policy."""
    trial, comparison = decision.trial, decision.comparison
    if trial is None:
        return []
    if comparison is None or trial.significance > settings.comparison.significance:
        wrong = "a trial without a comparison" if comparison is None else "a trial with a looser significance than the policy"
        return [DecisionFinding("trial_does_not_follow", f"there is {wrong}")]
    if trial.bounds_from(comparison.sums) != trial.bounds:
        return [DecisionFinding("trial_does_not_follow", "the bounds of the trial do not follow from the counts by block")]
    if list(trial.order) != sorted(trial.order, key=lambda each: (each.day, each.user)):
        return [DecisionFinding("trial_does_not_follow", "its user-days are not in the order in which they are closed")]
    early = [day.day for day in trial.order if day.day < trial.windows_from.date()]
    return [DecisionFinding("trial_does_not_follow", f"it has days before it could begin: {early[0]}")] if early else []


def _recorded_policy(decision: PromotionDecision, settings: RetrainConfig) -> dict[str, object]:
    """Returns the policy with the types of its settings, because canonical JSON writes 1.0 as 1; keys that are unknown now stay as read."""
    return merge_mappings(decision.policy, keep_known_keys(settings.policy, decision.policy))


def _numbers_of_comparison(comparison: Comparison) -> str:
    """Returns the comparison without its summary, which a later version may phrase differently."""
    return canonical_json(comparison.model_dump(mode="json", exclude={"evidence": {"summary"}}))
