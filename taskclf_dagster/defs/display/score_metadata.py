"""Metadata and checks of scored_windows. Dagster concepts: metadata, asset check results.

The figures come from `domain.evaluation.window_scores`; numbers are rounded for display only.
"""

from collections.abc import Callable, Sequence

import dagster as dg

from taskclf_dagster.config.settings import AdviceThresholds, RetrainConfig
from taskclf_dagster.defs.display.metadata import Cell, plotted, table
from taskclf_dagster.domain.evaluation.window_scores import LONG_SECONDS, SHORT_SECONDS
from taskclf_dagster.domain.monitoring.day_scores import DayScores
from taskclf_dagster.domain.monitoring.scored_days import ScoredDays
from taskclf_dagster.shown_text import counted, show_relation

SCORE_CHECKS: dict[str, str] = {
    "every_window_is_scored": "Every window of the days has a score in the file, read back.",
    "probabilities_sum_to_one": "The eight probabilities of every window are finite and sum to one.",
    "one_model_per_partition": "The scores of a day are those of one model.",
    "reject_rate_within_bounds": "Advice: the share of rejected windows of each day is within the bounds of the gate.",
    "flap_rate": "Advice: labels change rarely from one window to the next of a session, raw and smoothed.",
    "blocks_are_long_enough": f"Advice: most blocks of equal labels last at least {LONG_SECONDS} s, and few less than {SHORT_SECONDS} s.",
}


def scores_metadata(record: ScoredDays) -> dict[str, object]:
    """Returns the model and one row for each day."""
    rows: list[dict[str, Cell]] = [
        {
            "day": day.day.isoformat(),
            "outcome": day.outcome.replace("_", " "),
            "windows": day.windows,
            "rejected": "-" if day.quality is None or day.quality.reject_rate is None else f"{day.quality.reject_rate:.1%}",
            "most": _most_frequent(day),
            "model": ", ".join(day.model_ids),
            "served": ", ".join(f"{model}: {n}" for model, n in sorted(day.served.items())),
        }
        for day in record.days
    ]
    last = record.days[-1].quality if record.days else None
    return {
        "home": record.home,
        "model_id": record.model_id,
        "days": table(rows),
        "bundle_hash": record.bundle_hash,
        "pointer_sequence": "none" if record.pointer_sequence is None else record.pointer_sequence,
        "policy_hash": record.policy_hash or "none",
        "reject_threshold": record.reject_threshold,
        "serving": "\n".join(f"{each.model_id} {each.sentence}" for each in record.serving) or "none",
        "warnings": "\n".join(record.warnings) or "none",
        **plotted(
            windows=sum(day.windows for day in record.days),
            reject_rate=None if last is None else last.reject_rate,
            flap_rate=None if last is None else last.flap_rate,
        ),
    }


def score_checks(record: ScoredDays, settings: RetrainConfig) -> list[dg.AssetCheckResult]:
    """Returns the checks over all days of a run; each names the days that fail."""
    gates, advice = settings.evaluation.gates, settings.evaluation.advice
    return [
        _check("every_window_is_scored", record.days, _find_missing),
        _check("probabilities_sum_to_one", record.days, _find_bad_probabilities),
        _check("one_model_per_partition", record.days, lambda day: ", ".join(day.model_ids) if len(day.model_ids) > 1 else ""),
        _check(
            "reject_rate_within_bounds",
            record.days,
            lambda day: _find_reject_rate(day, gates.min_reject_rate, gates.max_reject_rate),
            advises=True,
        ),
        _check("flap_rate", record.days, lambda day: _find_flaps(day, advice.max_flap_rate, advice.max_flap_rate_smoothed), advises=True),
        _check("blocks_are_long_enough", record.days, lambda day: _find_short_blocks(day, advice), advises=True),
    ]


def _check(name: str, days: Sequence[DayScores], find: Callable[[DayScores], str], *, advises: bool = False) -> dg.AssetCheckResult:
    problems = [f"{day.day}: {problem}" for day in days if (problem := find(day))]
    return dg.AssetCheckResult(
        passed=not problems,
        check_name=name,
        severity=dg.AssetCheckSeverity.WARN if advises else dg.AssetCheckSeverity.ERROR,
        description="\n".join(problems[:20]) or f"{counted(len(days), 'day')}, {counted(sum(day.windows for day in days), 'window')}",
        metadata={"days": len(days), "problems": len(problems)},
    )


def _find_missing(day: DayScores) -> str:
    return day.reason or (f"{day.missing} of {day.windows} have no score" if day.missing else "")


def _find_bad_probabilities(day: DayScores) -> str:
    bad = 0 if day.quality is None else day.quality.bad_probabilities
    return f"those of {counted(bad, 'window')} are not finite or do not sum to 1" if bad else ""


def _find_reject_rate(day: DayScores, lowest: float, highest: float) -> str:
    rate = None if day.quality is None else day.quality.reject_rate
    if rate is None or lowest <= rate <= highest:
        return ""
    return show_relation(rate, "<", lowest) if rate < lowest else show_relation(rate, ">", highest)


def _find_flaps(day: DayScores, highest: float, highest_smoothed: float) -> str:
    if day.quality is None:
        return ""
    rates = {"raw": (day.quality.flap_rate, highest), "smoothed": (day.quality.flap_rate_smoothed, highest_smoothed)}
    return ", ".join(f"{name} {show_relation(rate, '>', bound)}" for name, (rate, bound) in rates.items() if rate > bound)


def _find_short_blocks(day: DayScores, advice: AdviceThresholds) -> str:
    if day.quality is None or day.quality.long_blocks is None or day.quality.short_blocks is None:
        return ""
    long, short, problems = day.quality.long_blocks, day.quality.short_blocks, []
    if long < advice.min_long_blocks:
        problems.append(
            f"share of {day.quality.blocks} blocks of {LONG_SECONDS} s or more: {show_relation(long, '<', advice.min_long_blocks)}"
        )
    if short > advice.max_short_blocks:
        problems.append(f"share of those of less than {SHORT_SECONDS} s: {show_relation(short, '>', advice.max_short_blocks)}")
    return ", ".join(problems)


def _most_frequent(day: DayScores) -> str:
    """Returns the most frequent smoothed label with its share: `Build 41 %`."""
    if day.quality is None or not day.quality.label_counts:
        return "-"
    label, count = max(day.quality.label_counts.items(), key=lambda item: item[1])
    return f"{label} {count / day.quality.windows:.0%}"
