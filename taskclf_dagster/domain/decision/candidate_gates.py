"""The candidate gates: each judges one metric of the challenger alone.

Thresholds come from the settings, metrics from `evaluation` and `models.reproducibility`. Gates on a comparison are in
`decision.comparative_gates`; the verdict that follows from all gates is in `decision.verdict`.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

from taskclf_dagster.config.settings import EvaluationSettings, GateThresholds
from taskclf_dagster.domain.data.feature_schema import BREAK_IDLE
from taskclf_dagster.domain.decision.gate import (
    ROUNDING_NOISE,
    GateRule,
    Judged,
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
from taskclf_dagster.errors import DecisionFinding
from taskclf_dagster.shown_text import counted, rounded_pair, show_relation

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
"""With fewer windows for which the rule baseline names a judged label, the challenger is not compared with it (design, section 5)."""


def check_candidate_gates(
    report: EvaluationReport | None,
    *,
    failure: str | None,
    rule: BaselineScore | None,
    lookup: BaselineScore | None,
    reproduction: Reproduction | None,
    settings: EvaluationSettings,
) -> RegressionResult:
    """Judges a challenger on its own.

    Args:
        report: its metrics on the test windows; None if it could not be evaluated.
        failure: why it could not be loaded or does not predict probabilities; None if it does.
        rule: the challenger compared with the rule baseline.
        lookup: the challenger compared with the lookup baseline.
        reproduction: the result of training it again; None if that was not done.
        settings: thresholds, and whether baselines must be beaten.
    """
    rules = [
        *_list_report_rules(report, settings.gates),
        *_list_baseline_rules(rule, lookup, required=settings.require_baseline_improvement),
        GateRule("loads_and_predicts", "share of windows with a valid prediction", 1.0, partial(_loads, failure)),
        GateRule("reproducible", "1: training again gives the same model", 1.0, partial(_reproducible, reproduction)),
    ]
    by_name = {rule.name: rule for rule in rules}
    return RegressionResult(gates=[judge_gate(by_name[name], "candidate") for name in CANDIDATE_GATES])


def _list_report_rules(report: EvaluationReport | None, gates: GateThresholds) -> list[GateRule]:
    """Returns the gates that judge a metric of the report."""
    f1 = "F1, higher is better"
    return [
        GateRule("macro_f1", f1, gates.min_macro_f1, lambda: floor(_required(report).macro_f1, gates.min_macro_f1)),
        GateRule("weighted_f1", f1, gates.min_weighted_f1, lambda: floor(_required(report).weighted_f1, gates.min_weighted_f1)),
        GateRule(
            "breakidle_precision",
            "precision, higher is better",
            gates.min_breakidle_precision,
            lambda: _break_idle(_required(report), "precision", gates.min_breakidle_precision),
        ),
        GateRule(
            "breakidle_recall",
            "recall, higher is better",
            gates.min_breakidle_recall,
            lambda: _break_idle(_required(report), "recall", gates.min_breakidle_recall),
        ),
        GateRule(
            "no_class_below_50_precision",
            "lowest precision of a judged label, higher is better",
            gates.min_class_precision,
            lambda: _lowest_precision(_required(report), gates.min_class_precision),
        ),
        GateRule(
            "reject_rate_bounds",
            "share of windows rejected",
            (gates.min_reject_rate, gates.max_reject_rate),
            lambda: _within(_required(report).reject_rate, gates.min_reject_rate, gates.max_reject_rate),
        ),
        GateRule("seen_user_f1", f1, gates.min_seen_user_f1, lambda: _users(_required(report), "seen", gates.min_seen_user_f1)),
        GateRule("unseen_user_f1", f1, gates.min_unseen_user_f1, lambda: _users(_required(report), "unseen", gates.min_unseen_user_f1)),
    ]


def _list_baseline_rules(rule: BaselineScore | None, lookup: BaselineScore | None, *, required: bool) -> list[GateRule]:
    """Returns the gates whose threshold is the metric of a baseline."""
    unit = "F1, higher is better"
    rule_unit = "F1 on the windows the rules name, higher is better"
    beats_rule, beats_lookup = (
        partial(_beats, score, required=required, fewest=fewest) for score, fewest in ((rule, MIN_RULE_WINDOWS), (lookup, 1))
    )
    return [
        GateRule("beats_rule_baseline", rule_unit, partial(_baseline, rule), beats_rule),
        GateRule("beats_lookup_baseline", unit, partial(_baseline, lookup), beats_lookup),
    ]


def configured_threshold(name: str, settings: EvaluationSettings) -> Threshold:
    """Returns the threshold that the settings give a gate; None for the baselines, whose own metric is the threshold."""
    if name in ("loads_and_predicts", "reproducible"):
        return 1.0
    thresholds = {rule.name: rule.threshold for rule in _list_report_rules(None, settings.gates)}
    threshold = thresholds.get(name)
    return None if callable(threshold) else threshold


def find_contradictions(gates: Sequence[RegressionGate], settings: EvaluationSettings) -> list[DecisionFinding]:
    """Finds gates whose PASS or FAIL does not follow from their own numbers, or whose threshold is not that of the settings."""
    findings = []
    for gate in gates:
        if gate.status not in ("PASS", "FAIL"):
            continue
        expected = configured_threshold(gate.name, settings)
        if gate.observed is None or gate.threshold is None:
            findings.append(DecisionFinding("gate_without_numbers", f"gate {gate.name} is {gate.status} without a figure and a threshold"))
        elif expected is not None and gate.threshold != expected:
            then, now = rounded_pair(gate.threshold, expected)
            found = f"gate {gate.name} was judged against {then}, the settings say {now}"
            findings.append(DecisionFinding("gate_threshold_differs", found))
        elif (gate.status == "PASS") != passes_threshold(gate.name, gate.observed, gate.threshold):
            observed, threshold = rounded_pair(gate.observed, gate.threshold)
            found = f"gate {gate.name} is {gate.status}, which does not follow from {observed} and {threshold}"
            findings.append(DecisionFinding("gate_does_not_follow", found))
    return findings


def passes_threshold(name: str, observed: float, threshold: float | tuple[float, float]) -> bool:
    """Returns True if a figure passes the gate of this name: it reaches the bound, exceeds a baseline, or lies within the bounds."""
    if isinstance(threshold, tuple):
        return _within(observed, *threshold).passed
    return observed > threshold if name.startswith("beats_") else floor(observed, threshold).passed


def _required(report: EvaluationReport | None) -> EvaluationReport:
    if report is None:
        raise NoVerdictError("INCONCLUSIVE", "the challenger could not be scored")
    return report


def _loads(failure: str | None) -> Judged:
    if failure is not None:
        return Judged(0.0, False, failure)
    return Judged(1.0, True, "the bundle loads from disk and predicts probabilities for every test window")


def _within(observed: float, low: float, high: float) -> Judged:
    passed = low - ROUNDING_NOISE <= observed <= high + ROUNDING_NOISE
    if passed:
        return Judged(observed, True, f"{observed:.4f} in [{low:g}, {high:g}]")
    beyond = show_relation(observed, "<", low) if observed < low else show_relation(observed, ">", high)
    return Judged(observed, False, f"{beyond}, outside [{low:g}, {high:g}]")


def _break_idle(report: EvaluationReport, metric: Literal["precision", "recall"], threshold: float) -> Judged:
    score = report.per_class[BREAK_IDLE]
    if not score.judged:
        raise NoVerdictError("INCONCLUSIVE", f"{BREAK_IDLE} must be judged, but has only {score.support} test windows")
    value = score.precision if metric == "precision" else score.recall
    if value is None:
        raise NoVerdictError("INCONCLUSIVE", f"{BREAK_IDLE} was never predicted, so its precision is undefined")
    return floor(value, threshold)


def _lowest_precision(report: EvaluationReport, threshold: float) -> Judged:
    judged = {label: score.precision for label, score in report.per_class.items() if score.judged}
    defined = {label: precision for label, precision in judged.items() if precision is not None}
    undefined = sorted(set(judged) - set(defined))
    if defined:
        label = min(defined, key=lambda name: (not math.isnan(defined[name]), defined[name]))  # NaN first, so that it is seen
        judged_lowest = floor(defined[label], threshold)
        if not judged_lowest.passed or not undefined:
            return judged_lowest._replace(detail=f"{label}: {judged_lowest.detail}")
    if undefined:
        raise NoVerdictError("INCONCLUSIVE", f"{', '.join(undefined)} never predicted, so the precision is undefined")
    raise NoVerdictError("INCONCLUSIVE", "no label has enough test windows to be judged")


def _users(report: EvaluationReport, which: Literal["seen", "unseen"], threshold: float) -> Judged:
    if not any(user.unseen for user in report.per_user.values()):
        raise NoVerdictError("NOT_APPLICABLE", "no users are held out")
    return floor(report.seen_user_f1 if which == "seen" else report.unseen_user_f1, threshold)


def _reproducible(reproduction: Reproduction | None) -> Judged:
    if reproduction is None:
        raise NoVerdictError("NOT_APPLICABLE", "it was not trained again: prove_reproducible is off, or auto and there are many windows")
    if reproduction.obstacle is not None:
        raise NoVerdictError("NOT_APPLICABLE", f"it was not made again by its recipe: {reproduction.obstacle}")
    return Judged(float(reproduction.same), reproduction.same, reproduction.summary)


def _baseline(score: BaselineScore | None) -> float | None:
    """Returns the baseline's own metric, which is the threshold to exceed; None if it is no number."""
    return score.baseline if score is not None and score.baseline is not None and math.isfinite(score.baseline) else None


def _beats(score: BaselineScore | None, *, required: bool, fewest: int) -> Judged:
    if not required:
        raise NoVerdictError("NOT_APPLICABLE", "require_baseline_improvement is off")
    if score is None:
        raise NoVerdictError("INCONCLUSIVE", "the challenger could not be scored")
    if score.windows < fewest:
        reason = f"the baseline predicts a label for {counted(score.windows, 'window')} only, and at least {fewest} must be compared"
        raise NoVerdictError("NOT_APPLICABLE", reason)
    if score.model is None or score.baseline is None:
        named = counted(score.windows, "window")
        raise NoVerdictError("INCONCLUSIVE", f"none of the {named} for which the baseline predicts a label has a label that is judged")
    if not math.isfinite(score.baseline):
        msg = f"the baseline's figure is {score.baseline}"
        raise ValueError(msg)
    passed = score.model > score.baseline
    detail = show_relation(score.model, ">" if passed else "<=", score.baseline)
    return Judged(score.model, passed, f"{detail} of the baseline ({counted(score.windows, 'window')})")
