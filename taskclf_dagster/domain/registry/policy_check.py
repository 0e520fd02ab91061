"""Checks the inference policy: its document, what it refers to, and the policy that the history recorded.

A program that writes the policy gives it a new created_at. So a valid policy with a time of its own is a foreign change, which `recovery`
adopts, and one that keeps the time of a recorded policy was damaged or edited in place. A policy that was deleted while the pointer can be
read is a foreign change as well (`taskclf policy remove`): taskclf goes on with the pointer and its default threshold. Nothing here writes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from taskclf_dagster.domain.models.bundle_paths import resolve_model_dir
from taskclf_dagster.domain.models.calibrator_store import is_named_by, parse_calibrator_store
from taskclf_dagster.domain.registry.applied_calibrators import is_ours
from taskclf_dagster.domain.registry.bundle_cache import BundleCache
from taskclf_dagster.domain.registry.history import History
from taskclf_dagster.domain.registry.inference_policy import PolicyFile
from taskclf_dagster.errors import BundleError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import rounded_pair
from taskclf_dagster.validation_text import describe_validation_error

PolicyField = Literal[
    "policy_version",
    "model_dir",
    "model_schema_hash",
    "model_label_set",
    "calibrator_store_dir",
    "calibration_method",
    "reject_threshold",
    "per_user_reject_thresholds",
    "created_at",
    "source",
    "git_commit",
]
"""The keys of the policy (contract, section 12)."""


PolicyProblemKind = Literal["unreadable", "edited_in_place", "model", PolicyField]
"""A field whose value is not valid; model: its bundle cannot run; edited_in_place: the history has another policy."""


PolicyStatus = Literal["absent", "removed", "recorded", "foreign", "damaged"]


_NO_MODEL_KINDS = frozenset({"unreadable", "model", "model_dir"})
"""Problems because of which taskclf goes on without the policy; with any other one it runs its model nevertheless."""


_Threshold = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _PolicyDocument(BaseModel):
    """The policy as taskclf reads it, with the bounds of the contract; other keys are allowed, because taskclf may write more."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    policy_version: Literal["v1"] = "v1"
    model_dir: str
    model_schema_hash: str
    model_label_set: list[str]
    calibrator_store_dir: str | None = None
    calibration_method: Literal["temperature", "isotonic"] | None = None
    reject_threshold: _Threshold
    per_user_reject_thresholds: dict[str, _Threshold] | None = None
    created_at: str | None = None
    source: str = "manual"
    git_commit: str = ""

    @field_validator("created_at")
    @classmethod
    def _is_a_time(cls, value: str | None) -> str | None:
        if value is not None:
            datetime.fromisoformat(value)
        return value


@dataclass(frozen=True)
class PolicyProblem:
    """The first problem of a policy.

    Attributes:
        kind: the field, or what is wrong with the whole.
        detail: a sentence for a person, without the name of the file.
    """

    kind: PolicyProblemKind
    detail: str


@dataclass(frozen=True)
class PolicyCheck:
    """The inference policy, compared with the history.

    Attributes:
        status: recorded if the file is the policy of the history; foreign if another program wrote a valid one; damaged if it is neither,
            of these; absent if there is none and the history has none; removed if another program removed it, which is not recorded yet.
            The starter template of taskclf counts as no policy.
        problem: None unless taskclf must not follow the file, or cannot.
        in_force: the policy that holds: the file, or the recorded one if the file is damaged. None without either.
    """

    status: PolicyStatus
    problem: PolicyProblem | None
    in_force: dict[str, object] | None

    @property
    def names_no_model(self) -> bool:
        """True if the file is there and names no bundle that can run."""
        return self.problem is not None and self.problem.kind in _NO_MODEL_KINDS

    @property
    def applied(self) -> dict[str, object] | None:
        """The policy in force; None if the file names no bundle that can run, because taskclf knows no recorded policy."""
        return None if self.names_no_model else self.in_force

    @property
    def is_none(self) -> bool:
        """True if there is no policy: taskclf runs what the pointer names, with its default threshold."""
        return self.status in ("absent", "removed")

    @property
    def model_dir(self) -> str | None:
        """The bundle that the policy in force names, relative to the home; None without a policy."""
        return None if self.in_force is None else str(self.in_force["model_dir"])


class PolicyChecker:
    """Checks policies of one home at one moment; bundles are read at most once.

    Attributes:
        pointer_dir: the bundle that the active pointer names; None if there is none.
    """

    def __init__(self, home: Home, history: History, bundles: BundleCache, *, pointer_dir: str | None) -> None:
        self.home, self.history, self.bundles, self.pointer_dir = home, history, bundles, pointer_dir

    def check(self, file: PolicyFile, *, is_waiting: Callable[[], bool]) -> PolicyCheck:
        """Compares the policy with the history.

        Args:
            file: models/inference_policy.json.
            is_waiting: returns True if the last recorded change was interrupted, so that the policy before it may still be in the file.
        """
        states = self.history.policy_states
        if not file.exists or file.is_template:
            return self._check_without_policy(states, is_waiting)
        document = file.document
        if document is None:
            return self._damaged(PolicyProblem("unreadable", f"is damaged: {'' if file.file.error is None else file.file.error.reason}"))
        if document in states[:1] or (document in states[1:2] and is_waiting()):
            return PolicyCheck("recorded", self.find_problem(document), document)
        problem = find_document_problem(document) or self._find_edit(document, self.history.policies)
        if problem is not None:
            return self._damaged(problem)
        problem = self.find_problem(document)
        if problem is None:
            return PolicyCheck("foreign", None, document)
        return self._damaged(problem, otherwise=None if problem.kind in _NO_MODEL_KINDS else document)

    def _check_without_policy(self, states: list[dict[str, object] | None], is_waiting: Callable[[], bool]) -> PolicyCheck:
        """Returns the status without a policy. Beside a pointer that cannot be read nothing follows from it: both are restored together."""
        if not states or states[0] is None or self.pointer_dir is None:
            return PolicyCheck("absent", None, None)
        if is_waiting():
            return PolicyCheck("absent", None, self.find_recorded(self.pointer_dir))
        return PolicyCheck("removed", None, None)

    def find_problem(self, document: dict[str, object]) -> PolicyProblem | None:
        """Returns the first problem of a policy and of what it refers to; None if taskclf can follow it."""
        return find_document_problem(document) or self._find_model_problem(document) or self._find_calibrator_problem(document)

    def find_recorded(self, model_dir: str | None) -> dict[str, object] | None:
        """Returns the newest recorded policy of a model that can still be followed; None if there is none, or it was removed since."""
        return next((policy for policy in self.history.policies_of(model_dir) if self.find_problem(policy) is None), None)

    def _damaged(self, problem: PolicyProblem, *, otherwise: dict[str, object] | None = None) -> PolicyCheck:
        recorded = self.history.policies
        model_dir = self.pointer_dir or (str(recorded[0].get("model_dir")) if recorded else None)
        return PolicyCheck("damaged", problem, self.find_recorded(model_dir) or otherwise)

    def _find_edit(self, document: dict[str, object], recorded: list[dict[str, object]]) -> PolicyProblem | None:
        """Returns a problem if a policy differs from a recorded one and keeps its time; the exact policy of an earlier record has none."""
        if not recorded or document in recorded:
            return None
        written = document.get("created_at")
        same = recorded[0] if written is None else next((policy for policy in recorded if policy.get("created_at") == written), None)
        if same is None:
            return None
        changed = sorted(key for key in {*document, *same} if document.get(key) != same.get(key))
        pairs = {key: rounded_pair(document.get(key), same.get(key)) for key in changed}
        values = "; ".join(f"{key} is {found}, recorded is {before}" for key, (found, before) in pairs.items())
        return PolicyProblem("edited_in_place", f"was changed after it was written: {values}")

    def _find_model_problem(self, document: dict[str, object]) -> PolicyProblem | None:
        model_dir = str(document["model_dir"])
        try:
            folder = resolve_model_dir(self.home, model_dir)
        except BundleError as error:
            return PolicyProblem("model_dir", f"names {model_dir}: {error.reason}")
        broken = self.bundles.problem(folder)
        if broken is not None:
            return PolicyProblem("model", f"names {model_dir}: {broken.detail if broken.code == 'manifest' else broken.reason}")
        metadata = self.bundles.parsed(folder).require()
        if document["model_schema_hash"] != metadata.schema_hash:
            found = f"model_schema_hash is {document['model_schema_hash']}, that of {model_dir} is {metadata.schema_hash}"
            return PolicyProblem("model_schema_hash", f"is of another model: {found}")
        if sorted(cast("list[str]", document["model_label_set"])) != sorted(metadata.label_set):
            return PolicyProblem("model_label_set", f"is of another model: model_label_set is not the one of {model_dir}")
        return None

    def _find_calibrator_problem(self, document: dict[str, object]) -> PolicyProblem | None:
        """Returns a problem of the calibrator store: taskclf follows no policy whose store is missing or of another schema."""
        value = document.get("calibrator_store_dir")
        if value is None:
            return None
        where = f"names the calibrator store {value}"
        try:
            folder = resolve_model_dir(self.home, str(value))
            store, digest = parse_calibrator_store(folder)
        except BundleError:
            return PolicyProblem("calibrator_store_dir", f"{where}, which is not within the home")
        except UnreadableFileError as error:
            return PolicyProblem("calibrator_store_dir", f"{where}: {error}")
        fits = {
            "model_schema_hash": (store.schema_hash, document["model_schema_hash"]),
            "model_bundle_id": (store.model_id, Path(str(document["model_dir"])).name),
        }
        for key, (found, expected) in fits.items():
            if found not in (None, expected):
                return PolicyProblem("calibrator_store_dir", f"{where}, whose {key} is {found} instead of {expected}")
        if is_ours(self.home, folder) and not is_named_by(folder, digest):
            return PolicyProblem("calibrator_store_dir", f"{where}, which was changed after it was written")
        return None


def find_document_problem(document: dict[str, object]) -> PolicyProblem | None:
    """Returns the first field of a policy that is missing or not valid; reads nothing."""
    try:
        _PolicyDocument.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name, value = str(first["loc"][0]), document.get(str(first["loc"][0]))
        if first["type"] == "missing":
            return PolicyProblem(_kind(name), f"names no {name}")
        return PolicyProblem(_kind(name), f"is not valid: {describe_validation_error(error)} (value {value!r})")
    return None


def _kind(name: str) -> PolicyProblemKind:
    return cast("PolicyField", name) if name in get_args(PolicyField) else "unreadable"
