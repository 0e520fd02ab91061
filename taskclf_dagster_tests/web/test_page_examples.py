"""The prepared answers of the page's tests are answers that the API can give."""

from typing import Any

import pytest
from pydantic import BaseModel

from taskclf_dagster.status.decision_records import JobRecord
from taskclf_dagster.status.overview_records import Overview
from taskclf_dagster.web.api.changes import RunView
from taskclf_dagster.web.api.configuration import ConfigView
from taskclf_dagster_tests.web.page_examples import RUN, STATES, config, history


def _fields(value: Any) -> Any:
    """The names in a JSON value, without the values."""
    if isinstance(value, dict):
        return {name: _fields(inner) for name, inner in value.items()}
    return [_fields(inner) for inner in value] if isinstance(value, list) else None


def _assert_is_one(record: type[BaseModel], answer: dict[str, Any]) -> None:
    assert _fields(record.model_validate(answer).model_dump(by_alias=True, mode="json")) == _fields(answer)


@pytest.mark.parametrize("state", STATES)
def test_a_prepared_status_has_the_fields_of_the_overview(state: str) -> None:
    _assert_is_one(Overview, STATES[state]())


def test_a_prepared_history_has_the_fields_of_a_retrain() -> None:
    for item in history():
        _assert_is_one(JobRecord, item)


def test_a_prepared_configuration_and_a_prepared_run_have_the_fields_of_the_api() -> None:
    _assert_is_one(ConfigView, {**config(min_new_labels=9), "effective": {"min_new_labels": "from the next run on"}})
    _assert_is_one(RunView, {"runId": RUN, "job": "rollback", "status": "pending", "message": "It waits for the daemon to start it."})
