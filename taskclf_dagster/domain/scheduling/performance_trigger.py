"""A drop of the active model's performance as a trigger: one retrain for each model, unless a challenger was trained since.

Reads the files that `domain.monitoring` writes with the first finding about a model (artifacts/performance_drops/<model_id>.json).
"""

from taskclf_dagster.domain.decision.last_decided import LastDecided
from taskclf_dagster.domain.evaluation.performance_drops import PerformanceDrop, read_performance_drop
from taskclf_dagster.domain.registry.active_model import find_trusted_model
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.scheduling.skip_reasons import SkipReason
from taskclf_dagster.domain.storage.signatures import NO_KEYS, Keys
from taskclf_dagster.home import Home


def find_performance_trigger(home: Home, keys: Keys = NO_KEYS) -> PerformanceDrop | SkipReason:
    """Returns the drop that was found for the active model, or the reason why there is nothing to do.

    With public keys, only a model of a signed record is active.

    Raises:
        UnreadableFileError: the file of the model is damaged.
    """
    model_id = find_trusted_model(read_registry_state(home, keys)).model_id
    if model_id is None:
        return SkipReason(kind="no_drop", message="no model is active, so there is no performance to watch")
    if not home.scores.is_dir():
        return SkipReason(kind="no_drop", message=f"{home.scores} does not exist: no window was scored yet, so no performance is known")
    drop = read_performance_drop(home, model_id)
    return drop or SkipReason(kind="no_drop", message=f"{model_id} was not found to perform clearly worse than it should")


def find_drop_answer(drop: PerformanceDrop, last: LastDecided | None) -> SkipReason | None:
    """Returns the reason why a drop no longer triggers a retrain: a challenger was trained after it was found; None if it still does."""
    if last is None or last.trained_at is None or last.trained_at <= drop.found_at:
        return None
    found = f"after {drop.model_id} was found to perform worse on {drop.found_at:%Y-%m-%d %H:%M %Z}"
    return SkipReason(kind="answered", message=f"a challenger was trained on {last.trained_at:%Y-%m-%d %H:%M %Z}, {found}")
