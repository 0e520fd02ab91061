"""Figures of a replay as texts, for the table of the command line, the report and the page of the asset."""

from taskclf_dagster.domain.backtest.replay_record import Interval, PolicyFigures, Replay
from taskclf_dagster.shown_text import counted

ASSUMED = (
    "A label counts as known from the end of its span, because the label store does not say when it was given.",
    "Labels are looked for once on each day that has any, after its last one, as if people labeled day by day.",
    "Every policy begins without a model. A person's approval is taken as given at once.",
    "Windows count from an hour after the model that predicts them was made; a rejected window counts as wrong.",
)
"""The assumptions of every replay, one sentence each."""


COLUMNS = ("policy", "macro-F1", "against", "rejected", "promotions", "bad", "stale days", "no model", "retrains", "CPU s")


def list_cells(policy: PolicyFigures) -> list[str]:
    """Returns the cells of one policy in the order of COLUMNS."""
    return [
        policy.name,
        say_score(policy.macro_f1, policy.interval),
        say_difference(policy.difference, policy.difference_interval),
        "-" if policy.reject_rate is None else f"{policy.reject_rate:.1%}",
        str(len(policy.promotions)),
        str(policy.bad_promotions),
        str(policy.stale_days),
        str(policy.days_without_model),
        str(policy.fits),
        f"{policy.cpu_seconds:.0f}",
    ]


def say_score(value: float | None, interval: Interval) -> str:
    """Returns a score with its interval."""
    if value is None:
        return "-"
    return f"{value:.3f}" + ("" if interval is None else f" ({interval[0]:.3f} to {interval[1]:.3f})")


def say_difference(value: float | None, interval: Interval) -> str:
    """Returns a difference with its interval."""
    if value is None:
        return "-"
    return f"{value:+.3f}" + ("" if interval is None else f" ({interval[0]:+.3f} to {interval[1]:+.3f})")


def say_range(replay: Replay) -> str:
    """Returns what was replayed in one sentence."""
    labels = f"{counted(replay.labeled_windows, 'labeled window')} on {counted(replay.user_days, 'user-day')}"
    judged = f"macro-F1 over {counted(len(replay.judged_labels), 'label')}"
    return f"{replay.first:%Y-%m-%d} to {replay.last:%Y-%m-%d}, {labels}; {judged}, intervals of {replay.confidence:.0%} over user-days."


def say_result(replay: Replay) -> str:
    """Returns which policies were clearly better or worse than the reference, in one or two sentences."""
    better = [each.name for each in replay.policies if each.difference_interval is not None and each.difference_interval[0] > 0]
    worse = [each.name for each in replay.policies if each.difference_interval is not None and each.difference_interval[1] < 0]
    said = [f"Clearly better than {replay.reference}: {', '.join(better)}."] if better else []
    said += [f"Clearly worse: {', '.join(worse)}."] if worse else []
    return " ".join(said) or f"No policy was clearly better or worse than {replay.reference}."
