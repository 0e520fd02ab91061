"""Turns a request into the answer of its operation, or into a problem. Which operations there are is in `routes` and `homes`."""

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from taskclf_dagster.errors import (
    BrokenHomeError,
    HomeNotFoundError,
    HomesFileError,
    InstanceError,
    LaunchRefusedError,
    RequestProblem,
    RequestRefusedError,
    SettingsError,
    SigningKeyError,
    UnknownHomeError,
    UnreadableFileError,
)
from taskclf_dagster.status.records import WireView
from taskclf_dagster.web.api.operations import MAX_USER, Answer, Asked, Operation, Scope
from taskclf_dagster.web.api.reading import JSON, parse_form, parse_query, read_body, require_acceptable
from taskclf_dagster.web.problems import answer_problem, answer_refusal
from taskclf_dagster.web.site_paths import API

ROOT = "/api/ml"
"""Every path below it is the API's, so that one that is not there is answered as the API answers."""


UNAVAILABLE = (
    BrokenHomeError,
    HomeNotFoundError,
    HomesFileError,
    InstanceError,
    SettingsError,
    SigningKeyError,
    UnreadableFileError,
    LaunchRefusedError,
    OSError,
)
"""Errors of what is asked for, and not of the request."""


@dataclass(frozen=True)
class Bound(Generic[Scope]):
    """An operation, and the way to what it is about.

    Attributes:
        operation: the operation.
        open: returns what it is about, by the parts of the path that are named in braces; called in a thread, and raises as an operation.
    """

    operation: Operation[Scope]
    open: Callable[[Mapping[str, str]], Scope]

    def carry_out(self, asked: Asked) -> Answer:
        """Carries the operation out."""
        return self.operation.carry_out(self.open(asked.path), asked)


def build_mount(operations: Sequence[Bound[Any]], *, read_only: bool) -> list[BaseRoute]:
    """Returns the routes of operations.

    Args:
        operations: in the order in which paths are compared with them.
        read_only: True if nothing may be changed.
    """
    paths = dict.fromkeys(bound.operation.path for bound in operations)
    routes = [_build_route([bound for bound in operations if bound.operation.path == path], read_only=read_only) for path in paths]
    handlers: dict[Any, Any] = {HTTPException: _answer_http_error}
    api = Starlette(routes=routes, exception_handlers=handlers)
    api.router.redirect_slashes = False
    mount = Mount(ROOT, app=api)
    mount.path_regex = re.compile(mount.path_regex.pattern, re.DOTALL)  # a path with a line end is the API's as well
    return [mount]


def _build_route(operations: Sequence[Bound[Any]], *, read_only: bool) -> Route:
    """Returns the route of a path, with the operation of each of its methods."""
    methods: list[str] = [bound.operation.method for bound in operations]
    by_method = dict(zip(methods, operations, strict=True))

    async def endpoint(request: Request) -> Response:
        return await _answer(by_method["GET" if request.method == "HEAD" else request.method], request, read_only=read_only)

    first = operations[0].operation
    return Route(API.removeprefix(ROOT) + first.path, endpoint, methods=methods, name=first.name)


async def _answer(bound: Bound[Any], request: Request, *, read_only: bool) -> Response:
    path = request.url.path
    try:
        asked = await _read(bound.operation, request, read_only=read_only)
        answer = await run_in_threadpool(bound.carry_out, asked)
    except RequestRefusedError as error:
        return answer_refusal(error, path=path)
    except UnknownHomeError as error:
        return answer_problem("not_found", str(error), path=path)
    except UNAVAILABLE as error:
        return answer_problem("unavailable", str(error), path=path)
    except Exception as error:  # a defect of ours: the log has it, the answer does not
        logging.getLogger(__name__).exception("%s %s failed", request.method, path, exc_info=error)
        return answer_problem("internal", "This is a defect of the server; its log has more.", path=path)
    content = answer.content
    text = content.model_dump_json(by_alias=True) if isinstance(content, WireView) else json.dumps(content, ensure_ascii=False)
    return Response(text, bound.operation.status, {"Cache-Control": "no-store", **answer.headers}, JSON)


async def _read(operation: Operation[Any], request: Request, *, read_only: bool) -> Asked:
    """Reads a request as its operation says.

    Raises:
        RequestRefusedError: it is not one that the operation takes.
    """
    require_acceptable(request.headers)
    if operation.changes and read_only:
        raise RequestRefusedError("read_only", "It was started with --read-only.")
    form = None if operation.form is None else parse_form(operation.form, await read_body(request))
    query = None if operation.query is None else parse_query(operation.query, request.query_params)
    user = getattr(request.state, "user", None)
    return Asked(request.path_params, form, query, request.headers, user[:MAX_USER] if isinstance(user, str) and user else None)


async def _answer_http_error(request: Request, error: Exception) -> Response:
    """Answers what Starlette finds: no such path, no such method, or a body that is too large."""
    kinds: dict[int, RequestProblem] = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    details = {404: "The API has no such path.", 405: f"The method {request.method} is not one of this path, which the header Allow names."}
    kind = kinds.get(status, "unreadable_request")
    detail = details.get(status, str(getattr(error, "detail", "")))
    return answer_problem(kind, detail, path=request.url.path, headers=headers)
