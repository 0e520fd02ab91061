"""Answers that refuse a request, as problem details (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response


def refuse(status: HTTPStatus, detail: str, *, kind: str, headers: Mapping[str, str] | None = None) -> Response:
    """Returns a refusal.

    Args:
        status: of HTTP.
        detail: what is wrong, and what to do, as sentences.
        kind: the reason as one word, for programs: host, origin, signed_out, token, read_only, content_type, too_large, too_many, method.
        headers: of the answer, besides the usual.
    """
    problem = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail, "kind": kind}
    return JSONResponse(problem, status, headers, media_type="application/problem+json")


def refuse_query(request: Request) -> Response | None:
    """Refuses a GraphQL query by GET, which every link and every picture of another page can send; None for any other request."""
    if request.method == "POST" or (request.method == "GET" and "text/html" in request.headers.get("Accept", "")):
        return None
    return refuse(HTTPStatus.METHOD_NOT_ALLOWED, "Send queries as JSON by POST.", kind="method", headers={"Allow": "POST"})
