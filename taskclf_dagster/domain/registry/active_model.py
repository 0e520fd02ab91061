"""The active model: the one that taskclf runs, found as taskclf finds it, or else the next best that can run (contract, section 8).

Status, list, fsck, repair and retrain all ask here. Nothing here writes; `champion` loads the model that is found.
taskclf knows no signatures: what it runs is found by `find_active_model`, what a retrain compares with by `find_trusted_model`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from taskclf_dagster.domain.decision.references import AppliedThreshold, ChampionSource, ChampionState
from taskclf_dagster.domain.registry.applied_calibrators import NO_CALIBRATORS, Calibrators, find_calibrators
from taskclf_dagster.domain.registry.history_record import MOVES
from taskclf_dagster.domain.registry.inference_policy import DEFAULT_REJECT_THRESHOLD, names_model
from taskclf_dagster.domain.registry.ranking import ExclusionRecord, find_best_loadable_model
from taskclf_dagster.domain.registry.signed_state import UnsignedState, find_unsigned
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.shown_text import rounded

WarningKind = Literal[
    "policy_problem",
    "pointer_problem",
    "policy_names_another_model",
    "fallback",
    "threshold_differs",
    "repair_restores",
    "not_calibrated",
    "history_damaged",
    "bundle_left_out",
    "not_signed",
]


@dataclass(frozen=True)
class ActiveModelWarning:
    """One thing that a person should know about how the active model was found.

    Attributes:
        detail: a sentence, without full stop.
    """

    kind: WarningKind
    detail: str


@dataclass(frozen=True)
class ActiveModel:
    """The model that taskclf runs.

    Attributes:
        state: ok; none if nothing was ever promoted; unreadable or incompatible if what is named cannot run, and nothing else can.
        source: where it was found.
        model_dir: its bundle, relative to the home; in another state than ok the bundle that cannot run.
        reason: why it is in this state.
        threshold: the reject threshold that taskclf applies to it; None in another state than ok.
        calibrators: what taskclf applies to its probabilities before it rejects; none in another state than ok.
    """

    state: ChampionState
    source: ChampionSource
    model_dir: str | None
    reason: str
    threshold: AppliedThreshold | None = None
    calibrators: Calibrators = NO_CALIBRATORS
    warnings: list[ActiveModelWarning] = field(default_factory=list)
    excluded: list[ExclusionRecord] = field(default_factory=list)

    @property
    def model_id(self) -> str | None:
        """The model's id; None if no model can run."""
        return Path(self.model_dir).name if self.state == "ok" and self.model_dir is not None else None

    @property
    def summary(self) -> str:
        """The model, where it was found and its reject threshold, for a person."""
        if self.threshold is None:
            return "none" if self.state == "none" else f"none can run: {self.reason}"
        return f"{self.model_id} ({SOURCE_NAMES[self.source]}; reject threshold {self.threshold.summary})"

    def details(self, *kinds: WarningKind) -> list[str]:
        """Returns the warnings of some kinds, by default all, as sentences."""
        return [warning.detail for warning in self.warnings if not kinds or warning.kind in kinds]


SOURCE_NAMES: dict[ChampionSource, str] = {
    "policy": "named by the inference policy",
    "pointer": "named by the active pointer",
    "last_known_good": "last known good model of the history",
    "best_by_rank": "best bundle by rank",
    "none": "nothing",
}
"""The sources of an active model, for a person."""


@dataclass(frozen=True)
class _Failure:
    """A file that names no model that can run."""

    source: Literal["policy", "pointer"]
    model_dir: str | None
    reason: str
    state: Literal["unreadable", "incompatible"] = "unreadable"


def find_active_model(state: RegistryState) -> ActiveModel:
    """Finds the model that taskclf runs; never writes, and raises for nothing that is in a file.

    The inference policy's model if it can run, else the pointer's, else the last model of the history that can. In a home without changes
    of ours, in which the history does not help either, taskclf ranks the bundles and runs the best: so does this.
    """
    failures: list[_Failure] = []
    for source, model_dir in _find_named(state).items():
        problem = state.model_problem(model_dir)
        if problem is None:
            return _found(state, source, model_dir, failures, f"named by the {source}")
        problem = state.content_problem(model_dir) or problem
        failures.append(_Failure(source, model_dir, problem.reason, "incompatible" if problem.kind == "incompatible" else "unreadable"))
    if state.pointer_file.error is not None:
        failures.append(_Failure("pointer", None, str(state.pointer_file.error)))
    warnings = _history_warnings(state)
    good = _find_last_known_good(state, failures, warnings)
    if good is not None:
        return _found(state, "last_known_good", good, failures, "last model of the history that can run", warnings)
    return _find_by_rank(state, failures, warnings)


def find_trusted_model(state: RegistryState) -> ActiveModel:
    """Finds the active model as `find_active_model` does.

    If signatures are checked, and pointer or policy are not those of the last signed record: the newest model of a signed record that runs.
    """
    unsigned = find_unsigned(state)
    return find_active_model(state) if unsigned is None else _find_newest_signed(state, unsigned)


def _find_named(state: RegistryState) -> dict[Literal["policy", "pointer"], str]:
    """Returns what policy and pointer name, in taskclf's order, also what cannot run."""
    named: dict[Literal["policy", "pointer"], str] = {}
    policy = state.policy_file.model_dir if state.policy.names_no_model else state.policy.model_dir
    if policy is not None:
        named["policy"] = policy
    if state.pointer is not None:
        named["pointer"] = state.pointer.model_dir
    return named


def _history_warnings(state: RegistryState) -> list[ActiveModelWarning]:
    name, problems = state.home.active_history.name, state.history.open_problems.items()
    return [ActiveModelWarning("history_damaged", f"{name}, line {number}: {problem}") for number, problem in problems]


def _find_last_known_good(state: RegistryState, failures: list[_Failure], warnings: list[ActiveModelWarning]) -> str | None:
    """Returns the last model of the history that can run, and warns of those before it that cannot."""
    failed = {failure.model_dir for failure in failures}
    for pointer in state.history.known_models:
        if pointer.model_dir in failed:
            continue
        problem = state.model_problem(pointer.model_dir)
        if problem is None:
            return pointer.model_dir
        warnings.append(ActiveModelWarning("fallback", f"{pointer.model_dir} of the history cannot be used ({problem.reason})"))
    return None


def _find_by_rank(state: RegistryState, failures: list[_Failure], warnings: list[ActiveModelWarning]) -> ActiveModel:
    """Returns the best bundle by rank in a home without changes of ours; else, and without one, the state of what cannot run."""
    excluded: list[ExclusionRecord] = []
    if not has_own_history(state):
        best, report = find_best_loadable_model(state.home.models, blocked=state.history.blocked, bundles=state.bundles)
        excluded = report.excluded
        warnings += [ActiveModelWarning("bundle_left_out", f"{record.path} is left out: {record.reason}") for record in excluded]
        if best is not None:
            model_dir = f"{state.home.models.name}/{best.bundle.model_id}"
            reason = "the best by stored validation score, because neither policy, pointer nor history names a model that can run"
            return _found(state, "best_by_rank", model_dir, failures, reason, warnings, excluded)
    warnings = [*_file_warnings(state, failures, instead=None), *warnings]
    if failures:
        first = failures[0]
        return ActiveModel(first.state, first.source, first.model_dir, first.reason, warnings=warnings, excluded=excluded)
    if state.history.exists:
        reason = "the history names models, but none of them can run"
        return ActiveModel("unreadable", "last_known_good", None, reason, warnings=warnings, excluded=excluded)
    return ActiveModel("none", "none", None, "no model was ever promoted", warnings=warnings, excluded=excluded)


def has_own_history(state: RegistryState) -> bool:
    """Returns True if the history has a change of ours, or a damaged line that may be one."""
    own = any(entry.action in MOVES and not entry.foreign for entry in state.history.entries)
    return own or bool(state.history.open_problems)


def _find_newest_signed(state: RegistryState, unsigned: UnsignedState) -> ActiveModel:
    """Returns the model of the newest signed record that can run, with its recorded policy; unreadable if there is none."""
    warnings = [ActiveModelWarning("not_signed", f"{unsigned.detail}: the newest signed record is followed instead")]
    warnings += _history_warnings(state)
    good = _find_last_known_good(state, [], warnings)
    if good is None:
        reason = f"{unsigned.detail}, and no model of a signed record can run"
        return ActiveModel("unreadable", "last_known_good", state.active_model_dir, reason, warnings=warnings)
    threshold, calibrators = _find_applied(state, good, is_in_force=False)
    warnings += _calibrator_warnings(calibrators)
    reason = "model of the newest signed record that can run"
    return ActiveModel("ok", "last_known_good", good, reason, threshold, calibrators, warnings)


def _found(
    state: RegistryState,
    source: ChampionSource,
    model_dir: str,
    failures: list[_Failure],
    reason: str,
    warnings: list[ActiveModelWarning] | None = None,
    excluded: list[ExclusionRecord] | None = None,
) -> ActiveModel:
    threshold, calibrators = _find_applied(state, model_dir, is_in_force=source != "last_known_good")
    instead = SOURCE_NAMES[source] if source in ("last_known_good", "best_by_rank") else f"what the {source} names"
    found = [*_file_warnings(state, failures, instead=instead), *(warnings or [])]
    found += [*_calibrator_warnings(calibrators), *_threshold_warnings(state, model_dir, threshold)]
    if source == "pointer":
        found.extend(_repair_warnings(state, model_dir))
    return ActiveModel("ok", source, model_dir, reason, threshold, calibrators, found, excluded or [])


def _file_warnings(state: RegistryState, failures: list[_Failure], *, instead: str | None) -> list[ActiveModelWarning]:
    """Returns a warning for each way in which policy and pointer are damaged, or disagree; `instead` is what is used in their place."""
    policy, pointer, warnings = state.policy, state.pointer, []
    policy_name, pointer_name = state.home.inference_policy.name, state.home.active_pointer.name
    failed = {failure.source for failure in failures}
    if policy.problem is not None and "policy" not in failed:
        used = "the recorded policy" if policy.applied is not None and policy.status == "damaged" else instead
        detail = f"{policy_name} {policy.problem.detail}"
        warnings.append(ActiveModelWarning("policy_problem", detail if used is None else f"{detail}; {used} is used instead"))
    if policy.applied is not None and pointer is not None and policy.model_dir != pointer.model_dir:
        detail = f"{policy_name} names {policy.model_dir}, {pointer_name} names {pointer.model_dir}: taskclf runs the first"
        warnings.append(ActiveModelWarning("policy_names_another_model", detail))
    if state.pointer_file.error is not None and "pointer" not in failed:
        detail = f"{state.pointer_file.error} taskclf runs what the policy names"
        warnings.append(ActiveModelWarning("pointer_problem", detail))
    for failure in failures:
        detail = f"what the {failure.source} names cannot be used ({failure.reason})"
        warnings.append(ActiveModelWarning("fallback", detail if instead is None else f"{detail}: {instead} is used instead"))
    return warnings


def _repair_warnings(state: RegistryState, model_dir: str) -> list[ActiveModelWarning]:
    """Returns a warning if a repair would give the model its recorded policy back, which taskclf does not know."""
    recorded = state.policy_checker.find_recorded(model_dir) if state.policy.names_no_model else None
    if recorded is None:
        return []
    threshold = rounded(_threshold_of(recorded))
    detail = f"a repair would restore the recorded policy of {Path(model_dir).name}, with reject threshold {threshold}"
    return [ActiveModelWarning("repair_restores", detail)]


def _find_applied(state: RegistryState, model_dir: str, *, is_in_force: bool) -> tuple[AppliedThreshold, Calibrators]:
    """Returns threshold and calibrators that taskclf applies to a model, or will once a repair restored it with its recorded policy.

    Both are of one policy: a threshold that was tuned on calibrated probabilities is applied to no others.
    """
    name, policy = Path(model_dir).name, state.policy.applied
    if policy is not None and is_in_force and names_model(policy, name):
        origin: Literal["policy", "recorded_policy"] = "policy" if policy == state.policy_file.document else "recorded_policy"
        return AppliedThreshold(value=_threshold_of(policy), origin=origin), find_calibrators(state.home, policy)
    recorded = None if is_in_force else state.policy_checker.find_recorded(model_dir)
    if recorded is not None:
        return AppliedThreshold(value=_threshold_of(recorded), origin="recorded_policy"), find_calibrators(state.home, recorded)
    return AppliedThreshold(value=DEFAULT_REJECT_THRESHOLD, origin="default"), NO_CALIBRATORS


def find_user_thresholds(state: RegistryState, model_id: str) -> dict[str, float]:
    """Returns the reject thresholds [0 to 1] that taskclf applies to single users by their id; empty if its policy has none."""
    policy = state.policy.applied
    own = policy.get("per_user_reject_thresholds") if policy is not None and names_model(policy, model_id) else None
    return {str(user): float(value) for user, value in own.items()} if isinstance(own, dict) else {}


def _threshold_of(policy: dict[str, object]) -> float:
    """Returns the reject threshold of a policy that was checked."""
    threshold = policy["reject_threshold"]
    return float(threshold) if isinstance(threshold, int | float) else DEFAULT_REJECT_THRESHOLD


def _threshold_warnings(state: RegistryState, model_dir: str, threshold: AppliedThreshold) -> list[ActiveModelWarning]:
    own = state.reject_threshold_of(model_dir)
    if threshold.value == own:
        return []
    return [ActiveModelWarning("threshold_differs", f"the reject threshold is {threshold.summary}; the bundle says {rounded(own)}")]


def _calibrator_warnings(calibrators: Calibrators) -> list[ActiveModelWarning]:
    return [] if calibrators.problem is None else [ActiveModelWarning("not_calibrated", calibrators.problem)]
