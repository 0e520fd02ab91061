"""Summarizes the registry: the active model, the decisions, what waits, where a rollback can go, and what is broken.

All of it follows from files that change with a decision or a change of the registry only, so that it is computed once for each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.label_store import find_store
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.decision.last_decided import LAST_DECIDED, read_last_decided
from taskclf_dagster.domain.events.outbox import WRITTEN_THROUGH
from taskclf_dagster.domain.registry.active_model import find_active_model
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.storage.signatures import Keys
from taskclf_dagster.home import Home
from taskclf_dagster.status.actions import NONE_WAITS, Waiting, find_waiting
from taskclf_dagster.status.decision_records import DecisionSummary, TrendPoint
from taskclf_dagster.status.decision_views import find_trend, summarize_decision
from taskclf_dagster.status.job_history import REPORT_PATH
from taskclf_dagster.status.kept_results import take_stamps
from taskclf_dagster.status.model_views import describe_active_model, find_rollback_targets
from taskclf_dagster.status.overview_records import ActiveModelView, Problem, RollbackTarget
from taskclf_dagster.status.problems import find_registry_problems
from taskclf_dagster.status.records import TrialView
from taskclf_dagster.status.trial_views import describe_probation, describe_trials


@dataclass(frozen=True)
class RegistrySummary:
    """The registry as page and API show it; empty for a folder that is no home.

    Attributes:
        model: the active model, without its age and its live figures; None if no model can run.
        last_decision: the last decision, dry runs aside.
        trend: the fair figures of the last decisions.
        waiting: the decision that waits for approval.
        trials: challengers on trial, and the trials that ended last.
        targets: models to which a rollback can go.
        blocked: models that a rollback left.
        problems: what is broken.
        warnings: what a person should know about how the active model was found.
    """

    model: ActiveModelView | None = None
    last_decision: DecisionSummary | None = None
    trend: list[TrendPoint] = field(default_factory=list)
    waiting: Waiting = field(default_factory=lambda: Waiting(None, NONE_WAITS))
    trials: list[TrialView] = field(default_factory=list)
    targets: list[RollbackTarget] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def summarize_registry(home: Home, config: RetrainConfig, keys: Keys, *, reports: str = REPORT_PATH) -> RegistrySummary:
    """Reads and summarizes the registry of a home. Never raises for the content of its files.

    Args:
        home: the taskclf home.
        config: by whose policy an approval is judged.
        keys: check signatures.
        reports: the path of the reports of the home on the web server.
    """
    state = read_registry_state(home, keys)
    active = find_active_model(state)
    decisions = list_decisions(home, state.receipts)[0]
    moves = {entry.decision_id: entry.sequence for entry in state.history.moves if entry.decision_id}
    waiting, last = find_waiting(state, decisions, config), _find_last(home, decisions)
    waits = last is not None and waiting.decision is not None and waiting.decision.decision_id == last.decision_id
    model = describe_active_model(state, active, {decision.decision_id: decision for decision in decisions})
    probation = describe_probation(home)
    on_probation = probation if model is not None and probation is not None and probation.model_id == model.model_id else None
    return RegistrySummary(
        model=None if model is None else model.model_copy(update={"probation": on_probation}),
        last_decision=None if last is None else summarize_decision(last, moved=moves.get(last.decision_id), waits=waits, reports=reports),
        trend=find_trend(decisions),
        waiting=waiting,
        trials=describe_trials(home),
        targets=find_rollback_targets(state, active),
        blocked=list(state.history.blocked),
        problems=find_registry_problems(state, active),
        warnings=active.details("policy_names_another_model", "threshold_differs", "repair_restores", "not_calibrated"),
    )


def stamp_registry(home: Home) -> tuple[object, ...]:
    """Returns stamps of every file that a summary is made of."""
    folders = take_stamps([home.models, home.calibrators], depth=2)
    decided = take_stamps(
        [
            home.decisions,
            home.decisions / LAST_DECIDED,
            home.pending_models,
            home.trials,
            home.serving,
            home.probations,
            find_store(home),
            home.home_id_file,
        ]
    )
    return folders, decided, take_stamps([home.outbox / WRITTEN_THROUGH])


def _find_last(home: Home, decisions: Sequence[PromotionDecision]) -> PromotionDecision | None:
    """Returns the decision that was made last, dry runs aside: as-of times can be in any order. That of a trial is no decided run."""
    last = read_last_decided(home)
    made = [decision for decision in decisions if not decision.options.dry_run]
    if made and made[0].trial is not None:
        return made[0]
    named = (decision for decision in made if last is not None and decision.decision_id == last.decision_id)
    return next(named, made[0] if made else None)
