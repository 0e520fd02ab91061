"""Describes the models of a home: the active one with its figures, and those to which a rollback can go.

The registry is read by the caller, as one state; nothing here writes or decides.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.fair_scores import score_fairly
from taskclf_dagster.domain.models.bundle import ModelBundle
from taskclf_dagster.domain.models.bundle_paths import is_model_id, resolve_model_dir
from taskclf_dagster.domain.monitoring.live_performance import LivePerformance
from taskclf_dagster.domain.registry.active_model import ActiveModel
from taskclf_dagster.domain.registry.health import find_last_known_good
from taskclf_dagster.domain.registry.history import History
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.domain.storage.files import list_folders
from taskclf_dagster.errors import BundleError
from taskclf_dagster.shown_text import counted
from taskclf_dagster.status.overview_records import ActiveModelView, FairFigures, LiveView, RollbackTarget


def describe_active_model(state: RegistryState, active: ActiveModel, decisions: Mapping[str, PromotionDecision]) -> ActiveModelView | None:
    """Describes the active model, without its age and its live figures; None if no model can run.

    Args:
        state: the registry.
        active: the model that was found in it.
        decisions: the receipts of the home by id.
    """
    if active.model_id is None or active.model_dir is None:
        return None
    bundle = _parse(state, active.model_dir)
    decision_id = _find_decision(state.history, active.model_id)
    decision = decisions.get(decision_id or "")
    times = find_times(state.history, active.model_id)
    return ActiveModelView(
        model_id=active.model_id,
        source=active.source,
        summary=active.summary,
        trained_at=None if bundle is None else bundle.created_at,
        active_since=None if times is None else times[0],
        age_days=None,
        reject_threshold=None if active.threshold is None else active.threshold.value,
        decision_id=decision_id,
        fair=None if decision is None else _describe_fair(decision),
        live=None,
    )


def describe_live(record: LivePerformance, model_id: str) -> LiveView | None:
    """Describes the live figures of a model; None if it scored no window of these days that has a label now."""
    model = next((each for each in record.models if each.model_id == model_id), None)
    if model is None or not model.figures.labeled:
        return None
    agreed = sum(each.agreed for each in model.by_provenance.values())
    days = sum(day.user_id is None and day.labeled > 0 for day in model.by_day)
    accuracy = agreed / model.figures.labeled
    score = "" if model.figures.macro_f1 is None else f" (macro-F1 {model.figures.macro_f1:.2f})"
    basis = f"{_grouped(model.figures.labeled, 'minute')} on {counted(days, 'day')} that were labeled later"
    worse = " That is clearly worse than it should be." if record.dropped and model_id == record.active_model_id else ""
    return LiveView(
        macro_f1=model.figures.macro_f1,
        accuracy=accuracy,
        windows=model.figures.labeled,
        days=days,
        as_of=record.as_of,
        sentence=f"Of {basis}, its label was right in {accuracy:.0%}{score}.{worse}",
    )


def find_rollback_targets(state: RegistryState, active: ActiveModel) -> list[RollbackTarget]:
    """Returns the models of models/ to which a rollback can go: verified, not blocked, not active. The default first, then the newest."""
    left = None if state.active_model_dir is None else Path(state.active_model_dir).name
    default = find_last_known_good(state, but=state.active_model_dir)
    targets = []
    for folder in list_folders(state.home.models):
        name, model_dir = folder.name, f"{state.home.models.name}/{folder.name}"
        if not is_model_id(name) or name in state.history.blocked or name in (left, active.model_id):
            continue
        if state.model_problem(model_dir) is None:
            is_default = default is not None and default.name == name
            targets.append(_describe_target(state, name, model_dir, active, is_default=is_default))
    return sorted(targets, key=lambda target: (target.is_default, _last_time(target)), reverse=True)


def find_times(history: History, model_id: str) -> tuple[datetime, datetime | None] | None:
    """Returns when a model became active the last time, and when it was left after that; None if the history does not say."""
    since: datetime | None = None
    until: datetime | None = None
    for entry in history.moves:
        if entry.new is not None and entry.new.name == model_id:
            since, until = (entry.at, None) if since is None or until is not None else (since, None)
        elif since is not None and until is None:
            until = entry.at
    return None if since is None else (since, until)


def _describe_target(state: RegistryState, name: str, model_dir: str, active: ActiveModel, *, is_default: bool) -> RollbackTarget:
    bundle, times = _parse(state, model_dir), find_times(state.history, name)
    since, until = times or (None, None)
    return RollbackTarget(
        model_id=name,
        trained_at=None if bundle is None else bundle.created_at,
        active_from=since,
        active_until=until,
        macro_f1=None if bundle is None or bundle.metrics is None else bundle.metrics.macro_f1,
        is_default=is_default,
        effect=_say_effect(name, bundle, active),
    )


def _say_effect(name: str, bundle: ModelBundle | None, active: ActiveModel) -> str:
    trained = "" if bundle is None or bundle.created_at is None else f", trained on {bundle.created_at:%Y-%m-%d}"
    left = "" if active.model_id is None else f" {active.model_id} is blocked: it is not promoted again until it is unblocked."
    return f"taskclf runs {name}{trained}, from the next time that it loads its model. Nothing is trained, no model is deleted.{left}"


def _last_time(target: RollbackTarget) -> str:
    moment = target.active_from or target.trained_at
    return "" if moment is None else moment.isoformat()


def _find_decision(history: History, model_id: str) -> str | None:
    """Returns the decision by which a model was promoted last; None if none did."""
    made = (entry.decision_id for entry in reversed(history.moves) if entry.new is not None and entry.new.name == model_id)
    return next((decision_id for decision_id in made if decision_id is not None), None)


def _describe_fair(decision: PromotionDecision) -> FairFigures:
    _, scores = score_fairly(decision)
    basis = f"On {_grouped(scores.windows, 'minute')} that it had not learned from"
    if scores.macro_f1 is None:
        sentence = f"{basis} it could not be judged."
    elif scores.accuracy is None:
        sentence = f"{basis} it scored macro-F1 {scores.macro_f1:.2f}; it was the first model, so there was none to compare it with."
    else:
        sentence = f"{basis} its label was right in {scores.accuracy:.0%} (macro-F1 {scores.macro_f1:.2f})."
    return FairFigures(
        macro_f1=scores.macro_f1,
        weighted_f1=scores.weighted_f1,
        accuracy=scores.accuracy,
        windows=scores.windows,
        sentence=sentence,
    )


def _parse(state: RegistryState, model_dir: str) -> ModelBundle | None:
    try:
        return state.bundles.parsed(resolve_model_dir(state.home, model_dir))
    except BundleError:
        return None


def _grouped(number: int, noun: str) -> str:
    return counted(number, noun).replace(str(number), f"{number:,}", 1)
