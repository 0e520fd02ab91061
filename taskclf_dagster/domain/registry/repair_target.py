"""The model that a repair restores, and the advice about damage of pointer and policy. Nothing here writes; `recovery` repairs."""

from pathlib import Path
from typing import NamedTuple

from taskclf_dagster.domain.registry.active_model import SOURCE_NAMES
from taskclf_dagster.domain.registry.champion import resolve_active_model
from taskclf_dagster.domain.registry.fsck_findings import REPAIR
from taskclf_dagster.domain.registry.health import find_last_known_good, find_policy_problem, find_usable_pointer
from taskclf_dagster.domain.registry.inference_policy import DEFAULT_REJECT_THRESHOLD
from taskclf_dagster.domain.registry.state import RegistryState

NOTHING_TO_RESTORE = "No model can run in its place: restore models/ from a backup, or retrain with bootstrap"


class RepairTarget(NamedTuple):
    """The model that a repair makes the active model.

    Attributes:
        model_dir: its bundle, relative to the home.
        threshold: the reject threshold that taskclf applies to it [0 to 1].
        reason: where it was found.
    """

    model_dir: str
    threshold: float
    reason: str


def find_repair_target(state: RegistryState) -> RepairTarget | None:
    """Returns the model that taskclf runs now, unless a rollback left it: then the last known good one. None if no model can run."""
    found = resolve_active_model(state)
    if found.model_dir is not None and found.threshold is not None and Path(found.model_dir).name not in state.history.blocked:
        return RepairTarget(found.model_dir, found.threshold.value, SOURCE_NAMES[found.source])
    good = find_last_known_good(state)
    if good is None:
        return None
    return RepairTarget(good.model_dir, DEFAULT_REJECT_THRESHOLD, SOURCE_NAMES["last_known_good"])


def advise_repair(state: RegistryState) -> str:
    """Returns what to do about damage of pointer or policy, without full stop: a repair, if it can restore a model."""
    if find_repair_target(state) is not None:
        return REPAIR
    set_aside = find_policy_problem(state) is not None and find_usable_pointer(state).pointer is None and state.history.last_move is None
    return f"{REPAIR}: it keeps the file aside" if set_aside and state.pointer_file.error is None else NOTHING_TO_RESTORE
