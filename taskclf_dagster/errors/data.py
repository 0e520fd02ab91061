"""Errors about files, windows, snapshots, and the records of steps."""

from pathlib import Path
from typing import TYPE_CHECKING

from taskclf_dagster.errors.base import TaskclfDagsterError

if TYPE_CHECKING:
    from upath import UPath


class NoWindowsError(TaskclfDagsterError):
    """No feature partition lies in the look-back range."""

    def __init__(self, folder: "Path | UPath", start: str, end: str, passed_over: str = "") -> None:
        super().__init__(
            f"{folder} holds no feature partition from {start} to {end} (UTC days). Let taskclf record some days, raise "
            f"data_lookback_days, or give an earlier --as-of.{f' {passed_over}.' if passed_over else ''}"
        )


class UnreadableFileError(TaskclfDagsterError):
    """A file exists but cannot be read as what it should be."""

    def __init__(self, path: "Path | UPath", reason: str, fix: str) -> None:
        self.path, self.reason, self.fix = path, reason, fix
        super().__init__(f"{path} cannot be read: {reason.rstrip('.')}. {fix}")


class DeniedFileError(UnreadableFileError):
    """An object store does not let a file be read, which says nothing about the file: no setting leaves it out."""


class UnsafeUserIdError(TaskclfDagsterError):
    """The id of a user cannot be the name of a file: it is a path, too long, or no text; nothing was written."""

    def __init__(self, user: str, reason: str) -> None:
        shown = user if len(user) <= 80 else f"{user[:80]}..."
        super().__init__(f"The user id {shown!r} cannot name a file: {reason}. Give the user another id in taskclf.")


class LabelColumnsError(UnreadableFileError):
    """The label store can be read, but not the columns of its spans."""


class DataContractError(TaskclfDagsterError):
    """A later step was asked to work on input that its blocking checks had refused."""

    def __init__(self, asset: str, findings: list[str]) -> None:
        lines = "\n".join(f"  - {finding}" for finding in findings)
        super().__init__(f"The latest {asset} failed its checks and must not be used:\n{lines}\nMend this and materialize {asset} again.")


class SnapshotError(TaskclfDagsterError):
    """A dataset snapshot is missing or its contents do not match its hash."""

    def __init__(self, path: "Path | UPath", reason: str, fix: str = "Materialize dataset_snapshot again") -> None:
        self.reason = reason
        super().__init__(f"Dataset snapshot {path} cannot be used: {reason.rstrip('.')}. {fix}.")


class RecordNotFoundError(TaskclfDagsterError):
    """An asset was launched alone and the record of its upstream asset does not exist."""

    def __init__(self, asset: str, folder: Path) -> None:
        super().__init__(f"{asset} has never been materialized for this home: no record in {folder}. Materialize {asset} first.")


class RecordsDoNotMatchError(TaskclfDagsterError):
    """Records of different runs or settings were about to be judged together."""

    def __init__(self, findings: list[str]) -> None:
        lines = "\n".join(f"  - {finding}" for finding in findings)
        super().__init__(f"These records do not belong together, so nothing was decided:\n{lines}\nMaterialize the whole graph again.")
