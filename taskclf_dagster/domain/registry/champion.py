"""The champion: the model that taskclf runs, found the way taskclf finds it, or the next best that loads (contract, section 8).

Nothing here writes.
"""

from dataclasses import dataclass, field, replace

from taskclf_dagster.domain.decision.references import ChampionSource, ChampionState
from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.registry.inference_policy import reject_threshold_in_force
from taskclf_dagster.domain.registry.ranking import ExclusionRecord, find_best_loadable_model
from taskclf_dagster.domain.registry.signed_state import UnsignedState, find_unsigned
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.errors import BundleError


@dataclass(frozen=True)
class Champion:
    """The model a challenger is compared with.

    Attributes:
        state: ok; none if nothing was ever promoted; unreadable or incompatible if the active model cannot be loaded and the
            history has no model that can.
        source: where it was found.
        model: the loaded model, exactly where the state is ok.
        warnings: everything a person should know about how it was found.
    """

    state: ChampionState
    source: ChampionSource
    model: LoadedModel | None
    model_dir: str | None
    reason: str
    warnings: list[str] = field(default_factory=list)
    excluded: list[ExclusionRecord] = field(default_factory=list)


def resolve_active_model(state: RegistryState) -> Champion:
    """Finds the active model and loads it; never writes.

    The inference policy's model where there is a policy, else the pointer's. If that cannot be loaded: the last model of the history
    that can. Without pointer and policy: the last known good of the history, else the best by rank, else none.

    If signatures are checked and pointer or policy are not those of the last signed record: the newest model of a signed record that loads.
    """
    unsigned = find_unsigned(state)
    if unsigned is not None:
        return _newest_signed(state, unsigned)
    warnings = _compare_policy_with_pointer(state)
    named = state.active_model_dir
    source: ChampionSource = "pointer" if state.policy.in_force is None else "policy"
    unreadable = state.pointer_file.error if source == "pointer" else None
    problem = None if unreadable is None else str(unreadable)
    failed_state: ChampionState = "unreadable"
    if named is not None:
        try:
            model = state.load(named)
        except BundleError as error:
            problem = error.reason
            failed_state = "incompatible" if error.kind == "incompatible" else "unreadable"
        else:
            model = _with_threshold_of_taskclf(state, model, warnings)
            return Champion("ok", source, model, named, f"named by the {source}", warnings)
    if problem is not None:
        warnings.append(f"what the {source} names cannot be used ({problem}): falling back to the last known good model of the history")
    good = _load_last_known_good(state, named, warnings)
    if good is not None:
        return good
    if problem is not None:
        return Champion(failed_state, source, None, named, problem, warnings)
    return _best_by_rank(state, warnings)


def _compare_policy_with_pointer(state: RegistryState) -> list[str]:
    """Returns a warning for each way in which policy and pointer are damaged or disagree."""
    warnings, policy, pointer = [], state.policy, state.pointer
    policy_file, pointer_file = state.home.inference_policy.name, state.home.active_pointer.name
    if policy.problem is not None:
        used = "the active pointer" if policy.in_force is None else "the recorded policy" if policy.status == "damaged" else "its model"
        warnings.append(f"{policy_file} {policy.problem.detail}; {used} is used instead")
    if policy.model_dir is not None and pointer is not None and policy.model_dir != pointer.model_dir:
        warnings.append(f"{policy_file} names {policy.model_dir}, {pointer_file} names {pointer.model_dir}: taskclf runs the first")
    if policy.model_dir is not None and state.pointer_file.error is not None:
        warnings.append(f"{state.pointer_file.error} taskclf runs what the policy names.")
    return warnings


def _newest_signed(state: RegistryState, unsigned: UnsignedState) -> Champion:
    """Returns the model of the newest signed record that loads, with its recorded policy; unreadable if there is none."""
    warnings = [f"{unsigned.detail}: the newest signed record is followed instead"]
    found = _load_last_known_good(state, None, warnings)
    if found is None or found.model is None:
        reason = f"{unsigned.detail}, and no model of a signed record loads"
        return Champion("unreadable", "last_known_good", None, state.active_model_dir, reason, warnings)
    policy = state.policy_checker.find_recorded(found.model_dir)
    threshold = reject_threshold_in_force(policy, found.model)
    return replace(found, model=replace(found.model, reject_threshold=threshold))


def _load_last_known_good(state: RegistryState, broken: str | None, warnings: list[str]) -> Champion | None:
    """Loads the last model of the history that can be loaded, other than the one known to be broken."""
    problems = state.history.open_problems.items()
    warnings.extend(f"{state.home.active_history.name}, line {number}: {problem}" for number, problem in problems)
    for pointer in state.history.known_models:
        if pointer.model_dir == broken:
            continue
        try:
            model = state.load(pointer.model_dir)
        except BundleError as error:
            warnings.append(f"{pointer.model_dir} of the history cannot be used ({error.reason})")
            continue
        return Champion("ok", "last_known_good", model, pointer.model_dir, "last model of the history that loads", warnings)
    return None


def _best_by_rank(state: RegistryState, warnings: list[str]) -> Champion:
    """Returns the best bundle by stored score; without any, none, or unreadable where the history says that there was one."""
    best, report = find_best_loadable_model(state.home.models, blocked=state.history.blocked, bundles=state.bundles)
    warnings.extend(f"{record.path} is left out: {record.reason}" for record in report.excluded)
    if best is not None:
        reason = "no pointer and no model of a history that loads: the best by stored validation score"
        model_dir = f"{state.home.models.name}/{best.bundle.model_id}"
        return Champion("ok", "best_by_rank", best, model_dir, reason, warnings, report.excluded)
    if state.history.exists:
        reason = "the history names models, but none of them loads"
        return Champion("unreadable", "last_known_good", None, None, reason, warnings, report.excluded)
    return Champion("none", "none", None, None, "no model was ever promoted", warnings, report.excluded)


def _with_threshold_of_taskclf(state: RegistryState, model: LoadedModel, warnings: list[str]) -> LoadedModel:
    """Returns the model with the reject threshold that taskclf applies: that of the policy in force, without one its default."""
    policy = state.policy.in_force
    if policy is not None and policy.get("calibration_method") is not None:
        warnings.append("taskclf calibrates this model's probabilities; the comparison uses them as they are")
    threshold = reject_threshold_in_force(policy, model)
    if threshold == model.reject_threshold:
        return model
    origin = "without a policy taskclf uses" if policy is None else "the policy's reject threshold is used, as taskclf does:"
    warnings.append(f"{origin} {threshold:g}; the bundle says {model.reject_threshold:g}")
    return replace(model, reject_threshold=threshold)
