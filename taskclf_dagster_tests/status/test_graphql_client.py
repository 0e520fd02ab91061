"""What the API client refuses before it sends anything, and what it makes of answers that are not from Dagster; no server is started."""

import json
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import dagster as dg
import pytest
import requests
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.jobs.retrain import RetrainParams
from taskclf_dagster.errors import ApiError
from taskclf_dagster.status import graphql_client as client
from taskclf_dagster.status.graphql_client import FORM, GraphQLClient
from taskclf_dagster_tests.receivers import http_receiver
from taskclf_dagster_tests.servers import free_port

FORMS: list[tuple[dict[str, object], str]] = [
    ({"forc": True}, "forc"),
    ({"force": 1}, "force"),
    ({"dry_run": None}, "dry_run"),
    ({"bootstrap": "yes"}, "bootstrap"),
    ({"as_of": datetime(2026, 2, 4, tzinfo=UTC)}, "as_of"),
    ({"config_path": Path("own.yaml")}, "config_path"),
    ({"holdout_user_fraction": "0.2"}, "holdout_user_fraction"),
    ({"holdout_user_fraction": True}, "holdout_user_fraction"),
    ({"holdout_user_fraction": 1.0}, "holdout_user_fraction"),
    ({"holdout_user_fraction": -0.1}, "holdout_user_fraction"),
    ({"holdout_user_fraction": float("nan")}, "holdout_user_fraction"),
]
"""Wrong forms, and the field that is wrong."""


def _refusal(form: dict[str, object]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        GraphQLClient("http://127.0.0.1:9").trigger(**form)
    return caught.value


@pytest.mark.parametrize(("form", "field"), FORMS)
def test_a_wrong_form_is_refused_with_the_field_before_it_is_sent(form: dict[str, object], field: str) -> None:
    error = _refusal(form)
    assert error.refused
    assert field in str(error)


def test_the_words_of_a_refusal(snapshot: SnapshotAssertion) -> None:
    told = [str(_refusal(form)) for form in ({"forc": True}, {"force": 1, "dry_run": 0}, {"holdout_user_fraction": 2})]
    assert [*told, str(ApiError("URL", "it answered 500 Internal Server Error."))] == snapshot


def test_the_client_knows_the_fields_of_the_launch_form() -> None:
    assert set(FORM) == set(RetrainParams.model_fields)


@pytest.mark.parametrize(
    "form",
    [
        {"holdout_user_fraction": 0},
        {"holdout_user_fraction": 0.999, "as_of": None, "config_path": None},
        {"force": True, "dry_run": True, "bootstrap": False, "as_of": "2026-02-04", "config_path": "/x.yaml"},
    ],
)
def test_a_form_that_the_client_lets_pass_is_one_that_the_job_takes(form: dict[str, object]) -> None:
    dg.validate_run_config(build_definitions().resolve_job_def("retrain"), form)
    with pytest.raises(ApiError) as caught:
        GraphQLClient(f"http://127.0.0.1:{free_port()}").trigger(**form)
    assert not caught.value.refused


@pytest.mark.parametrize(
    ("status", "body", "refused", "found"),
    [
        (200, '{"data": {"job": {"__typename": "PythonError", "message": "BROKEN"}}}', True, "BROKEN"),
        (200, '{"data": {"all": [{"stats": {"message": "BROKEN"}}]}}', True, "BROKEN"),
        (400, '{"errors": [{"message": "BROKEN"}]}', True, "BROKEN"),
        (401, "Unauthorized", True, "401"),
        (500, '{"error": "?"}', False, "500"),
        (404, "not here", False, "404"),
        (200, "<html>", False, ""),
        (200, "[]", False, "200"),
        (200, '{"data": null}', False, "200"),
    ],
)
def test_a_refusal_is_told_apart_from_a_server_that_is_not_dagster(
    monkeypatch: pytest.MonkeyPatch, status: int, body: str, refused: bool, found: str
) -> None:
    _answer(monkeypatch, status, body)
    with pytest.raises(ApiError) as caught:
        GraphQLClient("http://127.0.0.1:9").config()
    assert found in str(caught.value)
    assert caught.value.refused is refused


def _answer(monkeypatch: pytest.MonkeyPatch, status: int, body: str) -> None:
    answer = requests.Response()
    answer.status_code, answer.reason, answer._content = status, HTTPStatus(status).phrase, body.encode()
    monkeypatch.setattr(requests.Session, "post", lambda *_, **__: answer)


@pytest.mark.parametrize(
    ("launch", "found"),
    [
        ({"__typename": "InvalidStepError"}, "InvalidStepError"),
        ({"__typename": "InvalidSubsetError", "message": "BROKEN"}, "BROKEN"),
        ({"__typename": "RunConfigValidationInvalid", "errors": [{"message": "BROKEN"}]}, "BROKEN"),
    ],
    ids=["without a message", "with a message", "with errors"],
)
def test_a_launch_that_dagster_does_not_make_is_a_refusal(monkeypatch: pytest.MonkeyPatch, launch: dict[str, object], found: str) -> None:
    _answer(monkeypatch, 200, json.dumps({"data": {"launchRun": launch}}))
    with pytest.raises(ApiError) as caught:
        GraphQLClient("http://127.0.0.1:9").trigger(force=True)
    assert caught.value.refused
    assert found in str(caught.value)


def test_a_server_that_does_not_answer_in_time_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TIMEOUT_SECONDS", 0.3)
    with http_receiver() as receiver:
        receiver.delay = 30.0
        with pytest.raises(ApiError) as caught:
            GraphQLClient(receiver.url).status()
    assert not caught.value.refused
    assert isinstance(caught.value.__cause__, requests.Timeout)
