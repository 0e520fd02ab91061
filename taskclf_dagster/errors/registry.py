"""Errors about changes of the registry: locks, the file system, and what is refused."""

from pathlib import Path
from typing import Literal

from taskclf_dagster.errors.base import TaskclfDagsterError


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


class NoActiveModelError(TaskclfDagsterError):
    """Something needs an active model, and nothing was ever promoted."""

    def __init__(self, models: Path) -> None:
        super().__init__(f"{models} has no active model to score windows with. Promote one: `taskclf-dagster retrain`, then `approve`.")


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
    "no_challenger",
    "several_awaiting",
    "bundle_unusable",
    "present_policy",
    "not_signed",
    "history_unreadable",
    "active_model_changed",
    "registry_changed",
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
