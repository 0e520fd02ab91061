"""The gates: each judges one figure against one threshold and says PASS, FAIL or why it cannot say. Here are those of a candidate alone.

Thresholds come from the settings, figures from `evaluation`, `baseline` and `reproduction`. Gates beside another model are in
`comparative_gates`; what follows from all gates together is decided in `decision`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feature_schema import BREAK_IDLE
from taskclf_dagster.domain.decision.gate import (
    ROUNDING_NOISE,
    NoVerdictError,
    RegressionGate,
    RegressionResult,
    Threshold,
    floor,
    judge_gate,
)
from taskclf_dagster.domain.evaluation.baselines import BaselineScore
from taskclf_dagster.domain.evaluation.metrics import EvaluationReport
from taskclf_dagster.domain.models.reproducibility import Reproduction

CANDIDATE_GATES = (
    "loads_and_predicts",
    "macro_f1",
    "weighted_f1",
    "breakidle_precision",
    "breakidle_recall",
    "no_class_below_50_precision",
    "reject_rate_bounds",
    "seen_user_f1",
    "unseen_user_f1",
    "beats_rule_baseline",
    "beats_lookup_baseline",
    "reproducible",
)


MIN_RULE_WINDOWS = 30
"""Fewer windows than this on which the rule baseline commits are too few to compare on (design, section 5)."""


def check_candidate_gates(
    report: EvaluationReport | None,
    *,
    failure: str | None,
    rule: BaselineScore | None,
    lookup: BaselineScore | None,
    reproduction: Reproduction | None,
    config: RetrainConfig,
) -> RegressionResult:
    """Judges a challenger on its own.

    Args:
        report: its figures on the test split; None where it could not be scored.
        failure: why it could not be loaded or does not predict probabilities; None where it does.
        rule: the challenger beside the rule baseline.
        lookup: the challenger beside the lookup baseline.
        reproduction: what training again gave; None where it was not tried.
        config: thresholds, and whether baselines must be beaten.
    """
    gates, high = config.evaluation.gates, "higher is better"
    judges: dict[str, tuple[str, Callable[[], tuple[float, bool, str]]]] = {
        "loads_and_predicts": ("share of windows with a valid prediction", lambda: _loads(failure)),
        "macro_f1": (f"F1, {high}", lambda: floor(_required(report).macro_f1, gates.min_macro_f1)),
        "weighted_f1": (f"F1, {high}", lambda: floor(_required(report).weighted_f1, gates.min_weighted_f1)),
        "breakidle_precision": (f"precision, {high}", lambda: _break_idle(_required(report), "precision", gates.min_breakidle_precision)),
        "breakidle_recall": (f"recall, {high}", lambda: _break_idle(_required(report), "recall", gates.min_breakidle_recall)),
        "no_class_below_50_precision": (
            f"lowest precision of a judged label, {high}",
            lambda: _lowest_precision(_required(report), gates.min_class_precision),
        ),
        "reject_rate_bounds": (
            "share of windows rejected",
            lambda: _within(_required(report).reject_rate, gates.min_reject_rate, gates.max_reject_rate),
        ),
        "seen_user_f1": (f"F1, {high}", lambda: _users(report, "seen", gates.min_seen_user_f1)),
        "unseen_user_f1": (f"F1, {high}", lambda: _users(report, "unseen", gates.min_unseen_user_f1)),
        "beats_rule_baseline": (
            f"F1 on the windows the rules name, {high}",
            lambda: _beats(rule, required=config.evaluation.require_baseline_improvement, fewest=MIN_RULE_WINDOWS),
        ),
        "beats_lookup_baseline": (f"F1, {high}", lambda: _beats(lookup, required=config.evaluation.require_baseline_improvement, fewest=1)),
        "reproducible": ("1: training again gives the same model", lambda: _reproducible(reproduction)),
    }
    baselines = {"beats_rule_baseline": rule, "beats_lookup_baseline": lookup}

    def judge(name: str) -> RegressionGate:
        unit, verdict = judges[name]
        bound = (lambda: _baseline(baselines[name])) if name in baselines else configured_threshold(name, config)
        return judge_gate(name, "candidate", unit, bound, verdict)

    return RegressionResult(gates=[judge(name) for name in CANDIDATE_GATES])


def configured_threshold(name: str, config: RetrainConfig) -> Threshold:
    """The threshold that the settings give a gate; None for the baselines, whose own figure is the threshold."""
    gates = config.evaluation.gates
    thresholds: dict[str, Threshold] = {
        "loads_and_predicts": 1.0,
        "macro_f1": gates.min_macro_f1,
        "weighted_f1": gates.min_weighted_f1,
        "breakidle_precision": gates.min_breakidle_precision,
        "breakidle_recall": gates.min_breakidle_recall,
        "no_class_below_50_precision": gates.min_class_precision,
        "reject_rate_bounds": (gates.min_reject_rate, gates.max_reject_rate),
        "seen_user_f1": gates.min_seen_user_f1,
        "unseen_user_f1": gates.min_unseen_user_f1,
        "reproducible": 1.0,
    }
    return thresholds.get(name)


def find_contradictions(gates: Sequence[RegressionGate], config: RetrainConfig) -> list[str]:
    """Gates whose PASS or FAIL does not follow from their own numbers, or whose threshold is not the one in the settings."""
    findings = []
    for gate in gates:
        if gate.status not in ("PASS", "FAIL"):
            continue
        expected = configured_threshold(gate.name, config)
        if gate.observed is None or gate.threshold is None:
            findings.append(f"gate {gate.name} is {gate.status} without a figure and a threshold")
        elif expected is not None and gate.threshold != expected:
            findings.append(f"gate {gate.name} was judged against {gate.threshold}, the settings say {expected}")
        elif (gate.status == "PASS") != _passes(gate.name, gate.observed, gate.threshold):
            findings.append(f"gate {gate.name} is {gate.status}, which does not follow from {gate.observed} and {gate.threshold}")
    return findings


def _passes(name: str, observed: float, threshold: float | tuple[float, float]) -> bool:
    if isinstance(threshold, tuple):
        return _within(observed, *threshold)[1]
    return observed > threshold if name.startswith("beats_") else floor(observed, threshold)[1]


def _required(report: EvaluationReport | None) -> EvaluationReport:
    if report is None:
        raise NoVerdictError("INCONCLUSIVE", "the challenger could not be scored")
    return report


def _loads(failure: str | None) -> tuple[float, bool, str]:
    if failure is not None:
        return 0.0, False, failure
    return 1.0, True, "the bundle loads from disk and predicts probabilities for every test window"


def _within(observed: float, low: float, high: float) -> tuple[float, bool, str]:
    passed = low - ROUNDING_NOISE <= observed <= high + ROUNDING_NOISE
    return observed, passed, f"{observed:.4f} {'in' if passed else 'outside'} [{low:g}, {high:g}]"


def _break_idle(report: EvaluationReport, figure: Literal["precision", "recall"], threshold: float) -> tuple[float, bool, str]:
    score = report.per_class[BREAK_IDLE]
    if not score.judged:
        raise NoVerdictError("INCONCLUSIVE", f"{BREAK_IDLE} must be judged, but has only {score.support} test windows")
    value = score.precision if figure == "precision" else score.recall
    if value is None:
        raise NoVerdictError("INCONCLUSIVE", f"{BREAK_IDLE} was never predicted, so its precision is undefined")
    return floor(value, threshold)


def _lowest_precision(report: EvaluationReport, threshold: float) -> tuple[float, bool, str]:
    judged = {label: score.precision for label, score in report.per_class.items() if score.judged}
    defined = {label: precision for label, precision in judged.items() if precision is not None}
    undefined = sorted(set(judged) - set(defined))
    if defined:
        label = min(defined, key=lambda name: (not math.isnan(defined[name]), defined[name]))  # NaN first, so that it is seen
        observed, passed, detail = floor(defined[label], threshold)
        if not passed or not undefined:
            return observed, passed, f"{label}: {detail}"
    if undefined:
        raise NoVerdictError("INCONCLUSIVE", f"{', '.join(undefined)} never predicted, so the precision is undefined")
    raise NoVerdictError("INCONCLUSIVE", "no label has enough test windows to be judged")


def _users(report: EvaluationReport | None, which: Literal["seen", "unseen"], threshold: float) -> tuple[float, bool, str]:
    users = [user.unseen for user in _required(report).per_user.values()]
    if not any(users):
        raise NoVerdictError("NOT_APPLICABLE", "no users are held out")
    return floor(_required(report).seen_user_f1 if which == "seen" else _required(report).unseen_user_f1, threshold)


def _reproducible(reproduction: Reproduction | None) -> tuple[float, bool, str]:
    if reproduction is None:
        raise NoVerdictError("NOT_APPLICABLE", "it was not trained again: prove_reproducible is off, or auto and there are many windows")
    return float(reproduction.same), reproduction.same, reproduction.detail


def _baseline(score: BaselineScore | None) -> float | None:
    """The baseline's own figure as the threshold to beat, where it is a number."""
    return score.baseline if score is not None and score.baseline is not None and math.isfinite(score.baseline) else None


def _beats(score: BaselineScore | None, *, required: bool, fewest: int) -> tuple[float, bool, str]:
    if not required:
        raise NoVerdictError("NOT_APPLICABLE", "require_baseline_improvement is off")
    if score is None:
        raise NoVerdictError("INCONCLUSIVE", "the challenger could not be scored")
    if score.windows < fewest or score.model is None or score.baseline is None:
        reason = f"the baseline names a judged label on {score.windows} windows only, and {fewest} are needed"
        raise NoVerdictError("NOT_APPLICABLE" if score.windows < fewest else "INCONCLUSIVE", reason)
    if not math.isfinite(score.baseline):
        msg = f"the baseline's figure is {score.baseline}"
        raise ValueError(msg)
    passed = score.model > score.baseline
    words = f"{score.model:.4f} {'>' if passed else '<='} {score.baseline:.4f} of the baseline ({score.windows} windows)"
    return score.model, passed, words
