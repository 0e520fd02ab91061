"""Descriptions of errors in the configuration, without a value that may be a secret."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import ValidationError

from taskclf_dagster.config.environment import find_overrides
from taskclf_dagster.config.event_settings import describe_event_error
from taskclf_dagster.config.settings import GROUPS
from taskclf_dagster.errors import InvalidSetting
from taskclf_dagster.validation_text import describe_details

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


_SECRET = ("events", "signing")
"""Keys below which a value may be a secret that was written there by mistake."""


def describe_errors(error: ValidationError, environ: Mapping[str, str]) -> list[InvalidSetting]:
    """Returns the key, kind and message of each error, with the environment variable that set the key, if one did."""
    overrides = find_overrides(environ)
    invalid = []
    for details in error.errors():
        key = _key(details)
        origin = f"; the environment variable {overrides[key][0]} sets it" if key in overrides else ""
        invalid.append(InvalidSetting(key, details["type"], _describe(key, details) + origin))
    return invalid


def _describe(key: str, error: "ErrorDetails") -> str:
    """Returns the message of one error, without a value that may be a secret: one below events or signing, or text under an unknown key."""
    value = error["input"]
    if error["type"] == "extra_forbidden":
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
