"""Rollback to an earlier model, and lifting the block that it leaves (contract, sections 8 and 12).

Both hold the registry's lock, recover from what was interrupted, verify, and then commit.
"""

from contextlib import suppress
from datetime import datetime
from pathlib import Path

from taskclf_dagster.domain.decision.decision_store import read_decision
from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.models.bundle_paths import is_model_id
from taskclf_dagster.domain.registry.applied_calibrators import find_calibrators
from taskclf_dagster.domain.registry.commit import commit
from taskclf_dagster.domain.registry.health import find_last_known_good, is_cut_off
from taskclf_dagster.domain.registry.history_record import ActiveHistoryEntry, BlockedModel
from taskclf_dagster.domain.registry.inference_policy import build_policy
from taskclf_dagster.domain.registry.lock import write_lock
from taskclf_dagster.domain.registry.pointer import ActivePointer, make_pointer, metrics_of
from taskclf_dagster.domain.registry.recovery import recover
from taskclf_dagster.domain.registry.state import RegistryState, read_registry_state
from taskclf_dagster.domain.storage.signatures import NO_KEYS, Keys
from taskclf_dagster.errors import BundleError, RegistryRefusedError
from taskclf_dagster.home import Home

ROLLBACK_NOTE = "rollback"


def rollback(
    home: Home,
    *,
    to: str | None,
    reason: str,
    at: datetime,
    run_id: str | None = None,
    cause: str | None = None,
    expected_sequence: int | None = None,
    keys: Keys = NO_KEYS,
) -> ActivePointer:
    """Makes an earlier model active, without training: loads it first, writes one record, and blocks the model left until `unblock`.

    Args:
        home: the taskclf home.
        to: a model id in models/; None is the last known good model before the active one.
        reason: the person's reason, for the record.
        at: the time of the change.
        run_id: the Dagster run, for history and event.
        cause: see `ActiveHistoryEntry`; None if a person asked.
        expected_sequence: number of the last history record for which the rollback was decided; None for any.
        keys: sign the record. Without `to`, only models of signed records are restored if signatures are checked.

    Returns:
        The new pointer.

    Raises:
        RegistryRefusedError: there is no such model, or it is the active one, blocked, or does not load; or the registry changed.
    """
    what = f"Rolling back to {'the model before' if to is None else to or 'no name'}"
    with write_lock(home):
        before = read_registry_state(home, keys)
        if expected_sequence not in (None, before.history.sequence):
            changed = f"record {before.history.sequence} was written since record {expected_sequence}, for which it was decided"
            raise RegistryRefusedError(what, "registry_changed", changed, "Look again.")
        left, cut_off = before.active_model_dir, is_cut_off(before)
        recovery = recover(before, at=at, accept_unsigned=True)
        state, history, current = recovery.state, recovery.history, recovery.state.pointer
        if cut_off:
            now = "nothing" if state.active_model_dir is None else Path(state.active_model_dir).name
            raise RegistryRefusedError(
                what, "change_completed_first", f"an interrupted change was completed first, taskclf now runs {now}", "Look again."
            )
        if to is None and recovery.repaired and current is not None:
            to = current.name  # what ran was damaged, and the last known good model runs again already: this makes it a rollback
        elif to is None:
            good = find_last_known_good(state, but=left)
            if good is None:
                raise RegistryRefusedError(what, "no_other_model", "the history has no other model that can run", "Run a retrain instead.")
            to = good.name
        elif left is not None and Path(left).name == to:
            raise RegistryRefusedError(
                what, "model_active", "it is the active model", "Name another model: `taskclf-dagster list` shows them."
            )
        model = _load_for_rollback(state, to, what)
        pointer = make_pointer(to, at=at, sequence=history.sequence + 1, metrics=metrics_of(model), note=ROLLBACK_NOTE, decision_id=None)
        entry = ActiveHistoryEntry(
            at=at,
            old=current,
            new=pointer,
            action="rollback",
            reason=reason,
            run_id=run_id,
            cause=cause,
            blocks=None if left is None or Path(left).name == to else _describe_left(state, left),
            policy=find_rollback_policy(state, model, at),
        )
        commit(state, entry)
        return pointer


def unblock(home: Home, model_id: str, *, reason: str, at: datetime, keys: Keys = NO_KEYS) -> None:
    """Allows a model that a rollback left to be promoted again.

    Raises:
        RegistryRefusedError: it is not blocked.
    """
    with write_lock(home):
        state = recover(read_registry_state(home, keys), at=at).state
        if model_id not in state.history.blocked:
            listed = ", ".join(sorted(state.history.blocked)) or "nothing"
            raise RegistryRefusedError(f"Unblocking {model_id}", "model_not_blocked", "it is not blocked", f"Blocked is: {listed}.")
        pointer = state.pointer
        commit(state, ActiveHistoryEntry(at=at, old=pointer, new=pointer, action="unblock", subject=[model_id], reason=reason))


def _load_for_rollback(state: RegistryState, to: str, what: str) -> LoadedModel:
    if not is_model_id(to):
        raise RegistryRefusedError(what, "no_model_id", "it is not the id of a model", "`taskclf-dagster list` shows them.")
    if not (state.home.models / to).is_dir():
        raise RegistryRefusedError(what, "no_such_model", f"{state.home.models} has no such model", "`taskclf-dagster list` shows them.")
    if to in state.history.blocked:
        raise RegistryRefusedError(what, "model_blocked", "an earlier rollback left it", f"`taskclf-dagster unblock {to}` allows it again.")
    try:
        return state.load(f"{state.home.models.name}/{to}")
    except BundleError as error:
        raise RegistryRefusedError(
            what, "bundle_unusable", error.reason, "Name another model: `taskclf-dagster list` shows them."
        ) from error


def _describe_left(state: RegistryState, model_dir: str) -> BlockedModel:
    trees = None
    with suppress(BundleError):
        trees = state.load(model_dir).tree_hash
    return BlockedModel(model_id=Path(model_dir).name, tree_hash=trees)


def find_rollback_policy(state: RegistryState, model: LoadedModel, at: datetime) -> dict[str, object]:
    """Returns the policy of a restored model: the last that it ran with, if it is valid and its calibrators exist, else a new one."""
    model_id, checker = model.bundle.model_id, state.policy_checker
    for policy in _policies_of(state, f"{state.home.models.name}/{model_id}"):
        if checker.find_problem(policy) is None and _fits_calibrators(state.home, policy, model_id):
            return {**policy, "created_at": at.isoformat(), "source": ROLLBACK_NOTE}
    return build_policy(model, at=at, source=ROLLBACK_NOTE)


def _policies_of(state: RegistryState, model_dir: str) -> list[dict[str, object]]:
    """Returns the policies that a model ran with, the newest first.

    Those of the history, and before them those that only a receipt has, because the history did not record foreign policies before 0.2.0.
    """
    recorded = [policy for policy in state.history.policies if policy["model_dir"] == model_dir]
    times = {policy.get("created_at") for policy in recorded}
    previous = []
    for entry in reversed(state.history.moves):
        replaced = entry.old is not None and entry.old.model_dir == model_dir
        decision = read_decision(state.home, entry.decision_id) if replaced and entry.decision_id else None
        policy = None if decision is None else decision.registry.previous_policy
        if policy is not None and policy.get("model_dir") == model_dir and policy.get("created_at") not in times:
            previous.append(policy)
    return previous + recorded


def _fits_calibrators(home: Home, policy: dict[str, object], model_id: str) -> bool:
    """Returns True if a policy names no calibrators, or those in its store were fitted for this model."""
    if policy.get("calibrator_store_dir") is None:
        return True
    store = find_calibrators(home, policy).store
    return store is not None and store.model_id == model_id


def describe_block(model_id: str) -> str:
    """Returns why a model that was rolled back is refused, and what lifts the block."""
    return f"model {model_id} was rolled back, and these trees are blocked; `taskclf-dagster unblock {model_id}` allows them again"
