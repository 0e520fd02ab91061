"""Describes the trials of a home, and the probation of its active model, for page and API."""

from taskclf_dagster.domain.decision.probation import list_probations
from taskclf_dagster.domain.decision.serving import ServingRecord, find_shown, list_serving
from taskclf_dagster.domain.decision.trial import TrialRecord, list_trials
from taskclf_dagster.domain.probation.probation_views import show_probation
from taskclf_dagster.home import Home
from taskclf_dagster.status.records import ProbationView, TrialView
from taskclf_dagster.status.sentences import make_sentence

SHOWN = 5
"""Number of trials that are shown."""


def describe_trials(home: Home) -> list[TrialView]:
    """Returns the trials of a home, the open ones first, then the newest; a record that cannot be read is left out, and fsck names it."""
    trials = sorted(list_trials(home)[0], key=lambda trial: not trial.is_open)
    serving = list_serving(home)[0]
    return [_describe(trial, find_shown(serving, trial.model_id, is_open=trial.is_open)) for trial in trials[:SHOWN]]


def describe_probation(home: Home) -> ProbationView | None:
    """Returns the open probation; None without one, or if its record cannot be read, and fsck names it."""
    record = next((each for each in list_probations(home)[0] if each.is_open), None)
    if record is None:
        return None
    look = show_probation(record)
    return ProbationView(
        model_id=record.model_id,
        previous_id=record.previous_id,
        until=record.ends_at,
        days=look.user_days,
        windows=look.windows,
        difference=look.difference,
        lower=look.lower,
        upper=look.upper,
        harm=bool(record.findings),
        sentence=make_sentence(record.state or "it has just begun"),
    )


def _describe(trial: TrialRecord, serving: ServingRecord | None) -> TrialView:
    bounds = trial.bounds
    return TrialView(
        model_id=trial.model_id,
        champion_id=trial.champion_id,
        state=trial.ending or "waits",
        is_open=trial.is_open,
        days=len(trial.user_days),
        windows=trial.windows,
        difference=bounds.difference,
        lower=bounds.lower,
        upper=bounds.upper,
        since=trial.started_at,
        until=trial.ends_at,
        decision_id=trial.ended_by,
        sentence=make_sentence(trial.waits_for or "it has just begun"),
        serving=None if serving is None else make_sentence(serving.sentence),
    )
