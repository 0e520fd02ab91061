"""What the API client refuses before it sends anything, and what it makes of answers that are not from Dagster; no server is started."""

from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import dagster as dg
import pytest
import requests

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.jobs.retrain import RetrainParams
from taskclf_dagster.errors import ApiError
from taskclf_dagster.status.client import FORM, RetrainClient
from taskclf_dagster_tests.servers import (
    free_port,
)


@pytest.mark.parametrize(
    ("form", "found"),
    [
        ({"forc": True}, "forc is no field of the launch form, which has force, dry_run, as_of, "),
        ({"force": 1}, "force is 1, but must be of type bool"),
        ({"dry_run": None}, "dry_run is None, but must be of type bool"),
        ({"bootstrap": "yes"}, "bootstrap is 'yes', but must be of type bool"),
        ({"as_of": datetime(2026, 2, 4, tzinfo=UTC)}, "but must be of type str or None"),
        ({"config_path": Path("own.yaml")}, "but must be of type str or None"),
        ({"holdout_user_fraction": "0.2"}, "holdout_user_fraction is '0.2', but must be of type float or int"),
        ({"holdout_user_fraction": True}, "holdout_user_fraction is True, but must be of type float or int"),
        ({"holdout_user_fraction": 2}, "holdout_user_fraction is 2, but must be at least 0 and less than 1"),
        ({"holdout_user_fraction": 1.0}, "holdout_user_fraction is 1.0, but must be at least 0 and less than 1"),
        ({"holdout_user_fraction": -0.1}, "holdout_user_fraction is -0.1, but must be at least 0"),
        ({"holdout_user_fraction": float("nan")}, "holdout_user_fraction is nan, but must be at least 0"),
        ({"force": 1, "dry_run": 0}, "force is 1, but must be of type bool; dry_run is 0, but must be of type bool."),
    ],
)
def test_a_wrong_form_is_refused_with_the_field_before_it_is_sent(form: dict[str, object], found: str) -> None:
    with pytest.raises(ApiError) as caught:
        RetrainClient("http://127.0.0.1:9").trigger(**form)
    assert found in str(caught.value)
    assert "is refused: " in str(caught.value)
    assert "dagster dev" not in str(caught.value)


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
    with pytest.raises(ApiError, match="Does `dagster dev` run there"):
        RetrainClient(f"http://127.0.0.1:{free_port()}").trigger(**form)


@pytest.mark.parametrize(
    ("status", "body", "refused", "found"),
    [
        (
            200,
            '{"data": {"job": {"__typename": "PythonError", "message": "it broke."}}}',
            True,
            "is refused: it broke (code location taskclf_dagster).",
        ),
        (200, '{"data": {"all": [{"stats": {"message": "no figures"}}]}}', True, "is refused: no figures (code location taskclf_dagster)."),
        (400, '{"errors": [{"message": "no such field"}]}', True, "is refused: no such field (code location taskclf_dagster)."),
        (401, "Unauthorized", True, "is refused: it answered 401 Unauthorized."),
        (500, '{"error": "?"}', False, "it answered 500 Internal Server Error. Does `dagster dev` run there"),
        (404, "not here", False, "it answered 404 Not Found. Does"),
        (200, "<html>", False, "gave no answer that can be used"),
        (200, "[]", False, "it answered 200 OK. Does"),
        (200, '{"data": null}', False, "it answered 200 OK. Does"),
        (200, '{"data": []}', False, "it answered 200 OK. Does"),
    ],
)
def test_a_refusal_is_told_apart_from_a_server_that_is_not_dagster(
    monkeypatch: pytest.MonkeyPatch, status: int, body: str, refused: bool, found: str
) -> None:
    answer = requests.Response()
    answer.status_code, answer.reason, answer._content = status, HTTPStatus(status).phrase, body.encode()
    monkeypatch.setattr(requests.Session, "post", lambda *_, **__: answer)
    with pytest.raises(ApiError) as caught:
        RetrainClient("http://127.0.0.1:9").config()
    assert found in str(caught.value)
    assert ("Does `dagster dev` run there" in str(caught.value)) is not refused
