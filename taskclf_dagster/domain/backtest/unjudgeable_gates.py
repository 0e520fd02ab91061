"""Finds the gates that a policy asks for and that a receipt has no figures for."""

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.decision.candidate_gates import CANDIDATE_GATES, configured_threshold
from taskclf_dagster.domain.decision.comparative_gates import SLICE_GATE
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.models.reproducibility import is_proof_wanted

BASELINES = ("beats_rule_baseline", "beats_lookup_baseline")


_PER_LABEL = ("macro_f1", "weighted_f1", "no_class_below_50_precision", "seen_user_f1", "unseen_user_f1", *BASELINES)
"""Candidate gates whose figure is over the labels with at least min_class_windows."""


def find_unjudgeable(decision: PromotionDecision, settings: RetrainConfig) -> dict[str, str]:
    """Returns the gates that cannot be judged from a receipt, each with the reason; empty if all can.

    Args:
        decision: the receipt.
        settings: the policy by which it is judged again.
    """
    found, then = {}, decision.settings
    gates = {gate.name: gate for gate in decision.gates}
    for name in CANDIDATE_GATES:
        gate = gates.get(name)
        if gate is None:
            found[name] = "the receipt is older than this gate"
        elif gate.status in ("INCONCLUSIVE", "ERROR") and configured_threshold(name, settings.evaluation) != gate.threshold:
            found[name] = f"it was {gate.status} then, without a figure ({gate.detail})"
    if settings.evaluation.require_baseline_improvement and not then.evaluation.require_baseline_improvement:
        found |= dict.fromkeys(BASELINES, "the baselines were not asked for then")
    windows = sum(decision.dataset.split.values())
    proven = "reproducible" in gates and gates["reproducible"].status != "NOT_APPLICABLE"
    if not proven and is_proof_wanted(settings.training.prove_reproducible, windows=windows):
        found["reproducible"] = "the challenger was not trained a second time then"
    if settings.evaluation.min_class_windows != then.evaluation.min_class_windows:
        few = f"its figure is over labels with {then.evaluation.min_class_windows} windows, the policy wants {{}}"
        found |= dict.fromkeys(_PER_LABEL, few.format(settings.evaluation.min_class_windows))
    comparison = decision.comparison
    if settings.comparison.slice_gate and comparison is not None and comparison.slices is None:
        found[SLICE_GATE] = "the windows were not counted by slice then"
    if comparison is not None and settings.comparison.max_leaked_share != then.comparison.max_leaked_share:
        found["macro_f1_no_regression"] = "another max_leaked_share would have compared other windows"
    return found
