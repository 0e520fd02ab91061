"""The operations on one home, and the routes of a server that shows one.

Add an operation to OF_HOME; the OpenAPI document (`openapi`) and the operations on one home of many (`homes`) follow from the same list.
"""

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus

from starlette.routing import BaseRoute

from taskclf_dagster.status.decision_records import JobRecord
from taskclf_dagster.status.details import DecisionDetail, ModelDetail
from taskclf_dagster.status.overview_records import Overview
from taskclf_dagster.web.api.answering import Bound, build_mount
from taskclf_dagster.web.api.changes import RunView, approve_decision, roll_back, show_run
from taskclf_dagster.web.api.configuration import ConfigForm, ConfigView, change_config, show_config
from taskclf_dagster.web.api.forms import ApproveForm, HistoryQuery, RollbackForm, TriggerForm
from taskclf_dagster.web.api.models import show_decision, show_model
from taskclf_dagster.web.api.openapi import build_document
from taskclf_dagster.web.api.operations import Answer, Asked, Operation, Service
from taskclf_dagster.web.api.retrains import HistoryPageView, show_history, show_job, show_status, trigger_retrain
from taskclf_dagster.web.backend import Backend

LOCATION = {"Location": "path of the launched run"}


OF_HOME: tuple[Operation[Service], ...] = (
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
)
"""The operations on one home."""


def _show_document(service: Service, asked: Asked) -> Answer:
    return Answer(_document())


OPERATIONS: tuple[Operation[Service], ...] = (
    *OF_HOME,
    Operation("GET", "/openapi.json", "getOpenapi", "This document", _show_document, None),
)
"""All operations of a server for one home."""


@cache
def _document() -> dict[str, object]:
    return build_document(OPERATIONS)


def build_api_routes(backend: Backend) -> list[BaseRoute]:
    """Returns the routes of the API of a server for one home."""
    service = Service(backend)

    def open_home(_: Mapping[str, str]) -> Service:
        service.home.require()
        return service

    return build_mount([Bound(operation, open_home) for operation in OPERATIONS], read_only=backend.read_only)
