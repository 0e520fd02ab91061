"""Answers to requests that are not met: problem details (RFC 9457), for the API and for what guards every route.

Add a kind to `errors.interfaces.RequestProblem`, and its status and title here.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import Field
from starlette.responses import Response

from taskclf_dagster.errors import InvalidField, RequestProblem, RequestRefusedError
from taskclf_dagster.shown_text import show_block
from taskclf_dagster.status.records import WireView

MEDIA_TYPE = "application/problem+json"


TYPE_PREFIX = "urn:taskclf-dagster:problem:"
"""The beginning of each problem's `type`; its kind follows, with hyphens."""


class Kind(NamedTuple):
    """Status and title of a kind of problem."""

    status: int
    title: str


KINDS: Mapping[RequestProblem, Kind] = {
    "unreadable_request": Kind(400, "The request cannot be read"),
    "foreign_host": Kind(400, "This server has another name"),
    "not_signed_in": Kind(401, "A token is needed"),
    "forbidden": Kind(403, "The request is not allowed"),
    "foreign_page": Kind(403, "A page of another site asked"),
    "page_token": Kind(403, "The token of the page is missing"),
    "read_only": Kind(403, "This server changes nothing"),
    "not_found": Kind(404, "There is no such thing"),
    "method_not_allowed": Kind(405, "The method is not allowed"),
    "not_acceptable": Kind(406, "No answer of the wanted type"),
    "retrain_under_way": Kind(409, "Another retrain is under way"),
    "change_under_way": Kind(409, "Another change of the model is under way"),
    "not_possible": Kind(409, "This cannot be done now"),
    "changed_meanwhile": Kind(412, "It was changed meanwhile"),
    "too_large": Kind(413, "The request is too large"),
    "unsupported_media_type": Kind(415, "The body must be JSON"),
    "invalid": Kind(422, "The request is not valid"),
    "precondition_required": Kind(428, "If-Match is required"),
    "too_many": Kind(429, "Too many wrong tokens"),
    "internal": Kind(500, "The server failed"),
    "unavailable": Kind(503, "Home or configuration cannot be read"),
}


class InvalidPart(WireView):
    """A part of a request that is not valid.

    Attributes:
        pointer: JSON pointer into the body, as a fragment.
        field: name of the parameter or header.
        detail: what it must be.
    """

    pointer: str | None = None
    field: str | None = None
    detail: str


class ProblemDetails(WireView):
    """The reason why a request was not met.

    Attributes:
        type: the kind of problem, a URN that does not change.
        title: the kind in a few words.
        kind: the last part of `type`, with underscores.
        status: the HTTP status.
        detail: what happened here, and what to do.
        instance: path of the request.
        errors: the parts of the request that are not valid.
    """

    type: str = Field(examples=[f"{TYPE_PREFIX}retrain-under-way"])
    title: str = Field(examples=["Another retrain is under way"])
    kind: str = Field(examples=["retrain_under_way"])
    status: int = Field(ge=400, le=599, examples=[409])
    detail: str = Field(examples=["A retrain is queued already: run 5f0c..., since 2026-02-04 06:00:00 UTC."])
    instance: str | None = Field(None, examples=["/api/ml/retrain/trigger"])
    errors: list[InvalidPart] | None = None


def type_of(kind: RequestProblem) -> str:
    """Returns the URN of a kind of problem."""
    return TYPE_PREFIX + kind.replace("_", "-")


def answer_problem(
    kind: RequestProblem, detail: str, *, path: str, fields: Sequence[InvalidField] = (), headers: Mapping[str, str] | None = None
) -> Response:
    """Returns the answer to a request that is not met.

    Args:
        kind: the reason.
        detail: what happened, and what to do.
        path: of the request.
        fields: the parts of the request that are not valid.
        headers: of the answer.
    """
    parts = [
        InvalidPart(pointer=part.place, detail=show_block(part.detail))
        if part.place.startswith("#")
        else InvalidPart(field=part.place, detail=show_block(part.detail))
        for part in fields
    ]
    found = KINDS[kind]
    details = ProblemDetails(
        type=type_of(kind),
        title=found.title,
        kind=kind,
        status=found.status,
        detail=show_block(detail),
        instance=path,
        errors=parts or None,
    )
    content = details.model_dump_json(by_alias=True, exclude_none=True)
    return Response(content, found.status, {"Cache-Control": "no-store", **(headers or {})}, MEDIA_TYPE)


def answer_refusal(error: RequestRefusedError, *, path: str) -> Response:
    """Returns the answer to a request that was refused."""
    return answer_problem(error.kind, str(error), path=path, fields=error.fields, headers=error.headers)
