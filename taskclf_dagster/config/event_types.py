"""The types of events, from which a sink may choose in the settings.

The envelope of an event is in `domain.events.event`; what it says to a person in `domain.reporting.notification_texts`.
"""

from typing import Literal

EventType = Literal[
    "model.retrain.started",
    "model.retrain.completed",
    "model.retrain.skipped",
    "model.retrain.failed",
    "model.retrained",
    "model.promoted",
    "model.rejected",
    "model.awaiting_approval",
    "model.rolled_back",
    "model.pointer_repaired",
    "model.pointer_adopted",
    "model.scored",
    "performance.dropped",
    "drift.confirmed",
    "model.calibrated",
    "probation.harm",
    "trial.serving_stopped",
]


FOR_PEOPLE: tuple[EventType, ...] = (
    "model.awaiting_approval",
    "model.promoted",
    "model.rejected",
    "model.rolled_back",
    "model.pointer_repaired",
    "model.pointer_adopted",
    "model.retrain.failed",
    "performance.dropped",
    "drift.confirmed",
    "probation.harm",
)
"""The types that a person is notified of by default: another model runs, or somebody has to do something."""
