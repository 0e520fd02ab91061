"""Metadata and checks of the asset probation: the new model beside the one before it. Dagster concept: metadata, asset checks."""

from typing import Any

import dagster as dg

from taskclf_dagster.defs.display.metadata import plotted, table
from taskclf_dagster.domain.probation.probation_views import ProbationLook, ProbationReport

NO_HARM, LOOKED_AT = "the_last_promotion_does_no_harm", "probation_is_looked_at"


PROBATION_CHECKS = {
    NO_HARM: "Advice: the new model is not shown to be worse than the one before, it loads, and it rejects as much as is allowed.",
    LOOKED_AT: "Advice: the model on probation could be looked at; else the next run looks again.",
}


def probation_metadata(record: ProbationReport) -> dict[str, Any]:
    """Returns what the page of probation shows."""
    newest = record.looks[0] if record.looks else None
    return {
        "home": record.home,
        "result": "no model is on probation" if newest is None else newest.outcome.replace("_", " "),
        **plotted(
            difference=None if newest is None else newest.difference,
            difference_low=None if newest is None or not newest.user_days else newest.lower,
            difference_high=None if newest is None or not newest.user_days else newest.upper,
            reject_rate=None if newest is None else newest.reject_rate,
        ),
        "probations": table([_row(look) for look in record.looks]),
    }


def probation_checks(record: ProbationReport) -> list[dg.AssetCheckResult]:
    """Returns the results of PROBATION_CHECKS."""
    harm = [f"{look.model_id}: {look.detail}" for look in record.looks if look.outcome in ("harm", "rolled_back")]
    problems = [*([record.problem] if record.problem else []), *record.damaged]
    return [_warn(NO_HARM, harm, "no harm is known"), _warn(LOOKED_AT, problems, "it could be looked at")]


def _warn(name: str, problems: list[str], fine: str) -> dg.AssetCheckResult:
    severity = dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(check_name=name, passed=not problems, severity=severity, description="; ".join(problems) or fine)


def _row(look: ProbationLook) -> dict[str, Any]:
    return {
        "model": look.model_id,
        "before": look.previous_id,
        "state": look.outcome.replace("_", " "),
        "user_days": look.user_days,
        "windows": look.windows,
        "difference": "-" if look.difference is None else f"{look.difference:+.4f}",
        "low": f"{look.lower:+.4f}",
        "high": f"{look.upper:+.4f}",
        "reject_rate": "-" if look.reject_rate is None else f"{look.reject_rate:.1%}",
        "until": f"{look.ends_at:%Y-%m-%d}",
        "detail": look.detail,
    }
