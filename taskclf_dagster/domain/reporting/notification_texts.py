"""The texts of each event for a person: what happened, and what to do next.

`notifications` puts them into a message. `{model}` is the model of the event, `{before}` the one that was active before.
"""

from typing import NamedTuple

from taskclf_dagster.config.event_types import EventType
from taskclf_dagster.domain.events.message import Tone


class EventText(NamedTuple):
    """The texts of one type of event.

    Attributes:
        title: what happened, in a few words; also for several of these, behind their number.
        sentence: what happened to which model.
        next_step: what to do next.
        tone: whether it is good or bad news.
    """

    title: str
    sentence: str
    next_step: str
    tone: Tone


_NOTHING = "Nothing has to be done."


EVENT_TEXTS: dict[EventType, EventText] = {
    "model.awaiting_approval": EventText(
        "A new model waits for approval",
        "The new model {model} passed every check and waits for a person to approve it.",
        "Look at the report, then approve it on the page, or with: taskclf-dagster approve",
        "info",
    ),
    "model.promoted": EventText(
        "A new model runs",
        "The model {model} runs now; before that {before} ran.",
        "Nothing has to be done. If it does worse, roll back on the page, or with: taskclf-dagster rollback --reason TEXT",
        "success",
    ),
    "model.rejected": EventText(
        "A new model was rejected",
        "The new model {model} was not good enough.",
        "Look at the report: it says which checks failed and what would help.",
        "warning",
    ),
    "model.rolled_back": EventText(
        "An earlier model runs again",
        "The model {model} runs again; before that {before} ran.",
        "Nothing has to be done. The model that was left is not promoted again, unless with: taskclf-dagster unblock",
        "warning",
    ),
    "model.pointer_repaired": EventText(
        "The registry was repaired",
        "What names the running model was damaged, and was set to {model}, the last one known to be good.",
        "Check the registry with: taskclf-dagster registry fsck",
        "warning",
    ),
    "model.pointer_adopted": EventText(
        "Another program chose the model",
        "Another program made {model} the running model, or changed its policy; before that {before} ran.",
        "Nothing has to be done if you know of it. Else roll back on the page.",
        "warning",
    ),
    "model.retrain.failed": EventText(
        "A retrain failed",
        "A retrain ended without a decision. The running model goes on running.",
        "If it happens again, look at the run on the page, or with: taskclf-dagster status",
        "failure",
    ),
    "performance.dropped": EventText(
        "The running model does worse than it should",
        "The model {model} is clearly worse on minutes that were labelled later than on its test.",
        "Check the newest labels. A retrain is requested by itself; an earlier model can be chosen on the page.",
        "failure",
    ),
    "drift.confirmed": EventText(
        "The data has changed",
        "What is recorded differs from what the model {model} has learned from, for two days now.",
        "Label some of the last days: taskclf-dagster drift --queue asks for them. A retrain is requested by itself.",
        "warning",
    ),
    "probation.harm": EventText(
        "The new model does harm",
        "The model {model} does worse since its promotion than the model before it, or does not work. It goes on running.",
        "Go back on the page, or with: taskclf-dagster rollback --reason TEXT. With auto_rollback: true that happens by itself.",
        "failure",
    ),
    "model.retrain.started": EventText("A retrain began", "A retrain began.", _NOTHING, "info"),
    "model.retrain.completed": EventText(
        "A retrain ended", "A retrain ended with a decision about the model {model}.", "Look at the report.", "info"
    ),
    "model.retrain.skipped": EventText(
        "A retrain had nothing to learn", "No label is new since the last decision, so nothing was trained.", "Label more time.", "info"
    ),
    "model.retrained": EventText("A new model was judged", "The model {model} was trained and judged.", "Look at the report.", "info"),
    "trial.serving_stopped": EventText(
        "A model on trial serves no batch scores any more",
        "The model {model} no longer serves a share of the batch scores; those of {before} are used for everyone.",
        _NOTHING,
        "info",
    ),
    "model.scored": EventText("A day was scored", "The model {model} was applied to every window of a day.", _NOTHING, "info"),
    "model.calibrated": EventText(
        "The running model was calibrated", "The probabilities of the model {model} were calibrated on newer labels.", _NOTHING, "info"
    ),
}
"""The texts of every type of event."""


CHANGES_MODEL: frozenset[EventType] = frozenset({"model.promoted", "model.rolled_back", "model.pointer_repaired", "model.pointer_adopted"})
"""The types after which the new version of the event is the running model."""


NO_MODEL = "no model"
