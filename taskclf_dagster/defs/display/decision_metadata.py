"""The evidence of a decision as Dagster metadata: what is sure, who gets worse, what flips, what changes. Dagster concept: metadata.

The figures come from `domain`; they are rounded for showing only.
"""

from collections.abc import Mapping, Sequence

import dagster as dg

from taskclf_dagster.defs.display.metadata import Cell, format_metric, gate_check, table
from taskclf_dagster.defs.display.model_metadata import difference_row
from taskclf_dagster.defs.display.pictures import interval_picture, interval_sketch
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.decision.comparative_gates import COMPARATIVE_GATES, SLICE_GATE, judge_slices, regression_bound
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.fair_scores import score_fairly
from taskclf_dagster.domain.decision.suggestion_store import LabelSuggestions
from taskclf_dagster.domain.evaluation.block_counts import Flips
from taskclf_dagster.domain.evaluation.comparison import Comparison
from taskclf_dagster.domain.evaluation.day_effects import DayEffects
from taskclf_dagster.domain.evaluation.prediction_diff import PredictionDiff
from taskclf_dagster.domain.evaluation.resampling import REPLICATES, bootstrap_distribution
from taskclf_dagster.domain.evaluation.significance import GroupSignificance
from taskclf_dagster.domain.evaluation.slice_significance import assess_slices
from taskclf_dagster.shown_text import counted, shorten_names

ENOUGH_USER_DAYS = "enough_user_days"


SHOWN_SLICES = 20
"""Rows of the table of slices: the largest losses."""


def summarize_comparison(comparison: Comparison | None) -> str:
    """Summarizes the comparison in a few sentences."""
    if comparison is None:
        return "There was nothing to compare with."
    if comparison.macro_f1_delta is None:
        return f"Left to compare on: {counted(comparison.windows, 'window')}, too few of any label. {comparison.exclusion.summary}"
    return (
        f"On {counted(comparison.windows, 'window')} that neither learned from the challenger scores macro-F1 "
        f"{comparison.challenger_macro_f1:.4f}, "
        f"the champion {comparison.champion_macro_f1:.4f}. {comparison.evidence.summary}"
    )


def fair_table(decision: PromotionDecision) -> dg.MetadataValue:
    """Returns the metrics of champion and challenger on the windows that neither was trained on, with the difference."""
    champion, challenger = score_fairly(decision)
    rows = [
        difference_row(name, None if champion is None else getattr(champion, field), getattr(challenger, field))
        for name, field in (("macro-F1", "macro_f1"), ("weighted F1", "weighted_f1"), ("accuracy", "accuracy"))
    ]
    rows += [difference_row(f"F1 {label}", None if champion is None else champion.f1[label], f1) for label, f1 in challenger.f1.items()]
    return table([{f"on {counted(challenger.windows, 'window')}": row.pop("metric"), **row} for row in rows])


def draw_interval(decision: PromotionDecision, *, replicates: int = REPLICATES) -> dict[str, dg.MetadataValue]:
    """Draws the difference with its interval: small, to show inline, and with the resamples; empty without a comparison.

    Resamples the user-days, which only the second picture needs: draw it once and show it in the metadata and in the check.
    """
    comparison = decision.comparison
    if comparison is None:
        return {}
    resampled = bootstrap_distribution(
        comparison.sums,
        judged_labels=comparison.judged_labels,
        significance=decision.settings.comparison.significance,
        seed=comparison.seed,
        replicates=replicates,
    )
    bound = regression_bound(decision.settings.comparison)
    return {
        "interval": interval_sketch(comparison.evidence, bound=bound),
        "resamples": interval_picture(comparison.evidence, resampled, bound=bound),
    }


def comparative_checks(decision: PromotionDecision, interval: Mapping[str, dg.MetadataValue]) -> list[dg.AssetCheckResult]:
    """Returns every comparative gate as a check, with its picture (from `draw_interval`) or table, and the advice on user-days."""
    comparison = decision.comparison
    more: dict[str, dict[str, dg.MetadataValue]] = {}
    if comparison is not None:
        more = {
            "macro_f1_no_regression": {**interval, "evidence": dg.MetadataValue.text(comparison.evidence.summary)},
            "not_worse_than_anchor": {"anchors": anchor_table(decision)},
            "no_user_clearly_worse": {"users": group_table(comparison.evidence.by_user)},
            "no_class_clearly_worse": {"labels": group_table(comparison.evidence.by_label)},
            SLICE_GATE: {"slices": slice_table(decision)},
            "negative_flips": {"flips": flips_table(comparison.flips)},
        }
    gates = [gate_check(gate, more=more.get(gate.name)) for gate in decision.gates if gate.name in COMPARATIVE_GATES]
    gates = [_slice_check(decision, check) if check.check_name == SLICE_GATE else check for check in gates]
    return [*gates, _user_days(comparison, decision.settings.comparison.min_user_days)]


def comparison_metadata(decision: PromotionDecision, interval: Mapping[str, dg.MetadataValue]) -> dict[str, object]:
    """Returns metadata of promotion_decision about the comparison: tables, and the picture from `draw_interval`."""
    comparison = decision.comparison
    shown: dict[str, object] = {
        "protections": dg.MetadataValue.md("\n".join(f"- {line}" for line in decision.protections)),
        "anchors": anchor_table(decision),
    }
    if comparison is not None:
        shown |= {
            **interval,
            "learned_from": leakage_table(comparison),
            "flips": flips_table(comparison.flips),
            "users": group_table(comparison.evidence.by_user),
            "labels": group_table(comparison.evidence.by_label),
            "slices": slice_table(decision),
        }
    return {**shown, **_changes(decision.prediction_diff)}


def anchor_table(decision: PromotionDecision) -> dg.MetadataValue:
    """Returns one row for each anchor model."""
    return table(
        [
            {
                "model": anchor.model_id,
                "ran": f"{anchor.ran_at:%Y-%m-%d}",
                "new": format_metric(anchor.challenger_macro_f1),
                "anchor": format_metric(anchor.anchor_macro_f1),
                "detail": anchor.detail,
            }
            for anchor in decision.anchors
        ]
    )


def suggestions_table(found: LabelSuggestions) -> dg.MetadataValue:
    """Returns one row for each stretch worth labelling, in UTC; the reason if there is none."""
    if not found.suggestions:
        return dg.MetadataValue.text(found.why_none)
    short = shorten_names(each.user_id for each in found.suggestions)
    return table(
        [
            {
                "user": short[each.user_id],
                "day": f"{each.start:%m-%d}",
                "from - to": f"{each.start:%H:%M} - {each.end:%H:%M}",
                "why": each.reason,
            }
            for each in found.suggestions
        ]
    )


def rejected_by_day(effects: DayEffects | None) -> dict[str, object]:
    """Returns what the labels of single days did to a rejected challenger, as text and as a table; nothing for another verdict."""
    if effects is None:
        return {}
    short = shorten_names(each.user_id for each in effects.days)
    rows: list[dict[str, Cell]] = [
        {
            "without": f"{short[each.user_id]}, {each.day:%a %m-%d}",
            "labels": each.learned + each.compared,
            "learned": each.learned,
            "compared on": each.compared,
            "difference": format_metric(each.difference),
            "it would": "be undecided" if each.margin is None else f"{'pass' if each.passes else 'fail'} by {abs(each.margin):.4f}",
        }
        for each in effects.days
    ]
    return {"why_rejected": dg.MetadataValue.md(effects.describe()), **({"rejected_by_day": table(rows)} if rows else {})}


def leakage_table(comparison: Comparison) -> dg.MetadataValue:
    """Returns one row for each model: how it is known what it learned from, test windows that it learned or that are near, its last day."""
    return table(
        [
            {
                "model": report.model_id,
                "by": report.basis.replace("_", " "),
                "learned": report.trained_on,
                "near": report.neighbors,
                "until": f"{report.trained_until:%Y-%m-%d}",
            }
            for report in comparison.exclusion.leakage
        ]
    )


def flips_table(flips: Flips) -> dg.MetadataValue:
    """Returns one row for each label: windows that became wrong, and that became right."""
    return table(
        [
            {
                "label": label,
                "became wrong": flips.negative[label],
                "became right": flips.positive[label],
                "net": flips.positive[label] - flips.negative[label],
            }
            for label in LABELS
        ]
    )


def group_table(groups: Sequence[GroupSignificance]) -> dg.MetadataValue:
    """Returns one row for each user or label: the difference, and the p-value of no decline beyond the margin."""
    short = shorten_names(group.name for group in groups)
    return table(
        [
            {
                "name": short[group.name],
                "windows": group.windows,
                "days": group.user_days,
                "change": "-" if group.difference is None else f"{group.difference:+.4f}",
                "p of no decline": format_metric(group.adjusted_p),
            }
            for group in groups
        ]
    )


def slice_table(decision: PromotionDecision) -> dg.MetadataValue:
    """Returns one row for each slice, the largest losses first and at most SHOWN_SLICES: both accuracies, the difference, its interval."""
    comparison = decision.comparison
    slices = [] if comparison is None or comparison.slices is None else assess_slices(comparison.slices, decision.settings.comparison)
    return table(
        [
            {
                "slice": each.name,
                "windows": each.windows,
                "days": each.user_days,
                "new": format_metric(each.challenger_accuracy),
                "champion": format_metric(each.champion_accuracy),
                "change": "-" if each.difference is None else f"{each.difference:+.4f}",
                "interval": "-" if each.interval is None else f"{each.interval[0]:+.3f} to {each.interval[1]:+.3f}",
                "p of no decline": format_metric(each.adjusted_p),
            }
            for each in slices[:SHOWN_SLICES]
        ]
    )


def _slice_check(decision: PromotionDecision, check: dg.AssetCheckResult) -> dg.AssetCheckResult:
    """Returns the check of the slices: the gate where it is on, else the same judgement as a warning."""
    comparison, settings = decision.comparison, decision.settings.comparison
    if settings.slice_gate or comparison is None or comparison.slices is None:
        return check
    judged = gate_check(judge_slices(comparison, settings), more=check.metadata)
    return judged._replace(severity=dg.AssetCheckSeverity.WARN, description=f"Advice, slice_gate is off. {judged.description}")


def _changes(changes: PredictionDiff | None) -> dict[str, object]:
    if changes is None:
        return {}
    short = shorten_names([*changes.by_user, *(block.user_id for block in changes.largest_blocks)])
    users: list[dict[str, Cell]] = [
        {"user": short[user], "now": label, "minutes": minutes}
        for user, labels in changes.by_user.items()
        for label, minutes in labels.items()
    ]
    return {
        "what_changes": changes.summary,
        "relabelled_minutes": table(
            [{"before": pair.champion_label, "now": pair.challenger_label, "minutes": pair.minutes} for pair in changes.by_label]
        ),
        "relabelled_by_user": table(users),
        "largest_changes": table(
            [
                {
                    "user": short[block.user_id],
                    "start": f"{block.start:%Y-%m-%d %H:%M}",
                    "minutes": block.minutes,
                    "change": f"{block.champion_label} to {block.challenger_label}",
                }
                for block in changes.largest_blocks
            ]
        ),
    }


def _user_days(comparison: Comparison | None, fewest: int) -> dg.AssetCheckResult:
    days = None if comparison is None else comparison.evidence.user_days
    words = (
        "There was nothing to compare with." if days is None else f"{days} labelled user-days are compared; at least {fewest} are wanted."
    )
    return dg.AssetCheckResult(
        check_name=ENOUGH_USER_DAYS,
        passed=days is None or days >= fewest,
        severity=dg.AssetCheckSeverity.WARN,
        description=words,
        metadata={} if days is None else {"user_days": days},
    )
