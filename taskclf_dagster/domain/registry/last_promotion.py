"""Finds the promotion that made the active model what it is. Nothing here writes."""

from datetime import datetime
from itertools import takewhile
from typing import NamedTuple

from taskclf_dagster.domain.registry.health import is_cut_off
from taskclf_dagster.domain.registry.state import RegistryState


class LastPromotion(NamedTuple):
    """A promotion whose model is active.

    Attributes:
        sequence: number of its history record.
        model_id: the promoted model.
        previous_id: the model before it.
        decision_id: its receipt.
        at: its time.
    """

    sequence: int
    model_id: str
    previous_id: str
    decision_id: str
    at: datetime


def find_last_promotion(state: RegistryState) -> LastPromotion | None:
    """Returns the promotion that made the active model active.

    None if a rollback, a repair or another program did, if there was no model before, if the change was interrupted, or if pointer or
    policy name another model than the history.
    """
    last = state.history.last_move
    if last is None or last.new is None or last.new.model_dir != state.active_model_dir or is_cut_off(state):
        return None
    name = last.new.name
    first = list(takewhile(lambda entry: entry.new is not None and entry.new.name == name, reversed(state.history.moves)))[-1]
    if first.action != "promote" or first.sequence is None or first.decision_id is None or first.old is None:
        return None
    return LastPromotion(first.sequence, name, first.old.name, first.decision_id, first.at)
