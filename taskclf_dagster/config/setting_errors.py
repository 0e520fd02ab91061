"""Descriptions of errors in the configuration, without a value that may be a secret."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import ValidationError

from taskclf_dagster.config.event_settings import describe_event_error
from taskclf_dagster.config.home_location_settings import explain_local_only
from taskclf_dagster.config.settings import GROUPS
from taskclf_dagster.config.sources import ConfigSource
from taskclf_dagster.config.yaml_files import flatten
from taskclf_dagster.errors import InvalidSetting
from taskclf_dagster.validation_text import describe_details

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


_SECRET = ("events", "signing", "home")
"""Keys below which a value may be a secret that was written there by mistake."""


def find_origin(error: ValidationError, sources: Sequence[ConfigSource]) -> str | None:
    """Returns the name of the first of the sources that sets a key of one of the errors; None if none does.

    Args:
        error: the error.
        sources: files, highest precedence first; the last one is the default and is never named.
    """
    keys = [_key(details) for details in error.errors()]
    return next((name for source in sources[:-1] for key in keys if (name := _find(source, key)) is not None), None)


def describe_errors(error: ValidationError, sources: Sequence[ConfigSource], *, blamed: object) -> list[InvalidSetting]:
    """Returns the key, kind and message of each error, with the source that set the key, unless that is the file to blame.

    Args:
        error: the error.
        sources: all sources, highest precedence first; the last one is the default.
        blamed: the file that the errors are reported for.
    """
    invalid = []
    for details in error.errors():
        key = _key(details)
        name = next((name for source in sources[:-1] if (name := _find(source, key)) is not None), str(blamed))
        kind, _, variable = name.partition(" ")
        origin = "" if name == str(blamed) else f"; {f'the environment variable {variable}' if kind == 'environment' else name} sets it"
        invalid.append(InvalidSetting(key, details["type"], _describe(key, details) + origin))
    return invalid


def _find(source: ConfigSource, key: str) -> str | None:
    """Returns the name of a source that sets a key or one below it."""
    below = (given for given, _ in flatten(source()) if f"{given}.".startswith(f"{key}."))
    return next((name for given in below if (name := source.describe(given)) is not None), None)


def _describe(key: str, error: "ErrorDetails") -> str:
    """Returns the message of one error, without a value that may be a secret: one below a key of _SECRET, or text under an unknown key."""
    value = error["input"]
    if error["type"] == "extra_forbidden":
        local_only = explain_local_only(key)
        if local_only is not None:
            return f"is no setting: {local_only}"
        is_harmless = isinstance(value, bool | int | float) and not key.startswith(_SECRET)
        return f"unknown key{f' (value {value!r})' if is_harmless else ''}; remove it or correct its spelling"
    if key.startswith(_SECRET):
        return describe_event_error(error)
    if error["type"] == "value_error":  # a rule of ours, whose message names the value
        return str(error["ctx"]["error"])
    return f"{describe_details(error)} (value {value!r})"


def _key(error: "ErrorDetails") -> str:
    """Returns the key with dots. A part that is no name is left out: `url:https://...` without a space is a key that may hold a secret."""
    parts = error["loc"][1:] if error["loc"] and error["loc"][0] in GROUPS else error["loc"]
    return ".".join(str(part) if re.fullmatch(r"[\w.-]{1,60}", str(part)) else "(no name)" for part in parts)
