"""Shows pointer changes that no retrain made on the asset active_pointer, with the same metadata and checks as those of a retrain.

Dagster concepts: metadata, asset check evaluations without a run. When a change is reported belongs to `defs.events.pointer_events` and
`defs.jobs.registry_jobs`.
"""

from typing import Any

import dagster as dg

from taskclf_dagster.defs.dagster_internals import report_check
from taskclf_dagster.defs.display.metadata import make_showable
from taskclf_dagster.defs.display.promotion_metadata import pointer_metadata, registry_checks
from taskclf_dagster.defs.runs.instance_home import find_home_partition
from taskclf_dagster.domain.decision.decision_store import read_decision
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.pointer import ActivePointer
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.home import Home

ASSET = dg.AssetKey("active_pointer")


def describe_pointer(home: Home, pointer: ActivePointer, reason: str) -> dict[str, Any]:
    """Returns the metadata of a change that no retrain made: as `pointer_metadata`, with the decision that once promoted the model."""
    history = read_history(home)
    promotions = (move.decision_id for move in reversed(history.moves) if move.new is not None and move.new.name == pointer.name)
    decision_id = next(filter(None, promotions), None)
    move = next((move for move in reversed(history.moves) if move.action != "calibrate"), None)
    previous = None if move is None or move.new != pointer else move.old
    decision = None if decision_id is None else read_decision(home, decision_id)
    return make_showable(pointer_metadata(home, pointer, previous, decision, reason))


def report_registry_checks(home: Home, instance: dg.DagsterInstance) -> None:
    """Reports the checks of the pointer's files again, which would otherwise be about the materialization before."""
    partition = find_home_partition(instance, home)
    for check in registry_checks(read_registry_state(home)):
        report_check(instance, ASSET, check, partition=partition)
