"""The champion: which model taskclf runs, found the way taskclf finds it, or the next best that loads (contract, section 8).

Readers only: nothing here writes. Changing what taskclf runs belongs to `registry`.
"""

from dataclasses import dataclass, field, replace

from taskclf_dagster.domain.decision.references import ChampionSource, ChampionState
from taskclf_dagster.domain.models.bundle import LoadedModel, load_bundle
from taskclf_dagster.domain.models.bundle_paths import resolve_model_dir
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.pointer import MAX_POINTER_BYTES, read_active
from taskclf_dagster.domain.registry.ranking import ExclusionRecord, find_best_loadable_model
from taskclf_dagster.domain.storage.files import read_json_object
from taskclf_dagster.errors import BundleError, UnreadableFileError
from taskclf_dagster.home import Home


@dataclass(frozen=True)
class Champion:
    """The model a challenger is compared with.

    Attributes:
        state: ok; none where nothing was ever promoted; unreadable or incompatible where what taskclf runs cannot be loaded and the
            history holds nothing that can.
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


def resolve_active_model(home: Home) -> Champion:
    """Finds what taskclf runs, and loads it; never writes.

    The inference policy's model where there is a policy, else the pointer's. If that cannot be loaded: the last model of the history
    that can. Without pointer and policy: the last known good of the history, else the best by rank, else none.
    """
    warnings: list[str] = []
    policy_dir = read_policy_dir(home, warnings)
    pointer_dir, pointer_problem = read_pointer_dir(home)
    if policy_dir and pointer_dir and policy_dir != pointer_dir:
        names = f"{home.inference_policy.name} names {policy_dir}, {home.active_pointer.name} names {pointer_dir}"
        warnings.append(f"{names}: taskclf runs the first")
    if policy_dir and pointer_problem:
        warnings.append(f"{pointer_problem} taskclf runs what the policy names.")
    named = policy_dir or pointer_dir
    source: ChampionSource = "policy" if policy_dir else "pointer"
    problem = None if policy_dir else pointer_problem
    state: ChampionState = "unreadable"
    if named is not None:
        try:
            model = load_bundle(resolve_model_dir(home, named))
        except BundleError as error:
            problem = error.reason
            state = "incompatible" if error.kind == "incompatible" else "unreadable"
        else:
            model = _with_policy_threshold(home, model, warnings) if policy_dir else model
            return Champion("ok", source, model, named, f"named by the {source}", warnings)
    if problem is not None:
        warnings.append(f"what the {source} names cannot be used ({problem}): falling back to the last known good model of the history")
    good = _last_known_good(home, named, warnings)
    if good is not None:
        return good
    if problem is not None:
        return Champion(state, source, None, named, problem, warnings)
    return _best_by_rank(home, warnings)


def _last_known_good(home: Home, broken: str | None, warnings: list[str]) -> Champion | None:
    """The last model of the history that loads and was not rolled back, other than the one known to be broken."""
    history = read_history(home)
    warnings.extend(f"{home.active_history.name}, line {number}: {problem}" for number, problem in history.open_problems.items())
    for pointer in {entry.new.model_dir: entry.new for entry in reversed(history.moves) if entry.new is not None}.values():
        model_dir = pointer.model_dir
        if model_dir == broken or pointer.name in history.blocked:
            continue
        try:
            model = load_bundle(resolve_model_dir(home, model_dir))
        except BundleError as error:
            warnings.append(f"{model_dir} of the history cannot be used ({error.reason})")
            continue
        return Champion("ok", "last_known_good", model, model_dir, "last model of the history that loads", warnings)
    return None


def _best_by_rank(home: Home, warnings: list[str]) -> Champion:
    """The best bundle by stored score; without any, none, or unreadable where the history says that there was one."""
    best, report = find_best_loadable_model(home.models, blocked=read_history(home).blocked)
    warnings.extend(f"{record.path} is left out: {record.reason}" for record in report.excluded)
    if best is not None:
        reason = "no pointer and no model of a history that loads: the best by stored validation score"
        model_dir = f"{home.models.name}/{best.model_id}"
        return Champion("ok", "best_by_rank", load_bundle(best.path), model_dir, reason, warnings, report.excluded)
    if home.active_history.exists() and home.active_history.stat().st_size:
        reason = "the history names models, but none of them loads"
        return Champion("unreadable", "last_known_good", None, None, reason, warnings, report.excluded)
    return Champion("none", "none", None, None, "no model was ever promoted", warnings, report.excluded)


def _with_policy_threshold(home: Home, model: LoadedModel, warnings: list[str]) -> LoadedModel:
    """The model with the reject threshold that taskclf applies: the policy's, where it has one."""
    policy = read_json_object(home.inference_policy)
    threshold = policy.get("reject_threshold")
    if policy.get("calibration_method") is not None:
        warnings.append("taskclf calibrates this model's probabilities; the comparison uses them as they are")
    if not isinstance(threshold, int | float) or not 0 <= threshold <= 1 or threshold == model.reject_threshold:
        return model
    warnings.append(f"the policy's reject threshold {threshold:g} is used, as taskclf does; the bundle says {model.reject_threshold:g}")
    return replace(model, reject_threshold=float(threshold))


def read_policy_dir(home: Home, warnings: list[str]) -> str | None:
    """The model_dir of the inference policy; None where there is none, and a warning where the file cannot be used."""
    if not home.inference_policy.exists():
        return None
    try:
        model_dir = read_json_object(home.inference_policy, max_bytes=MAX_POINTER_BYTES).get("model_dir")
    except UnreadableFileError as error:
        warnings.append(f"{error} The active pointer is used instead.")
        return None
    if not isinstance(model_dir, str):
        warnings.append(f"{home.inference_policy.name} names no model_dir; the active pointer is used instead")
        return None
    return model_dir


def read_pointer_dir(home: Home) -> tuple[str | None, str | None]:
    """The model_dir of the pointer, and why the pointer cannot be read."""
    try:
        pointer = read_active(home)
    except UnreadableFileError as error:
        return None, str(error)
    return (None, None) if pointer is None else (pointer.model_dir, None)
