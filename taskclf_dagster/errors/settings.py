"""Errors about the configuration, signing keys, and the as-of time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from taskclf_dagster.errors.base import TaskclfDagsterError


@dataclass(frozen=True)
class InvalidSetting:
    """One reason why a configuration cannot be used.

    Attributes:
        key: the key, inner keys with dots; "" for the whole file.
        kind: pydantic's type of the error, such as `int_type` or `extra_forbidden`; for the whole file `file` (unreadable), `yaml` or
            `mapping`; in the settings file of a home also `protected`, `signed`, `not_editable` or `link`; `home_only` for a
            key that is set in that file only.
        message: the rule, and the value unless it may be a secret.
    """

    key: str
    kind: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message


class SettingsError(TaskclfDagsterError):
    """A configuration cannot be read, or has an unknown key, a wrong type or a value out of bounds; all of them are listed.

    Attributes:
        path: the file.
        invalid: what is wrong with it.
    """

    def __init__(self, path: Path, invalid: list[InvalidSetting], *, fix: str | None = None) -> None:
        self.path = path
        self.invalid = invalid
        if [setting.kind for setting in invalid] == ["file"]:
            fix = fix or "Correct its path, or make one with `taskclf-dagster init`"
            super().__init__(f"The configuration file {path} cannot be read: {invalid[0].message}. {fix}.")
            return
        lines = "\n".join(f"  - {setting}" for setting in invalid)
        explained = "Every key is explained in configs/retrain.yaml, and in the file that `taskclf-dagster init` writes."
        super().__init__(f"{path} is not a valid retrain configuration:\n{lines}\n{explained}")


class StaleSettingsError(TaskclfDagsterError):
    """The settings file of a home has changed since the caller read it; nothing was written.

    Attributes:
        etag: that of the present file.
    """

    def __init__(self, path: Path, etag: str) -> None:
        self.etag = etag
        super().__init__(f"{path} has changed since it was read, so nothing was written. Read the settings again, and repeat the change.")


class AsOfError(TaskclfDagsterError):
    """The as-of time is not an ISO 8601 date or time."""

    def __init__(self, value: str) -> None:
        examples = "such as 2026-02-04 or 2026-02-04T06:00:00+01:00"
        super().__init__(f"as_of is {value!r}, but must be an ISO 8601 date or time {examples}, from 1990 on.")


class SigningKeyError(TaskclfDagsterError):
    """A key of signed promotions cannot be used. The message never repeats a key.

    Attributes:
        kind: missing; inside_home; not_a_key; untrusted if its public key is not in signing.public_key.
    """

    def __init__(self, kind: Literal["missing", "inside_home", "not_a_key", "untrusted"], problem: str, fix: str) -> None:
        self.kind = kind
        super().__init__(f"Promotions cannot be signed: {problem}. {fix}.")


class PolicyError(TaskclfDagsterError):
    """A policy cannot take part in a replay."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"Policy {name} cannot be replayed: {reason.rstrip('.')}.")


class ReplayRangeError(TaskclfDagsterError):
    """The days of a replay are empty, or hold nothing to replay."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(f"Nothing can be replayed: {reason}. {fix}.")
