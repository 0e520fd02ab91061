"""Describes in plain sentences what pydantic found wrong with a value: what was expected, never the value, which may be a secret."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_SENTENCES: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": "is not known",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be a text",
    "string_too_short": "must have {min_length} characters or more",
    "string_too_long": "must have {max_length} characters or fewer",
    "string_pattern_mismatch": "must match {pattern}",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "literal_error": "must be {expected}",
    "none_required": "must be null",
    "too_short": "must have {min_length} entries or more",
    "too_long": "must have {max_length} entries or fewer",
    "timezone_aware": "must be a time with an offset from UTC",
}
"""A sentence for each type of error, with the keys of its context."""


_STARTS: Mapping[str, str] = {"datetime": "must be an ISO date and time", "date": "must be an ISO date", "path": "must be a path"}
"""Sentences for types of errors by the word that they begin with."""


def describe_validation_error(error: ValidationError) -> str:
    """Returns the first thing that is wrong: the field with dots, and what it must be."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    return f"{field or 'it'} {describe_details(first)}"


def describe_details(details: "ErrorDetails") -> str:
    """Returns what a value must be, as the end of a sentence that begins with its name."""
    kind, context = details["type"], details.get("ctx", {})
    if kind in ("value_error", "assertion_error"):  # a rule of ours
        return f"is not valid: {context['error']}"
    sentence = _SENTENCES.get(kind) or _STARTS.get(kind.partition("_")[0])
    return f"is not valid: {details['msg']}" if sentence is None else sentence.format_map(_Shown(context))


class _Shown(dict[str, Any]):
    """The context of an error, with numbers as people write them."""

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        return f"{value:g}" if isinstance(value, float) else value
