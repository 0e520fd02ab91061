"""Finds problems of pointer, policy, models and history of one state. Nothing here writes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from taskclf_dagster.domain.registry.pointer import ActivePointer
from taskclf_dagster.domain.registry.policy_check import PolicyProblemKind
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.errors import BundleError, BundleErrorCode


@dataclass(frozen=True)
class RegistryProblem:
    """Something that keeps taskclf from running what a file names.

    Attributes:
        code: unreadable if the file itself is damaged, missing if it does not exist, else the code of the bundle's problem; for the
            inference policy the kind of its problem.
        detail: a sentence for a person.
    """

    code: Literal["unreadable", "missing"] | BundleErrorCode | PolicyProblemKind
    detail: str

    def __str__(self) -> str:
        return self.detail


@dataclass(frozen=True)
class UsablePointer:
    """The pointer, with its problem.

    Attributes:
        pointer: None if there is none that can be read.
        problem: None if the pointer can be used, or there is none.
    """

    pointer: ActivePointer | None
    problem: RegistryProblem | None


def find_model_problem(state: RegistryState, model_dir: str) -> RegistryProblem | None:
    """Returns why taskclf cannot run a model, or None. A bundle with a manifest is compared with it, any other is loaded."""
    problem = state.model_problem(model_dir)
    if problem is None:
        return None
    return RegistryProblem(problem.code, problem.detail if problem.code == "manifest" else problem.reason)


def find_pointer_problem(state: RegistryState) -> RegistryProblem | None:
    """Returns why active.json does not name a bundle that loads, or None."""
    if state.pointer_file.error is not None:
        return RegistryProblem("unreadable", str(state.pointer_file.error))
    if state.pointer is None:
        return RegistryProblem("missing", f"{state.home.active_pointer} does not exist")
    try:
        state.load(state.pointer.model_dir)
    except BundleError as error:
        return RegistryProblem(error.code, str(error))
    return None


def find_usable_pointer(state: RegistryState) -> UsablePointer:
    """Returns the pointer and why it cannot be used: it is damaged, or the bundle that it names is."""
    name, pointer = state.home.active_pointer.name, state.pointer
    if state.pointer_file.error is not None:
        return UsablePointer(None, RegistryProblem("unreadable", f"{name} cannot be read: {state.pointer_file.error.reason}"))
    problem = None if pointer is None else find_model_problem(state, pointer.model_dir)
    if pointer is None or problem is None:
        return UsablePointer(pointer, None)
    return UsablePointer(pointer, RegistryProblem(problem.code, f"{name} names {pointer.model_dir}: {problem.detail}"))


def find_policy_problem(state: RegistryState) -> RegistryProblem | None:
    """Returns why taskclf cannot or must not follow inference_policy.json, or None; a valid one of another program has no problem."""
    problem = state.policy.problem
    return None if problem is None else RegistryProblem(problem.kind, f"{state.home.inference_policy.name} {problem.detail}")


def find_history_problem(state: RegistryState) -> str | None:
    """Returns why models that ran or were rolled back may be unknown, so that nothing is promoted; None if the history is whole."""
    if not state.is_history_damaged and not state.cursor.is_ahead:
        return None
    return f"{state.home.active_history.name} is damaged, so that anchors and rolled-back models may be unknown"


def find_history_disagreement(state: RegistryState) -> str | None:
    """Returns how active.json, inference_policy.json and the last records of the history differ, or None."""
    if state.pointer_file.error is not None:
        return str(state.pointer_file.error)
    move = state.history.last_move
    last = None if move is None or move.new is None else move.new.model_dir
    pointer = None if state.pointer is None else state.pointer.model_dir
    if pointer != last:
        return f"active.json names {pointer}, the last line of the history {last}"
    if state.policy_file.exists and not state.policy.is_none and state.policy_file.model_dir != pointer:
        return f"active.json names {pointer}, inference_policy.json {state.policy_file.model_dir}"
    problem = find_policy_problem(state)
    return None if problem is None else problem.detail


def find_last_known_good(state: RegistryState, *, but: str | None = None) -> ActivePointer | None:
    """Returns the last model that ran, is not blocked, and can run now; other than that of the model_dir given."""
    excluded = None if but is None else Path(but).name
    known = (pointer for pointer in state.history.known_models if pointer.name != excluded)
    return next((pointer for pointer in known if state.model_problem(pointer.model_dir) is None), None)


def is_cut_off(state: RegistryState) -> bool:
    """Returns whether the last change of the model was recorded and then interrupted before the pointer moved."""
    last = state.history.last_move
    return last is not None and last.action not in ("repair", "calibrate") and state.is_waiting(last)
