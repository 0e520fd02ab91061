"""The comparative gates: each judges the challenger beside the champion, an anchor, or what was rolled back.

Figures come from `comparison` and `evidence`; the candidate gates and what a gate is are in `gates`; what follows from all gates together
is decided in `decision`.
"""

import math
from collections.abc import Callable, Sequence

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.decision.gate import ROUNDING_NOISE as NOISE
from taskclf_dagster.domain.decision.gate import NoVerdictError, RegressionResult, Threshold, floor, judge_gate
from taskclf_dagster.domain.evaluation.comparison import AnchorComparison, Comparison
from taskclf_dagster.domain.evaluation.significance import GroupSignificance

COMPARATIVE_GATES = (
    "macro_f1_no_regression",
    "min_improvement",
    "not_worse_than_anchor",
    "no_user_clearly_worse",
    "no_class_clearly_worse",
    "negative_flips",
    "not_rolled_back",
)


OVERRIDDEN = "bootstrap was given"
"""How the detail of a gate begins that a person overrode."""


_Verdict = tuple[float, bool, str]


def check_regression_gates(
    comparison: Comparison | None,
    *,
    champion_state: str,
    champion_reason: str,
    anchors: Sequence[AnchorComparison],
    rolled_back_as: str | None,
    bootstrap: bool,
    config: RetrainConfig,
) -> RegressionResult:
    """Judges a challenger beside the champion on identical windows.

    Args:
        comparison: both on the same windows; None where there is no champion, or one of the two could not be scored.
        champion_state: none lets the absolute gates alone decide; unreadable or incompatible never lets a challenger through.
        champion_reason: why it is in this state.
        anchors: the challenger beside models that ran lately.
        rolled_back_as: the model with the same trees that a rollback left and nobody unblocked.
        bootstrap: a person lets the absolute gates alone decide where the champion cannot be compared with.
        config: the policy.
    """

    def compared() -> Comparison:
        if champion_state == "none":
            raise NoVerdictError("NOT_APPLICABLE", "there is no champion: the absolute gates alone decide")
        missing = _find_what_is_missing(comparison, champion_state, champion_reason, config)
        if missing is None and comparison is not None:
            return comparison
        if bootstrap:
            raise NoVerdictError("NOT_APPLICABLE", f"{OVERRIDDEN}: {missing}")
        raise NoVerdictError("INCONCLUSIVE", f"{missing}, or give bootstrap: the absolute gates alone decide then")

    delta_unit = "macro-F1 of the challenger minus that of the champion, higher is better"
    p_unit = "lowest Holm-adjusted p-value of being worse by more than clearly_worse_margin, higher is better"
    judges: dict[str, tuple[str, Threshold | Callable[[], Threshold], Callable[[], _Verdict]]] = {
        "macro_f1_no_regression": (delta_unit, regression_bound(config), lambda: _no_regression(compared(), config)),
        "min_improvement": (delta_unit, config.comparison.min_improvement, lambda: _improvement(compared, config)),
        "not_worse_than_anchor": (
            "macro-F1 of the challenger minus that of the best anchor, higher is better",
            0.0 - config.comparison.allowed_below_anchor,
            lambda: _anchor(anchors, config),
        ),
        "no_user_clearly_worse": (p_unit, config.comparison.significance, lambda: _groups(compared().evidence.by_user, "user", config)),
        "no_class_clearly_worse": (p_unit, config.comparison.significance, lambda: _groups(compared().evidence.by_label, "label", config)),
        "negative_flips": (
            "share of windows that the champion has right and the challenger wrong, lower is better",
            lambda: _flip_bound(compared(), config),
            lambda: _flips(compared(), config),
        ),
        "not_rolled_back": ("1: not a model that a rollback left", 1.0, lambda: _not_rolled_back(rolled_back_as)),
    }
    return RegressionResult(gates=[judge_gate(name, "comparative", *judges[name]) for name in COMPARATIVE_GATES])


def _find_what_is_missing(comparison: Comparison | None, state: str, reason: str, config: RetrainConfig) -> str | None:
    """Why challenger and champion cannot be compared, with what would change that, or None."""
    if state != "ok":
        return f"the champion is {state} ({reason}) and no model of the history loads; restore it and launch with force"
    if comparison is None:
        return "challenger or champion could not be scored"
    if comparison.windows < config.comparison.min_windows:
        until = max(certificate.trained_until for certificate in comparison.exclusion.certificates)
        lacking = config.comparison.min_windows - comparison.windows
        newer = f"about {lacking} labelled test windows newer than {until:%Y-%m-%d %H:%M} UTC are needed"
        return f"only {comparison.windows} windows are left to compare on, and min_windows is {config.comparison.min_windows}: {newer}"
    if comparison.macro_f1_delta is None:
        lost = f"{comparison.left_out + comparison.exclusion.excluded} left out"
        return f"no label has enough of the {comparison.windows} windows that both models scored ({lost})"
    return None


def regression_bound(config: RetrainConfig) -> float:
    """What the regression gate compares the difference, or the lower end of its interval, with."""
    return 0.0 if config.comparison.evidence_policy == "superior" else 0.0 - config.comparison.regression_tolerance


def _no_regression(comparison: Comparison, config: RetrainConfig) -> _Verdict:
    """By policy: `point` judges the difference itself, `hold` and `superior` the lower end of its interval."""
    delta, evidence = comparison.evidence.difference, comparison.evidence
    if delta is None:
        raise NoVerdictError("INCONCLUSIVE", "no label is judged")
    bound = regression_bound(config)
    if config.comparison.evidence_policy == "point":
        return floor(delta, bound)
    if evidence.interval is None or evidence.user_days < config.comparison.min_user_days:
        needed = f"{evidence.user_days} labelled user-days are compared, and min_user_days is {config.comparison.min_user_days}"
        raise NoVerdictError("INCONCLUSIVE", f"{needed}: label on more days")
    low, high = evidence.interval
    words = f"{delta:+.4f}, {evidence.confidence:.0%} interval {low:+.4f} to {high:+.4f}"
    if low > bound:
        return low, True, f"{words}: all above {bound:g}"
    if high <= bound:
        return low, False, f"{words}: all at or below {bound:g}"
    more = "" if evidence.user_days_needed is None else f"; about {evidence.user_days_needed} user-days would show 0.05"
    raise NoVerdictError("INCONCLUSIVE", f"{words} reaches both sides of {bound:g}{more}")


def _improvement(compared: Callable[[], Comparison], config: RetrainConfig) -> _Verdict:
    if config.comparison.min_improvement == 0:
        raise NoVerdictError("NOT_APPLICABLE", "min_improvement is 0: nothing beyond no regression is asked for")
    return floor(compared().macro_f1_delta, config.comparison.min_improvement)


def _anchor(anchors: Sequence[AnchorComparison], config: RetrainConfig) -> _Verdict:
    differences = {anchor.model_id: anchor.difference for anchor in anchors if anchor.difference is not None}
    if not differences:
        found = f"none of the {len(anchors)} models that ran lately can be compared with" if anchors else "no model ran lately"
        raise NoVerdictError("NOT_APPLICABLE", found)
    worst = min(differences, key=lambda name: (math.isfinite(differences[name]), differences[name]))  # no number first: an ERROR
    observed, passed, detail = floor(differences[worst], 0.0 - config.comparison.allowed_below_anchor)
    return observed, passed, f"beside {worst}: {detail}"


def _groups(groups: Sequence[GroupSignificance], what: str, config: RetrainConfig) -> _Verdict:
    judged = {group.name: group for group in groups if group.judged and group.adjusted_p is not None}
    if not judged:
        raise NoVerdictError("NOT_APPLICABLE", f"no {what} has {config.comparison.min_user_days} labelled user-days among those compared")
    worst = min(judged.values(), key=lambda group: (math.isfinite(group.adjusted_p or 0.0), group.adjusted_p, group.difference or 0.0))
    observed, passed, _ = floor(worst.adjusted_p, config.comparison.significance)
    words = (
        f"{worst.name}: {worst.difference:+.4f}, p {observed:.3f} of being worse by more than {config.comparison.clearly_worse_margin:g}"
    )
    return observed, passed, f"{words} ({len(judged)} judged)"


def _flip_bound(comparison: Comparison, config: RetrainConfig) -> float:
    return min(config.comparison.max_negative_flips, comparison.flips.positive_share + config.comparison.max_flip_excess)


def _flips(comparison: Comparison, config: RetrainConfig) -> _Verdict:
    negative, positive, limits = comparison.flips.negative_share, comparison.flips.positive_share, config.comparison
    passed = negative <= _flip_bound(comparison, config) + NOISE
    words = f"{negative:.2%} became wrong, {positive:.2%} became right"
    return (
        negative,
        passed,
        f"{words}; allowed are {limits.max_negative_flips:.0%}, and {limits.max_flip_excess:.0%} more than became right",
    )


def _not_rolled_back(rolled_back_as: str | None) -> _Verdict:
    if rolled_back_as is None:
        return 1.0, True, "no rollback left these trees"
    return 0.0, False, f"the same trees were rolled back as {rolled_back_as}; `taskclf-dagster unblock {rolled_back_as}` allows them again"
