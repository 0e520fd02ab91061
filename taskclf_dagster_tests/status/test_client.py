"""The client of the API: what it asks the real server in this process, and what it makes of servers that are none."""

import socket
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import requests
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.errors import ApiError
from taskclf_dagster.home import Home
from taskclf_dagster.status import client as module
from taskclf_dagster.status.client import RetrainClient
from taskclf_dagster_tests.models import MID, NEW, OLD
from taskclf_dagster_tests.registry_scenario import promoted
from taskclf_dagster_tests.runs import Status, add_run
from taskclf_dagster_tests.scenario import make_home
from taskclf_dagster_tests.servers import free_port
from taskclf_dagster_tests.web.api_scenario import TOKEN, Server, Site, listening, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as made:
        yield made


@pytest.fixture(scope="module")
def instance(server: Server) -> dg.DagsterInstance:
    return server.instance


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return promoted(make_home(tmp_path), OLD, MID, NEW)


@pytest.fixture
def client(server: Server, instance: dg.DagsterInstance, home: Home) -> Iterator[RetrainClient]:
    with listening(server.show(home)) as url:
        yield RetrainClient(url, token=TOKEN)


def _refusal(error: pytest.ExceptionInfo[ApiError]) -> tuple[bool, object]:
    return error.value.refused, (error.value.problem or {}).get("kind")


def test_the_client_reads_status_history_decisions_and_models(client: RetrainClient, home: Home) -> None:
    assert client.status()["activeModel"]["modelId"] == NEW
    decisions = [decision.decision_id for decision in list_decisions(home)[0]]
    assert [job["decisionId"] for job in client.history()] == sorted(decisions, reverse=True)
    assert client.job(decisions[0]) == next(job for job in client.history() if job["id"] == decisions[0])
    assert client.decision(decisions[0])["decisionId"] == decisions[0]
    assert client.model(MID)["modelId"] == MID


def test_the_history_goes_over_as_many_pages_as_it_needs(
    client: RetrainClient, instance: dg.DagsterInstance, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        add_run(instance, home, Status.SUCCESS)
    whole = client.history(100)
    monkeypatch.setattr(module, "MAX_PAGE", 2)
    assert client.history(100) == whole
    assert client.history(5) == whole[:5]
    assert len(whole) == 7


def test_the_client_launches_a_retrain_once_and_watches_it(client: RetrainClient) -> None:
    job = client.trigger(force=True, dryRun=True)
    assert (job["status"], job["cause"]) == ("pending", "api")
    assert client.job(job["id"]) == job
    assert client.run(job["id"])["status"] == "pending"
    with pytest.raises(ApiError) as caught:
        client.trigger()
    assert _refusal(caught) == (True, "retrain_under_way")
    assert job["id"] in str(caught.value)


def test_the_client_launches_a_rollback_and_no_approval_where_none_waits(client: RetrainClient) -> None:
    assert client.rollback("meetings", to=OLD)["job"] == "rollback"
    with pytest.raises(ApiError) as caught:
        client.approve()
    assert _refusal(caught) == (True, "not_possible")


def test_the_client_changes_the_configuration_that_it_has_seen(client: RetrainClient) -> None:
    seen = client.config()
    changed = client.change_config({"minLabelsRequired": 7}, etag=seen["etag"])
    assert (changed["values"]["min_new_labels"]["value"], set(changed["effective"])) == (7, {"min_new_labels"})
    with pytest.raises(ApiError) as caught:
        client.change_config({"minLabelsRequired": 8}, etag=seen["etag"])
    assert _refusal(caught) == (True, "changed_meanwhile")
    assert client.change_config({"minLabelsRequired": None}, etag=None)["values"]["min_new_labels"]["value"] != 7


def test_a_wrong_field_is_refused_with_its_place(client: RetrainClient) -> None:
    with pytest.raises(ApiError) as caught:
        client.trigger(dry_run=True)
    assert _refusal(caught) == (True, "invalid")
    assert "dry_run" in str(caught.value)


def test_a_client_with_a_wrong_token_is_refused(server: Server, instance: dg.DagsterInstance, home: Home) -> None:
    with listening(server.show(home)) as url:
        with pytest.raises(ApiError) as caught:
            RetrainClient(url, token=f"{TOKEN}x").status()
        assert _refusal(caught) == (True, "not_signed_in")


@pytest.mark.parametrize("name", ["../status", "a/b", "nul\0", "x\ny", "é", ".."])
def test_an_id_stays_one_part_of_the_path(client: RetrainClient, name: str) -> None:
    for find in (client.job, client.run, client.decision, client.model):
        with pytest.raises(ApiError) as caught:
            find(name)
        assert _refusal(caught) == (True, "not_found")


def test_a_server_that_is_not_there_is_no_refusal() -> None:
    with pytest.raises(ApiError) as caught:
        RetrainClient(f"http://127.0.0.1:{free_port()}").status()
    assert _refusal(caught) == (False, None)


def test_a_server_that_does_not_answer_in_time_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ApiError) as caught:
        RetrainClient(f"http://127.0.0.1:{silent.getsockname()[1]}").status()
    assert isinstance(caught.value.__cause__, requests.Timeout)


def test_on_a_server_without_a_token_the_client_makes_changes_as_a_page_does(
    server: Server, instance: dg.DagsterInstance, home: Home
) -> None:
    with listening(server.show(home, token=None)) as url:
        client = RetrainClient(url)
        assert client.trigger(dryRun=True)["cause"] == "page"
        client._page_token = "of a server that ended since"  # noqa: S105
        assert client.rollback("meetings")["job"] == "rollback"
        with pytest.raises(requests.HTTPError):
            requests.post(f"{url}/api/ml/retrain/trigger", json={}, timeout=10).raise_for_status()


def test_a_server_without_our_api_is_named_as_one(tmp_path: Path) -> None:
    with listening(Site(Home(tmp_path), None, Starlette(routes=[Route("/{path:path}", lambda _: HTMLResponse("<html>"))]))) as url:  # type: ignore[arg-type]
        with pytest.raises(ApiError) as caught:
            RetrainClient(url).status()
        assert "GraphQLClient" in str(caught.value)
        with pytest.raises(ApiError) as caught:
            RetrainClient(url).trigger()
        assert _refusal(caught) == (False, None)
