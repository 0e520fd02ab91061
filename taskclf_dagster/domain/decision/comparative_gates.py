"""The comparative gates: each compares the challenger with the champion, an anchor model, or a model that was rolled back.

Metrics come from `evaluation.comparison` and `evaluation.significance`. The candidate gates are in `decision.candidate_gates`; the verdict
that follows from all gates is in `decision.verdict`.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from taskclf_dagster.config.settings import ComparisonSettings
from taskclf_dagster.domain.decision.gate import (
    ROUNDING_NOISE,
    GateRule,
    Judged,
    NoVerdictError,
    RegressionGate,
    RegressionResult,
    floor,
    judge_gate,
)
from taskclf_dagster.domain.decision.references import ChampionState
from taskclf_dagster.domain.evaluation.comparison import AnchorComparison, Comparison
from taskclf_dagster.domain.evaluation.significance import GroupSignificance
from taskclf_dagster.domain.evaluation.slice_significance import assess_slices, find_clearly_worse
from taskclf_dagster.shown_text import counted, rounded_pair

SLICE_GATE = "no_slice_clearly_worse"
"""The gate that `slice_gate` switches on; while it is off, the same judgement is a warning."""


COMPARATIVE_GATES = (
    "macro_f1_no_regression",
    "min_improvement",
    "not_worse_than_anchor",
    "no_user_clearly_worse",
    "no_class_clearly_worse",
    SLICE_GATE,
    "negative_flips",
    "not_rolled_back",
)


ABOUT_REGISTRY = ("not_worse_than_anchor", "not_rolled_back")
"""Those that are about the registry, not about two models."""


REPAIR_HISTORY = "`taskclf-dagster registry repair` notes the damage, then retrain with force"
"""The way out while the history is damaged."""


LOWER_END = "lower end of the interval of challenger minus champion in macro-F1, higher is better"
"""The unit of the regression gate if the evidence policy judges the interval, which must lie above the bound."""


def check_regression_gates(
    comparison: Comparison | None,
    *,
    champion_state: ChampionState,
    champion_reason: str,
    anchors: Sequence[AnchorComparison],
    rolled_back_as: str | None,
    history_damaged: bool,
    bootstrap: bool,
    settings: ComparisonSettings,
    more_windows: str = "",
    bootstrap_helps: bool = True,
) -> RegressionResult:
    """Judges a challenger compared with the champion on identical windows.

    Args:
        comparison: both on the same windows; None if there is no champion, or one of the two could not be evaluated.
        champion_state: none lets the absolute gates alone decide; unreadable or incompatible never lets a challenger through.
        champion_reason: why it is in this state.
        anchors: the challenger compared with each anchor model.
        rolled_back_as: id of the blocked model with the same trees.
        history_damaged: True if anchors and blocked models may be unknown.
        bootstrap: lets the absolute gates alone decide if the champion cannot be compared with.
        settings: thresholds and policy of the comparison.
        more_windows: what would give the comparison enough windows, for the reason; no verdict depends on it.
        bootstrap_helps: False if the candidate gates do not pass either, so that the reason does not offer bootstrap.
    """

    def compared() -> Comparison:
        if champion_state == "none":
            raise NoVerdictError("NOT_APPLICABLE", "there is no champion: the absolute gates alone decide")
        missing = _find_what_is_missing(comparison, champion_state, champion_reason, settings, more_windows)
        if missing is None and comparison is not None:
            return comparison
        if bootstrap:
            raise NoVerdictError("NOT_APPLICABLE", f"bootstrap was given: {missing}", overridden=True)
        override = ", or give bootstrap: the absolute gates alone decide then" if bootstrap_helps else ""
        raise NoVerdictError("INCONCLUSIVE", f"{missing}{override}")

    rules = [
        *_list_difference_rules(compared, settings),
        *_list_group_rules(compared, settings),
        GateRule(
            "not_worse_than_anchor",
            "macro-F1 of the challenger minus that of the best anchor, higher is better",
            0.0 - settings.allowed_below_anchor,
            partial(_unless_unknown, history_damaged, partial(_anchor, anchors, settings)),
        ),
        GateRule(
            "not_rolled_back",
            "1: not a model that a rollback left",
            1.0,
            partial(_unless_unknown, history_damaged, partial(_not_rolled_back, rolled_back_as)),
        ),
    ]
    by_name = {rule.name: rule for rule in rules}
    return RegressionResult(gates=[judge_gate(by_name[name], "comparative") for name in COMPARATIVE_GATES])


def check_pair(comparison: Comparison, settings: ComparisonSettings) -> RegressionResult:
    """Judges any two models by the gates that are not about the registry, in the order of COMPARATIVE_GATES; the first as challenger."""
    judged = check_regression_gates(
        comparison,
        champion_state="ok",
        champion_reason="",
        anchors=[],
        rolled_back_as=None,
        history_damaged=False,
        bootstrap=False,
        settings=settings,
    )
    return RegressionResult(gates=[gate for gate in judged.gates if gate.name not in ABOUT_REGISTRY])


def _list_difference_rules(compared: Callable[[], Comparison], settings: ComparisonSettings) -> list[GateRule]:
    """Returns the gates on all windows of the comparison."""
    unit = "macro-F1 of the challenger minus that of the champion, higher is better"
    judged_unit, bound = unit if settings.evidence_policy == "point" else LOWER_END, regression_bound(settings)
    return [
        GateRule("macro_f1_no_regression", judged_unit, bound, lambda: _no_regression(compared(), settings)),
        GateRule("min_improvement", unit, settings.min_improvement, lambda: _improvement(compared, settings)),
        GateRule(
            "negative_flips",
            "share of windows that the champion has right and the challenger wrong, lower is better",
            lambda: _flip_bound(compared(), settings),
            lambda: _flips(compared(), settings),
        ),
    ]


def _list_group_rules(compared: Callable[[], Comparison], settings: ComparisonSettings) -> list[GateRule]:
    """Returns the gates on single users and labels."""
    unit = "lowest Holm-adjusted p-value of no decline beyond clearly_worse_margin; a decline is shown below the threshold"
    bound = settings.significance
    return [
        GateRule("no_user_clearly_worse", unit, bound, lambda: _groups(compared().evidence.by_user, "user", settings)),
        GateRule("no_class_clearly_worse", unit, bound, lambda: _groups(compared().evidence.by_label, "label", settings)),
        GateRule(SLICE_GATE, unit, bound, lambda: _slices(compared, settings)),
    ]


def _find_what_is_missing(
    comparison: Comparison | None, state: ChampionState, reason: str, settings: ComparisonSettings, more_windows: str
) -> str | None:
    """Returns why challenger and champion cannot be compared, with what would change that; None if they can."""
    if state != "ok":
        return f"the champion is {state} ({reason}) and no model of the history loads; restore it and launch with force"
    if comparison is None:
        return "challenger or champion could not be scored"
    if comparison.windows < settings.min_windows:
        return _describe_few_windows(comparison, settings, more_windows)
    if comparison.macro_f1_delta is None:
        lost = f"{comparison.left_out + comparison.exclusion.excluded} left out"
        return f"no label has enough of the {comparison.windows} windows that both models scored ({lost})"
    return None


def _describe_few_windows(comparison: Comparison, settings: ComparisonSettings, more_windows: str) -> str:
    """Returns how many windows lack and what gives them, and the gates that fail on those that there are."""
    until = max(report.trained_until for report in comparison.exclusion.leakage)
    lacking = counted(settings.min_windows - comparison.windows, "more test window")
    few = f"only {counted(comparison.windows, 'window')} left to compare on, and min_windows is {settings.min_windows}"
    failing = _list_failing(comparison, settings)
    so_far = f" (on those that are left, {', '.join(failing)} would fail)" if failing else ""
    ways = more_windows or "label more minutes, of which about every seventh becomes a test window"
    return f"{few}{so_far}: {lacking}, newer than {until:%Y-%m-%d %H:%M} UTC, would be enough; {ways}"


def _list_failing(comparison: Comparison, settings: ComparisonSettings) -> list[str]:
    """Returns the names of the gates that fail on the windows of a comparison, however few they are."""
    if comparison.macro_f1_delta is None:
        return []
    rules = [*_list_difference_rules(lambda: comparison, settings), *_list_group_rules(lambda: comparison, settings)]
    return [rule.name for rule in rules if judge_gate(rule, "comparative").status == "FAIL"]


def is_strict(gate: RegressionGate) -> bool:
    """Returns True if the figure must exceed the threshold of the gate; False if it may equal it."""
    return gate.name.startswith("beats_") or gate.unit == LOWER_END


def regression_bound(settings: ComparisonSettings) -> float:
    """Returns the bound of the regression gate for the difference, or for the lower end of its interval."""
    return 0.0 if settings.evidence_policy == "superior" else 0.0 - settings.regression_tolerance


def _no_regression(comparison: Comparison, settings: ComparisonSettings) -> Judged:
    """Judges the difference itself under the policy `point`, the lower end of its interval under `hold` and `superior`."""
    delta, evidence = comparison.evidence.difference, comparison.evidence
    if delta is None:
        raise NoVerdictError("INCONCLUSIVE", "no label is judged")
    bound = regression_bound(settings)
    if settings.evidence_policy == "point":
        return floor(delta, bound)
    if evidence.interval is None or evidence.user_days < settings.min_user_days:
        needed = f"{evidence.user_days} labelled user-days are compared, and min_user_days is {settings.min_user_days}"
        raise NoVerdictError("INCONCLUSIVE", f"{needed}: label on more days")
    low, high = evidence.interval
    shown = f"{delta:+.4f}, {evidence.confidence:.0%} interval {low:+.4f} to {high:+.4f}"
    if low > bound:
        return Judged(low, True, f"{shown}: all above {bound:g}")
    if high <= bound:
        return Judged(low, False, f"{shown}: all at or below {bound:g}")
    more = "" if evidence.user_days_needed is None else f"; about {evidence.user_days_needed} user-days would show 0.05"
    raise NoVerdictError("INCONCLUSIVE", f"{shown} reaches both sides of {bound:g}{more}")


def _improvement(compared: Callable[[], Comparison], settings: ComparisonSettings) -> Judged:
    if settings.min_improvement == 0:
        raise NoVerdictError("NOT_APPLICABLE", "min_improvement is 0: nothing beyond no regression is asked for")
    return floor(compared().macro_f1_delta, settings.min_improvement)


def _anchor(anchors: Sequence[AnchorComparison], settings: ComparisonSettings) -> Judged:
    differences = {anchor.model_id: anchor.difference for anchor in anchors if anchor.difference is not None}
    if not differences:
        found = f"none of {counted(len(anchors), 'model')} that ran lately can be compared with" if anchors else "no model ran lately"
        raise NoVerdictError("NOT_APPLICABLE", found)
    worst = min(differences, key=lambda name: (math.isfinite(differences[name]), differences[name]))  # no number first: an ERROR
    judged = floor(differences[worst], 0.0 - settings.allowed_below_anchor)
    return judged._replace(detail=f"beside {worst}: {judged.detail}")


def _unless_unknown(history_damaged: bool, judge: Callable[[], Judged]) -> Judged:
    """Judges beside the models of the history; if it is damaged, a model may be missing there, so that only a failure counts."""
    if not history_damaged:
        return judge()
    with suppress(NoVerdictError):
        judged = judge()
        if not judged.passed:
            return judged
    raise NoVerdictError("INCONCLUSIVE", f"the history is damaged, so that a model that ran may be unknown; {REPAIR_HISTORY}")


def _groups(groups: Sequence[GroupSignificance], what: str, settings: ComparisonSettings, *, nothing_judged: str = "") -> Judged:
    judged = {group.name: group for group in groups if group.judged and group.adjusted_p is not None}
    if not judged:
        few = nothing_judged or f"no {what} has {counted(settings.min_user_days, 'labelled user-day')}"
        raise NoVerdictError("NOT_APPLICABLE", f"{few} among those compared")
    worst = min(judged.values(), key=lambda group: (math.isfinite(group.adjusted_p or 0.0), group.adjusted_p, group.difference or 0.0))
    found = floor(worst.adjusted_p, settings.significance)
    claim = f"a decline of more than {settings.clearly_worse_margin:g} is {'not shown' if found.passed else 'shown'}"
    p_value, level = rounded_pair(found.observed, settings.significance)
    would = " it would be" if found.passed else ""
    tested = f"Holm-adjusted p {p_value}, below {level}{would}; {counted(len(judged), what)} judged"
    return found._replace(detail=f"{worst.name} has changed by {worst.difference:+.4f}: {claim} ({tested})")


def judge_slices(comparison: Comparison, settings: ComparisonSettings) -> RegressionGate:
    """Judges the slices of a comparison as the gate does where `slice_gate` is true, however few windows there are: advice."""
    rules = _list_group_rules(lambda: comparison, settings.model_copy(update={"slice_gate": True}))
    return judge_gate(next(rule for rule in rules if rule.name == SLICE_GATE), "comparative")


def _slices(compared: Callable[[], Comparison], settings: ComparisonSettings) -> Judged:
    if not settings.slice_gate:
        raise NoVerdictError("NOT_APPLICABLE", "slice_gate is off: the slices are judged as advice only")
    sums = compared().slices
    if sums is None:
        raise NoVerdictError("INCONCLUSIVE", "the windows were not counted by slice, as in earlier versions; retrain")
    slices = assess_slices(sums, settings)
    few = f"no slice has {counted(settings.min_slice_windows, 'window')} on {counted(settings.min_user_days, 'user-day')}"
    judged = _groups(slices, "slice", settings, nothing_judged=few)
    worse = find_clearly_worse(slices, settings.significance)
    others = f"; clearly worse are {len(worse)}: {', '.join(each.name for each in worse[:5])}" if len(worse) > 1 else ""
    return judged._replace(detail=f"{judged.detail}{others}{', ...' if len(worse) > 5 else ''}")


def _flip_bound(comparison: Comparison, settings: ComparisonSettings) -> float:
    relative = comparison.flips.positive_share + settings.max_flip_excess
    return relative if settings.max_negative_flips is None else min(settings.max_negative_flips, relative)


def _flips(comparison: Comparison, settings: ComparisonSettings) -> Judged:
    negative, positive, bound = comparison.flips.negative_share, comparison.flips.positive_share, _flip_bound(comparison, settings)
    passed = negative <= bound + ROUNDING_NOISE
    digits = next((n for n in (2, 4, 6) if passed or f"{negative:.{n}%}" != f"{bound:.{n}%}"), 8)
    shown = f"{negative:.{digits}%} became wrong, {positive:.2%} became right"
    return Judged(negative, passed, f"{shown}; at most {bound:.{digits}%} may become wrong")


def _not_rolled_back(rolled_back_as: str | None) -> Judged:
    if rolled_back_as is None:
        return Judged(1.0, True, "no rollback left these trees")
    return Judged(
        0.0, False, f"the same trees were rolled back as {rolled_back_as}; `taskclf-dagster unblock {rolled_back_as}` allows them again"
    )
