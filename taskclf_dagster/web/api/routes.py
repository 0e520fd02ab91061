"""The routes of the API: the list of its operations, and how a request becomes an answer or a problem.

Add an operation to OPERATIONS; the OpenAPI document (`openapi`) follows from the same list.
"""

import json
import logging
import re
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from taskclf_dagster.errors import (
    HomeNotFoundError,
    InstanceError,
    LaunchRefusedError,
    RequestProblem,
    RequestRefusedError,
    SettingsError,
    SigningKeyError,
    UnreadableFileError,
)
from taskclf_dagster.status.decision_records import JobRecord
from taskclf_dagster.status.details import DecisionDetail, ModelDetail
from taskclf_dagster.status.overview_records import Overview
from taskclf_dagster.status.records import WireView
from taskclf_dagster.web.api.changes import RunView, approve_decision, roll_back, show_run
from taskclf_dagster.web.api.configuration import ConfigForm, ConfigView, change_config, show_config
from taskclf_dagster.web.api.forms import ApproveForm, HistoryQuery, RollbackForm, TriggerForm
from taskclf_dagster.web.api.models import show_decision, show_model
from taskclf_dagster.web.api.openapi import build_document
from taskclf_dagster.web.api.operations import MAX_USER, PREFIX, Answer, Asked, Operation, Service
from taskclf_dagster.web.api.reading import JSON, parse_form, parse_query, read_body, require_acceptable
from taskclf_dagster.web.api.retrains import HistoryPageView, show_history, show_job, show_status, trigger_retrain
from taskclf_dagster.web.backend import Backend
from taskclf_dagster.web.problems import answer_problem, answer_refusal

ROOT = "/api/ml"
"""Every path below it is the API's, so that one that is not there is answered as the API answers."""


LOCATION = {"Location": "path of the launched run"}


def _show_document(service: Service, asked: Asked) -> Answer:
    return Answer(_document())


@cache
def _document() -> dict[str, object]:
    return build_document(OPERATIONS)


OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/status", "getStatus", "The state of the home at a glance", show_status, Overview),
    Operation(
        "POST",
        "/trigger",
        "triggerRetrain",
        "Launches a retrain",
        trigger_retrain,
        JobRecord,
        HTTPStatus.ACCEPTED,
        ("retrain_under_way",),
        form=TriggerForm,
        answer_headers=LOCATION,
        description="The run waits in Dagster's queue. While a retrain is under way another one is refused, with its run in the detail.",
    ),
    Operation("GET", "/jobs/{id}", "getJob", "One retrain, by the id of its run or decision", show_job, JobRecord, problems=("not_found",)),
    Operation(
        "GET",
        "/history",
        "listHistory",
        "Every retrain, newest first",
        show_history,
        HistoryPageView,
        problems=("invalid",),
        query=HistoryQuery,
        description="Retrains that are launched between two pages move nothing.",
    ),
    Operation(
        "POST",
        "/approve",
        "approveDecision",
        "Launches the approval of a decision that awaits it",
        approve_decision,
        RunView,
        HTTPStatus.ACCEPTED,
        ("not_found", "change_under_way", "not_possible"),
        form=ApproveForm,
        answer_headers=LOCATION,
        description="Before the model becomes active, its decision is computed again from the stored data; the run says what came of it.",
    ),
    Operation(
        "POST",
        "/rollback",
        "rollBack",
        "Launches a rollback to an earlier model",
        roll_back,
        RunView,
        HTTPStatus.ACCEPTED,
        ("not_found", "change_under_way", "not_possible"),
        form=RollbackForm,
        answer_headers=LOCATION,
        description="Nothing is trained. The model that it leaves is not promoted again until it is unblocked.",
    ),
    Operation("GET", "/runs/{id}", "getRun", "The state of a launched run of any job", show_run, RunView, problems=("not_found",)),
    Operation("GET", "/decisions/{id}", "getDecision", "One decision in detail", show_decision, DecisionDetail, problems=("not_found",)),
    Operation("GET", "/models/{id}", "getModel", "One model in detail", show_model, ModelDetail, problems=("not_found",)),
    Operation(
        "GET",
        "/config",
        "getConfig",
        "The configuration, as far as it can be changed",
        show_config,
        ConfigView,
        answer_headers={"ETag": "of the settings file of the home"},
    ),
    Operation(
        "PUT",
        "/config",
        "changeConfig",
        "Changes keys of the configuration",
        change_config,
        ConfigView,
        problems=("changed_meanwhile", "not_possible", "precondition_required"),
        form=ConfigForm,
        answer_headers={"ETag": "of the settings file of the home"},
        needs_match=True,
        description="All changes are made or none; they are recorded, and `effective` says when each counts.",
    ),
    Operation("GET", "/openapi.json", "getOpenapi", "This document", _show_document, None),
)


def build_api_routes(backend: Backend) -> list[BaseRoute]:
    """Returns the routes of the API."""
    service = Service(backend)
    paths = dict.fromkeys(operation.path for operation in OPERATIONS)
    routes = [_build_route(service, [operation for operation in OPERATIONS if operation.path == path]) for path in paths]
    handlers: dict[Any, Any] = {HTTPException: _answer_http_error}
    api = Starlette(routes=routes, exception_handlers=handlers)
    api.router.redirect_slashes = False
    mount = Mount(ROOT, app=api)
    mount.path_regex = re.compile(mount.path_regex.pattern, re.DOTALL)  # a path with a line end is the API's as well
    return [mount]


def _build_route(service: Service, operations: Sequence[Operation]) -> Route:
    """Returns the route of a path, with the operation of each of its methods."""
    methods: list[str] = [operation.method for operation in operations]
    by_method = dict(zip(methods, operations, strict=True))

    async def endpoint(request: Request) -> Response:
        return await _answer(service, by_method["GET" if request.method == "HEAD" else request.method], request)

    return Route(PREFIX.removeprefix(ROOT) + operations[0].path, endpoint, methods=methods, name=operations[0].name)


async def _answer(service: Service, operation: Operation, request: Request) -> Response:
    path = request.url.path
    try:
        asked = await _read(service, operation, request)
        answer = await run_in_threadpool(operation.carry_out, service, asked)
    except RequestRefusedError as error:
        return answer_refusal(error, path=path)
    except (HomeNotFoundError, InstanceError, SettingsError, SigningKeyError, UnreadableFileError, LaunchRefusedError, OSError) as error:
        return answer_problem("unavailable", str(error), path=path)
    except Exception as error:  # a defect of ours: the log has it, the answer does not
        logging.getLogger(__name__).exception("%s %s failed", request.method, path, exc_info=error)
        return answer_problem("internal", "This is a defect of the server; its log has more.", path=path)
    content = answer.content
    text = content.model_dump_json(by_alias=True) if isinstance(content, WireView) else json.dumps(content, ensure_ascii=False)
    return Response(text, operation.status, {"Cache-Control": "no-store", **answer.headers}, JSON)


async def _read(service: Service, operation: Operation, request: Request) -> Asked:
    """Reads a request as its operation says.

    Raises:
        RequestRefusedError: it is not one that the operation takes.
        HomeNotFoundError: there is no home.
    """
    require_acceptable(request.headers)
    if operation.changes and service.backend.read_only:
        raise RequestRefusedError("read_only", "It was started with --read-only.")
    form = None if operation.form is None else parse_form(operation.form, await read_body(request))
    query = None if operation.query is None else parse_query(operation.query, request.query_params)
    service.home.require()
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
