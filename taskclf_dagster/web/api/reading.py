"""Reads requests: the body as JSON within limits, forms, parameters, and which type of answer is wanted."""

import math
import re
from collections.abc import Iterable
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers, QueryParams
from starlette.requests import ClientDisconnect, Request

from taskclf_dagster.domain.storage.json_files import has_half_character, parse_json
from taskclf_dagster.errors import InvalidField, RequestRefusedError
from taskclf_dagster.validation_text import describe_details
from taskclf_dagster.web.api.forms import PATTERN_WORDS

MAX_BODY_BYTES = 64 * 1024


MAX_BODY_DEPTH = 16
"""Objects and arrays within each other."""


JSON = "application/json"


_Model = TypeVar("_Model", bound=BaseModel)


async def read_body(request: Request) -> object:
    """Returns the JSON value of a body.

    Raises:
        RequestRefusedError: it is not declared as JSON (415), is too large (413), or is not JSON that can be read (400).
    """
    _require_json(request.headers)
    content = b""
    try:
        async for part in request.stream():
            content += part
            if len(content) > MAX_BODY_BYTES:
                raise RequestRefusedError("too_large", f"The body has more than {MAX_BODY_BYTES} bytes.")
    except ClientDisconnect as error:
        raise RequestRefusedError("unreadable_request", "The body ends too early.") from error
    if not content.strip():
        raise RequestRefusedError("unreadable_request", "The body is empty; {} is the least.")
    try:
        value = parse_json(content, max_depth=MAX_BODY_DEPTH)
    except ValueError as error:
        raise RequestRefusedError("unreadable_request", f"The body is not JSON that can be read: {error}.") from error
    _require_interchangeable(value)
    return value


def parse_form(form: type[_Model], value: object) -> _Model:
    """Returns a body as a form.

    Raises:
        RequestRefusedError: it is not valid (422); the error names every part.
    """
    return _validate(form, value, "#/")


def parse_query(query: type[_Model], params: QueryParams) -> _Model:
    """Returns the parameters of a query; those that are not known are ignored.

    Raises:
        RequestRefusedError: a known one is not valid, or comes twice (422).
    """
    names = [name for name in query.model_fields if name in params]
    repeated = [InvalidField(name, "is given more than once") for name in names if len(params.getlist(name)) > 1]
    if repeated:
        raise refuse_fields(repeated)
    return _validate(query, {name: params[name] for name in names}, "")


def refuse_fields(fields: Iterable[InvalidField]) -> RequestRefusedError:
    """Returns the error that names the parts of a request that are not valid."""
    found = list(fields)
    summary = "; ".join(f"{field.place.removeprefix('#/')} {field.detail}".strip() for field in found)
    return RequestRefusedError("invalid", f"{summary}.", fields=found)


def make_pointer(*parts: str | int) -> str:
    """Returns a JSON pointer into the body, as a fragment."""
    return "#/" + "/".join(str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def require_acceptable(headers: Headers) -> None:
    """Checks that the client takes JSON.

    Raises:
        RequestRefusedError: it names types, and JSON is none of them (406).
    """
    wanted = headers.get("accept", "").strip()
    ranges = [part.strip().lower() for part in wanted.split(",") if part.strip()]
    if ranges and not any(map(_takes_json, ranges)):
        raise RequestRefusedError("not_acceptable", f"Answers are {JSON}, which the header Accept does not allow.")


def _takes_json(media_range: str) -> bool:
    kind, *parameters = (part.strip() for part in media_range.split(";"))
    if kind not in (JSON, "application/*", "*/*"):
        return False
    weights = [value.strip() for name, _, value in (part.partition("=") for part in parameters) if name.strip() == "q"]
    return not any(re.fullmatch(r"0(\.0*)?", weight) for weight in weights)


def _require_json(headers: Headers) -> None:
    declared = headers.get("content-type", "")
    kind, *parameters = (part.strip().lower() for part in declared.split(";"))
    charsets = [value.strip(' "') for name, _, value in (part.partition("=") for part in parameters) if name.strip() == "charset"]
    if kind != JSON or any(charset not in ("utf-8", "utf8") for charset in charsets):
        raise RequestRefusedError("unsupported_media_type", f"The header Content-Type must be {JSON}, in UTF-8.")
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise RequestRefusedError("unsupported_media_type", "The body must not be compressed: leave out the header Content-Encoding.")


def _require_interchangeable(value: object) -> None:
    """Checks that a value means the same to every program (RFC 7493): finite numbers, whole characters."""
    if isinstance(value, dict):
        for item in value.values():
            _require_interchangeable(item)
    elif isinstance(value, list):
        for item in value:
            _require_interchangeable(item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise RequestRefusedError("unreadable_request", "The body has a number that is not finite, or too large for a double.")
    elif isinstance(value, str) and has_half_character(value):
        raise RequestRefusedError("unreadable_request", "The body has half a character: a surrogate without its other half.")


def _validate(model: type[_Model], value: object, prefix: str) -> _Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        fields = []
        for details in error.errors():
            parts = details["loc"]
            place = make_pointer(*parts) if prefix else ".".join(map(str, parts))
            words = PATTERN_WORDS.get(details.get("ctx", {}).get("pattern", "")) or describe_details(details)
            fields.append(InvalidField("#" if prefix and not parts else place, words))
        raise refuse_fields(fields) from error
