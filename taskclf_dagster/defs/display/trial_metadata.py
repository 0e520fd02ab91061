"""Metadata and checks of contender_trials: each trial with its bounds and what it waits for. Dagster concept: metadata, asset checks."""

from typing import Any

import dagster as dg

from taskclf_dagster.defs.display.metadata import plotted, table
from taskclf_dagster.domain.trials.trial_step import TrialLook, TrialsReport
from taskclf_dagster.shown_text import counted

LOOKED_AT = "every_trial_is_looked_at"


TRIAL_CHECKS = {LOOKED_AT: "Advice: every trial could be looked at; one that could not is looked at again with the next run."}


def trials_metadata(record: TrialsReport) -> dict[str, Any]:
    """Returns what the page of contender_trials shows."""
    newest = record.looks[0] if record.looks else None
    return {
        "home": record.home,
        "result": counted(len(record.looks), "trial") if record.looks else "no challenger is on trial",
        **plotted(
            difference=None if newest is None else newest.difference,
            difference_low=None if newest is None or not newest.user_days else newest.lower,
            difference_high=None if newest is None or not newest.user_days else newest.upper,
        ),
        "trials": table([_row(look) for look in record.looks]),
    }


def trial_checks(record: TrialsReport) -> list[dg.AssetCheckResult]:
    """Returns the results of TRIAL_CHECKS."""
    problems = [f"{look.model_id}: {look.detail}" for look in record.looks if look.outcome == "problem"] + [*record.damaged]
    return [
        dg.AssetCheckResult(
            check_name=LOOKED_AT,
            passed=not problems,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(problems) or f"{counted(len(record.looks), 'trial')}",
        )
    ]


def _row(look: TrialLook) -> dict[str, Any]:
    return {
        "contender": look.model_id,
        "beside": look.champion_id,
        "state": look.outcome.replace("_", " "),
        "user_days": look.user_days,
        "windows": look.windows,
        "difference": "-" if look.difference is None else f"{look.difference:+.4f}",
        "low": f"{look.lower:+.4f}",
        "high": f"{look.upper:+.4f}",
        "until": f"{look.ends_at:%Y-%m-%d}",
        "serving": "-" if look.serving is None else look.serving.sentence,
        "detail": look.detail,
    }
