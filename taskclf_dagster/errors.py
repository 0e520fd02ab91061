"""Every error this package raises on purpose: one base class, one subclass for each failure.

An error means that no decision could be made. A rejected model or a broken data contract is a result, not an error, and is
reported by checks. Each message names the thing, the value, the bound and the fix.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

BundleErrorCode = Literal[
    "missing_file",
    "metadata",
    "metrics",
    "confusion_matrix",
    "encoders",
    "model_text",
    "manifest",
    "artifact_hash",
    "not_loadable",
    "location",
    "not_found",
    "recipe",
    "predictions",
    "schema_hash",
    "label_set",
    "label_order",
    "model_shape",
]
"""The check of a bundle that failed."""

BundleErrorKind = Literal["invalid", "incompatible"]

INCOMPATIBLE_CODES: frozenset[BundleErrorCode] = frozenset({"schema_hash", "label_set", "label_order", "model_shape"})
"""The bundle is whole, but of another schema or label set."""


class TaskclfDagsterError(Exception):
    """Base of all errors raised by this package."""


class PathError(TaskclfDagsterError):
    """A path that a person gave has no one meaning.

    Attributes:
        kind: relative where it must be absolute; unknown_user for a `~` without a folder; no_working_directory if that was deleted.
    """

    def __init__(
        self, source: str, path: str, kind: Literal["relative", "unknown_user", "no_working_directory"], reason: str, fix: str
    ) -> None:
        self.kind = kind
        super().__init__(f"{source} is {path!r}, which cannot be used: {reason}. {fix}.")


class HomeNotFoundError(TaskclfDagsterError):
    """The folder is no taskclf home; nothing was written into it.

    Attributes:
        kind: missing if it is no folder; not_a_home if it holds nothing that a home has.
    """

    def __init__(self, home: Path, kind: Literal["missing", "not_a_home"] = "missing") -> None:
        self.kind = kind
        found = "" if kind == "missing" else ": the folder has neither data/processed nor models"
        super().__init__(
            f"There is no taskclf home at {home}{found}. Set TASKCLF_HOME to the folder that holds data/processed, or make a demo home "
            "with `taskclf-dagster demo`."
        )


InstanceErrorKind = Literal[
    "missing", "not_a_folder", "path", "unwritable", "settings", "damaged", "locked", "unreachable", "not_opened", "other_home"
]
"""The reason why a Dagster instance cannot be used."""


class InstanceError(TaskclfDagsterError):
    """The Dagster instance, which keeps the history of runs, cannot be used. Models, decisions and labels are in the home and unharmed.

    Attributes:
        kind: the reason; other_home if it is that of another home.
    """

    def __init__(self, folder: Path, kind: InstanceErrorKind, reason: str, fix: str) -> None:
        self.kind: InstanceErrorKind = kind
        super().__init__(f"The Dagster instance {folder} cannot be used: {reason.rstrip('.')}. {fix.rstrip('.')}.")


class NoWindowsError(TaskclfDagsterError):
    """No feature partition lies in the look-back range."""

    def __init__(self, folder: Path, start: str, end: str, passed_over: str = "") -> None:
        super().__init__(
            f"{folder} holds no feature partition from {start} to {end} (UTC days). Let taskclf record some days, raise "
            f"data_lookback_days, or give an earlier --as-of.{f' {passed_over}.' if passed_over else ''}"
        )


class UnreadableFileError(TaskclfDagsterError):
    """A file exists but cannot be read as what it should be."""

    def __init__(self, path: Path, reason: str, fix: str) -> None:
        self.reason = reason
        super().__init__(f"{path} cannot be read: {reason.rstrip('.')}. {fix}")


class LabelColumnsError(UnreadableFileError):
    """The label store can be read, but not the columns of its spans."""


@dataclass(frozen=True)
class InvalidSetting:
    """One reason why a configuration cannot be used.

    Attributes:
        key: the key, inner keys with dots; "" for the whole file.
        kind: pydantic's type of the error, such as `int_type` or `extra_forbidden`; for the whole file `file` (unreadable), `yaml` or
            `mapping`.
        message: the rule, and the value unless it may be a secret.
    """

    key: str
    kind: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message


class SettingsError(TaskclfDagsterError):
    """A configuration cannot be read, or has an unknown key, a wrong type or a value out of bounds; all of them are listed."""

    def __init__(self, path: Path, invalid: list[InvalidSetting]) -> None:
        self.invalid = invalid
        if [setting.kind for setting in invalid] == ["file"]:
            fix = "Correct its path, or make one with `taskclf-dagster init`"
            super().__init__(f"The configuration file {path} cannot be read: {invalid[0].message}. {fix}.")
            return
        lines = "\n".join(f"  - {setting}" for setting in invalid)
        explained = "Every key is explained in configs/retrain.yaml, and in the file that `taskclf-dagster init` writes."
        super().__init__(f"{path} is not a valid retrain configuration:\n{lines}\n{explained}")


class AsOfError(TaskclfDagsterError):
    """The as-of time is not an ISO 8601 date or time."""

    def __init__(self, value: str) -> None:
        examples = "such as 2026-02-04 or 2026-02-04T06:00:00+01:00"
        super().__init__(f"as_of is {value!r}, but must be an ISO 8601 date or time {examples}, from 1990 on.")


class DataContractError(TaskclfDagsterError):
    """A later step was asked to work on input that its blocking checks had refused."""

    def __init__(self, asset: str, findings: list[str]) -> None:
        lines = "\n".join(f"  - {finding}" for finding in findings)
        super().__init__(f"The latest {asset} failed its checks and must not be used:\n{lines}\nMend this and materialize {asset} again.")


class BundleError(TaskclfDagsterError):
    """A model bundle is invalid, or not compatible with this version of the schema.

    Attributes:
        code: which check failed.
        kind: incompatible where the bundle is whole, but of another schema or label set; invalid otherwise.
        reason: what was found.
    """

    def __init__(self, bundle: Path, code: BundleErrorCode, reason: str) -> None:
        self.code: BundleErrorCode = code
        self.kind: BundleErrorKind = "incompatible" if code in INCOMPATIBLE_CODES else "invalid"
        self.reason = reason
        super().__init__(f"Model bundle {bundle} cannot be used: {reason}.")


class SnapshotError(TaskclfDagsterError):
    """A dataset snapshot is missing or its contents do not match its hash."""

    def __init__(self, path: Path, reason: str, fix: str = "Materialize dataset_snapshot again") -> None:
        self.reason = reason
        super().__init__(f"Dataset snapshot {path} cannot be used: {reason.rstrip('.')}. {fix}.")


class RecordsDoNotMatchError(TaskclfDagsterError):
    """Records of different runs or settings were about to be judged together."""

    def __init__(self, findings: list[str]) -> None:
        lines = "\n".join(f"  - {finding}" for finding in findings)
        super().__init__(f"These records do not belong together, so nothing was decided:\n{lines}\nMaterialize the whole graph again.")


DecisionFindingKind = Literal[
    # the receipt contradicts itself
    "hash_differs",
    "id_differs",
    "file_differs",
    "not_computable",
    "verdict_does_not_follow",
    "gate_repeated",
    "gate_without_numbers",
    "gate_threshold_differs",
    "gate_does_not_follow",
    "gate_not_excused",
    "gate_of_other_kind",
    "anchor_does_not_follow",
    "comparison_without_champion",
    "comparison_inconsistent",
    "comparison_does_not_follow",
    "comparison_of_other_models",
    # computed again, something else is found
    "snapshot_differs",
    "value_differs",
    "holdout_differs",
    "champion_unusable",
    "challenger_unusable",
    # it cannot be applied
    "moves_nothing",
    "awaits_no_approval",
    "other_gates_required",
    "promoted_before",
    "bundle_missing",
    "bundle_differs",
    "bundle_unusable",
    "manifest_differs",
    "model_blocked",
    "pointer_changed",
    "pointer_changed_just_now",
    "sequence_differs",
    "policy_differs",
    "as_of_ahead",
    "history_damaged",
    "later_labels",
    "champion_differs",
    "registry_moved_on",
    "unsigned",
    "another_key",
    "altered",
    "another_home",
]
"""The check of a decision that failed."""


@dataclass(frozen=True)
class DecisionFinding:
    """One reason why a decision does not hold or cannot be applied.

    Attributes:
        kind: the check that failed.
        detail: what was found, one sentence without a full stop.
    """

    kind: DecisionFindingKind
    detail: str

    def __str__(self) -> str:
        return self.detail


class DecisionNotVerifiedError(TaskclfDagsterError):
    """A promotion decision does not hold when checked again; the pointer stays as it was.

    Attributes:
        findings: the reasons, at least one.
    """

    def __init__(self, decision_id: str, findings: list[DecisionFinding]) -> None:
        self.findings = findings
        lines = "\n".join(f"  - {finding}" for finding in findings)
        super().__init__(f"Decision {decision_id} is refused, so the pointer was not moved:\n{lines}\nRun a new retrain.")


class ReceiptNotTrustedError(DecisionNotVerifiedError):
    """A receipt is not signed with a trusted key, or is that of another home; the pointer stays as it was.

    Attributes:
        kind: unsigned; signed with another_key; altered if the signature is not that of its content; another_home.
    """

    def __init__(self, decision_id: str, finding: DecisionFinding) -> None:
        self.kind = finding.kind
        super().__init__(decision_id, [finding])


class RegistryBusyError(TaskclfDagsterError):
    """Another writer holds the registry's lock."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__(f"Another process has held {path} for {seconds:g} s. Let it end, or stop it, and try again; nothing was changed.")


class RetrainBusyError(TaskclfDagsterError):
    """Another retrain has not ended in all the time that a run may wait for it."""

    def __init__(self, holder: str, seconds: float) -> None:
        super().__init__(
            f"{holder}, and it did not end within {seconds / 60:.0f} minutes. Look at that run, or stop it; nothing was changed."
        )


class UnsafeFileSystemError(TaskclfDagsterError):
    """The file system of the home cannot keep the registry's promises."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"The file system of {path} is not safe to promote on: {reason}. Move the home to a local file system; nothing was changed."
        )


class LockFileError(TaskclfDagsterError):
    """A lock file is a folder, a link or something else that cannot be locked; nothing was changed."""

    def __init__(self, path: Path, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The lock {path} cannot be taken: {reason}. Move it away, and try again; nothing was changed.")


class RunEndedError(TaskclfDagsterError):
    """A run that is over for Dagster wanted to move the pointer; nothing was changed."""

    def __init__(self, run_id: str, status: str) -> None:
        super().__init__(f"Run {run_id} is {status} already, so nothing was moved. Launch a new retrain.")


RefusalKind = Literal[
    "folder_leaves_home",
    "other_file_system",
    "lock_unusable",
    "not_writable",
    "little_space",
    "change_completed_first",
    "no_other_model",
    "model_active",
    "model_blocked",
    "model_not_blocked",
    "no_model_id",
    "no_such_model",
    "none_awaiting",
    "several_awaiting",
    "bundle_unusable",
    "present_policy",
    "not_signed",
    "history_unreadable",
]
"""The reason why the registry refuses a change."""


class RegistryRefusedError(TaskclfDagsterError):
    """The registry was asked for a change that it must not make; nothing was changed.

    Attributes:
        kind: the reason.
    """

    def __init__(self, what: str, kind: RefusalKind, reason: str, fix: str) -> None:
        self.kind: RefusalKind = kind
        super().__init__(f"{what} is refused: {reason.rstrip('.')}. {fix}")


class RegistryNotSignedError(RegistryRefusedError):
    """The present state of the registry is not that of a record which is signed with a trusted key; nothing was changed.

    Attributes:
        part: what is not signed: the newest records, the pointer, the policy; damage if signed lines were changed; no_private_key if
            nothing could be signed.
    """

    def __init__(self, part: Literal["record", "pointer", "policy", "damage", "no_private_key"], problem: str, fix: str) -> None:
        self.part = part
        super().__init__("Changing the registry", "not_signed", problem, fix)


class SigningKeyError(TaskclfDagsterError):
    """A key of signed promotions cannot be used. The message never repeats a key.

    Attributes:
        kind: missing; inside_home; not_a_key; untrusted if its public key is not in signing.public_key.
    """

    def __init__(self, kind: Literal["missing", "inside_home", "not_a_key", "untrusted"], problem: str, fix: str) -> None:
        self.kind = kind
        super().__init__(f"Promotions cannot be signed: {problem}. {fix}.")


class ApiError(TaskclfDagsterError):
    """The web server could not be asked, or refused; a refusal says what is wrong with the question, not with the server.

    Attributes:
        refused: True for a refusal.
    """

    def __init__(self, url: str, reason: str, *, refused: bool = False) -> None:
        self.refused = refused
        words = reason.rstrip(".")
        super().__init__(
            f"What was asked of {url} is refused: {words}."
            if refused
            else f"{url} gave no answer that can be used: {words}. Does `dagster dev` run there, with the code location loaded?"
        )


class DecisionNotFoundError(TaskclfDagsterError):
    """There is no such decision record."""

    def __init__(self, decision_id: str, folder: Path) -> None:
        super().__init__(f"There is no decision {decision_id!r} in {folder}. `taskclf-dagster history` lists them.")


class ReceiptVersionError(TaskclfDagsterError):
    """A decision receipt is of a version that this program does not read."""

    def __init__(self, path: Path, version: object, expected: int) -> None:
        written = "has no receipt_version (written before 0.2.0)" if version is None else f"has receipt_version {version!r}"
        super().__init__(f"{path} {written}, and this version reads {expected} only. Read it with the version that wrote it, or retrain.")


class RecordNotFoundError(TaskclfDagsterError):
    """An asset was launched alone and the record of its upstream asset does not exist."""

    def __init__(self, asset: str, folder: Path) -> None:
        super().__init__(f"{asset} has never been materialized for this home: no record in {folder}. Materialize {asset} first.")


class SinkSettingsError(TaskclfDagsterError):
    """A sink of events cannot be used as it is configured."""

    def __init__(self, sink: str, reason: str, fix: str) -> None:
        super().__init__(f"Events cannot be sent to {sink}: {reason.rstrip('.')}. {fix}.")


SinkFailure = Literal["status", "redirect", "timeout", "connection", "password", "refused", "file", "settings"]


class SinkUnavailableError(TaskclfDagsterError):
    """A sink did not accept an event, and would not accept another one now; it is retried later."""

    def __init__(self, sink: str, reason: str, *, kind: SinkFailure) -> None:
        self.reason = reason
        self.kind = kind
        super().__init__(f"{sink} accepted no event: {reason.rstrip('.')}. Events wait and are sent again.")


class EventRefusedError(TaskclfDagsterError):
    """A sink refused one event; others may pass."""

    def __init__(self, sink: str, event_id: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{sink} refused event {event_id}: {reason.rstrip('.')}. It waits and is sent again; see the log of the receiver.")
