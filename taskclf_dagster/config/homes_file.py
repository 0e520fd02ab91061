"""The homes file: which homes one deployment serves, and limits over all of them.

TASKCLF_DAGSTER_HOMES names it. The homes themselves are in `home_directory`, which reads this file again whenever it is asked.
"""

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, ValidationError, model_validator

from taskclf_dagster.config.setting_types import Settings
from taskclf_dagster.config.yaml_files import read_mapping
from taskclf_dagster.entry_paths import HOMES_VARIABLE, make_absolute
from taskclf_dagster.errors import HomesFileError, HomesNotNamedError, InvalidSetting, SettingsError
from taskclf_dagster.validation_text import describe_details

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_HOMES = 2000


NAME_PATTERN = r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,62}"
"""The name of a home is a partition key, part of addresses, and the name of a file."""


NAME_RULE = "a name has 1 to 63 letters, digits, _, - and single dots, and begins with a letter or digit"


class HomesFile(Settings):
    """The content of a homes file.

    Attributes:
        folder: absolute path of a folder; each folder in it that is a home is served under its own name. Or else:
        homes: absolute path of each home by its name.
        max_concurrent_runs: runs that compute at a time, over all homes; of each home there is one. Rollbacks, approvals and other changes
            of a registry do not count, and have places of their own.
        tick_seconds: the time [s] after which a tick of a sensor begins with no further home; the next tick goes on from there.
    """

    folder: Annotated[str, Field(min_length=1)] | None = None
    homes: Annotated[dict[str, str], Field(min_length=1, max_length=MAX_HOMES)] | None = None
    max_concurrent_runs: Annotated[int, Field(ge=1, le=256)] = 2
    tick_seconds: Annotated[float, Field(ge=1, le=45, allow_inf_nan=False)] = 20.0

    @model_validator(mode="after")
    def _names_homes_in_one_way(self) -> "HomesFile":
        if (self.folder is None) == (self.homes is None):
            msg = "it must have one of the keys folder and homes"
            raise ValueError(msg)
        return self


def find_homes_file(chosen: str | None = None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Returns the path of the homes file: the chosen one, or else that of TASKCLF_DAGSTER_HOMES; None if there is neither.

    Raises:
        PathError: the path cannot be made absolute.
    """
    if chosen:
        return make_absolute(chosen, "--homes")
    return make_absolute(environ[HOMES_VARIABLE], HOMES_VARIABLE) if environ.get(HOMES_VARIABLE) else None


def require_homes_file(chosen: str | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """Returns the path of the homes file, as `find_homes_file`.

    Raises:
        HomesNotNamedError: neither the option nor the environment names one.
        PathError: the path cannot be made absolute.
    """
    found = find_homes_file(chosen, environ)
    if found is None:
        raise HomesNotNamedError(HOMES_VARIABLE)
    return found


def read_homes_file(path: Path) -> HomesFile:
    """Reads a homes file; one that has not changed since the last time is not parsed again.

    Raises:
        HomesFileError: it cannot be read, has an unknown key, a wrong type or a value out of bounds, or a path that is relative.
    """
    try:
        status = path.stat()
        signature = (status.st_mtime_ns, status.st_size, status.st_ino)
    except OSError:
        signature = (0, 0, 0)  # the reader says why
    return _read(path, signature)


@lru_cache(maxsize=4)
def _read(path: Path, signature: tuple[int, int, int]) -> HomesFile:
    try:
        content = read_mapping(path)
    except SettingsError as error:
        raise HomesFileError(path, error.invalid) from error
    try:
        found = HomesFile.model_validate(content)
    except ValidationError as error:
        raise HomesFileError(path, [_describe(details) for details in error.errors()]) from None
    paths = {"folder": found.folder} if found.folder is not None else {f"homes.{name}": root for name, root in (found.homes or {}).items()}
    relative = [InvalidSetting(key, "value_error", problem) for key, text in paths.items() if (problem := _find_problem(text)) is not None]
    if relative:
        raise HomesFileError(path, relative)
    return found


def _describe(error: "ErrorDetails") -> InvalidSetting:
    key, kind = ".".join(map(str, error["loc"])), error["type"]
    if kind == "value_error":
        return InvalidSetting(key, kind, str(error["ctx"]["error"]))
    value = "" if kind in ("missing", "extra_forbidden") else f" (value {error['input']!r})"
    return InvalidSetting(key, kind, describe_details(error) + value)


def _find_problem(text: str) -> str | None:
    """Returns what is wrong with the path of a folder or home; None if it is absolute."""
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        return f"{text!r} begins with the folder of an unknown user; write it without ~"
    return None if path.is_absolute() else f"{text!r} is relative; write the absolute path"
