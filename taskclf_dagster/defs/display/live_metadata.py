"""Metadata and checks of live_performance: figures by model, day, user, label and provenance. Dagster concept: metadata, asset checks."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from taskclf_dagster.defs.display.metadata import Cell, format_metric, plotted, table
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.monitoring.live_figures import LiveFigures, LiveModel
from taskclf_dagster.domain.monitoring.live_performance import LivePerformance
from taskclf_dagster.shown_text import counted, shorten_names

PERFORMANCE, SCORES_READ = "active_model_performs_as_tested", "every_score_file_is_read"


LIVE_CHECKS = {
    PERFORMANCE: "Advice: the active model is not clearly below its own test figure, less max_live_drop, nor below the lookup table.",
    SCORES_READ: "Advice: the scores of every day that has any can be read.",
}


def live_performance_metadata(record: LivePerformance) -> dict[str, Any]:
    """Returns what the page of live_performance shows."""
    active = record.active
    figures = None if active is None else active.figures
    users = shorten_names(user for model in record.models for user in model.by_user)
    return {
        "home": record.home,
        "result": record.summary,
        "days": f"{record.first_day} to {record.last_day} (UTC), {counted(len(record.days), 'day')} with scores",
        "active_model": record.active_model_id or "none",
        **plotted(
            macro_f1=None if figures is None else figures.macro_f1,
            macro_f1_low=None if active is None or active.interval is None else active.interval[0],
            macro_f1_high=None if active is None or active.interval is None else active.interval[1],
            reject_rate=None if figures is None else figures.reject_rate,
            brier_score=None if figures is None else figures.brier_score,
        ),
        "labeled_windows": 0 if figures is None else figures.labeled,
        "bars": table([_bar_row(bar.model_dump()) for bar in record.bars]),
        "by_model": table([_model_row(model) for model in record.models]),
        "by_label": table([] if active is None else _label_rows(active)),
        "by_user": table(
            [{"user": users[user], **_figures_row(each)} for user, each in (active.by_user.items() if active is not None else ())]
        ),
        "by_day": table(
            [
                {"day": str(each.day), "model": model.model_id, "user": users.get(each.user_id or "", "all"), **_figures_row(each)}
                for model in record.models
                for each in model.by_day
            ]
        ),
        "by_provenance": table(
            [
                {"model": model.model_id, "provenance": name, **each.model_dump()}
                for model in record.models
                for name, each in model.by_provenance.items()
            ]
        ),
        "not_read": table([{"day": str(day), "reason": reason} for day, reason in record.damaged_days.items()]),
    }


def live_performance_checks(record: LivePerformance) -> list[dg.AssetCheckResult]:
    """Returns the results of both checks; a bar that cannot be judged yet is not missed."""
    bars = "\n".join(f"{bar.name.replace('_', ' ')}: {bar.detail}" for bar in record.bars)
    active = record.active
    return [
        dg.AssetCheckResult(
            check_name=PERFORMANCE,
            passed=not record.dropped,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{record.summary}\n{bars}".strip(),
            metadata=plotted(macro_f1=None if active is None else active.figures.macro_f1),
        ),
        dg.AssetCheckResult(
            check_name=SCORES_READ,
            passed=not record.damaged_days,
            severity=dg.AssetCheckSeverity.WARN,
            description="\n".join(record.damaged_days.values()) or f"{counted(len(record.days), 'day')} with scores.",
            metadata={"damaged_days": len(record.damaged_days)},
        ),
    ]


def _bar_row(bar: Mapping[str, Any]) -> dict[str, Cell]:
    low, high = bar["interval"] or (None, None)
    numbers: dict[str, Cell] = {name: format_metric(bar[name]) for name in ("live", "reference", "bound", "difference")}
    spread = {"low": format_metric(low), "high": format_metric(high)}
    return {"bar": bar["name"].replace("_", " "), "verdict": bar["verdict"].replace("_", " "), **numbers, **spread}


def _model_row(model: LiveModel) -> dict[str, Cell]:
    low, high = model.interval or (None, None)
    spread: dict[str, Cell] = {"low": format_metric(low), "high": format_metric(high), "user-days": model.user_days}
    return {"model": model.model_id, **_figures_row(model.figures), **spread, "left out": model.left_out}


def _figures_row(figures: LiveFigures) -> dict[str, Cell]:
    return {
        "scored": figures.windows,
        "labeled": figures.labeled,
        "macro-F1": format_metric(figures.macro_f1),
        "rejected": format_metric(figures.reject_rate),
        "Brier": format_metric(figures.brier_score),
    }


def _label_rows(model: LiveModel) -> list[dict[str, Cell]]:
    figures = model.figures
    return [
        {
            "label": label,
            "windows": figures.support.get(label, 0),
            "F1": format_metric(figures.f1.get(label)),
            "judged": label in model.judged_labels,
        }
        for label in LABELS
    ]
