"""The API of a server for many homes: the list, each home below its name, and the homes that cannot be used."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis

from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.defs.runs.run_tags import HOME_TAG, PARTITION_TAG, home_tag
from taskclf_dagster.web.api.homes import ALL, OF_ONE, build_homes_document
from taskclf_dagster.web.api.routes import OF_HOME
from taskclf_dagster_tests.many_homes import fail, make_homes
from taskclf_dagster_tests.models import MID, NEW, OLD
from taskclf_dagster_tests.runs import Status, add_run
from taskclf_dagster_tests.web.api_scenario import API, TOKEN, Server, Site, problem_of, serving
from taskclf_dagster_tests.web.homes_scenario import show_homes

KINDS = {"anna": "fine", "ben": "fine", "cora": "waiting", "dan": "broken", "eve": "missing", "finn": "fresh", "gina": "fine"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), module="taskclf_dagster.team_definitions") as made:
        yield made


@pytest.fixture(scope="module")
def directory(server: Server, tmp_path_factory: pytest.TempPathFactory) -> HomeDirectory:
    return make_homes(tmp_path_factory.mktemp("team"), KINDS)


@pytest.fixture
def site(server: Server, directory: HomeDirectory) -> Site:
    return show_homes(server, directory)


def _rows(site: Site) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in site.get("/homes").json()["homes"]}


def test_the_list_has_a_row_for_each_home_and_those_that_need_a_person_first(site: Site, directory: HomeDirectory) -> None:
    fail(site.instance, directory.open("gina"))
    running = add_run(site.instance, directory.open("ben"), Status.STARTED)
    rows = _rows(site)
    attention = {"dan": "broken", "eve": "broken", "gina": "failed", "cora": "waiting", "ben": None, "anna": None, "finn": None}
    assert {name: row["attention"] for name, row in rows.items()} == attention
    assert list(rows) == list(attention)
    assert (rows["anna"]["activeModel"], rows["finn"]["activeModel"], rows["eve"]["activeModel"]) == (NEW, None, None)
    assert (rows["ben"]["state"], rows["ben"]["runId"]) == ("running", running.run_id)
    assert "disk is full" in rows["gina"]["sentence"]
    assert "waits for approval" in rows["cora"]["sentence"]
    assert str(directory.path.parent / "homes" / "eve") in rows["eve"]["sentence"]
    assert "registry repair" in rows["dan"]["sentence"]
    site.instance.report_run_canceled(running)


def test_every_operation_on_one_home_is_below_its_name_and_its_links_stay_there(site: Site) -> None:
    status = site.get("/homes/anna/status").json()
    assert (status["activeModel"]["modelId"], status["home"].endswith("/homes/anna")) == (NEW, True)
    assert status["lastDecision"]["reportUrl"] == f"/retrain/homes/anna/reports/{status['lastDecision']['decisionId']}"
    history = site.get("/homes/anna/history").json()["items"]
    assert all(job["reportUrl"].startswith("/retrain/homes/anna/reports/") for job in history)
    assert history
    detail = site.get(f"/homes/anna/decisions/{status['lastDecision']['decisionId']}").json()
    assert detail["reportUrl"] == status["lastDecision"]["reportUrl"]
    assert {target["modelId"] for target in status["actions"]["rollback"]["targets"]} == {OLD, MID}
    for path in ("/status", "/config", "/homes/anna", "/homes/anna/nothing"):
        problem_of(site.get(path), 404, "not_found")


def test_a_launch_is_a_run_of_the_partition_of_its_home_and_of_no_other(site: Site, directory: HomeDirectory) -> None:
    answer = site.post("/homes/anna/trigger", {"force": True, "dryRun": True})
    job = answer.json()
    assert (answer.status_code, answer.headers["Location"]) == (202, f"{API}/homes/anna/jobs/{job['id']}")
    run = site.instance.get_run_by_id(job["id"])
    assert run is not None
    assert (run.tags[PARTITION_TAG], run.tags[HOME_TAG]) == ("anna", home_tag(directory.open("anna")))
    assert run.run_config["resources"]["run_settings"]["config"]["dry_run"] is True
    assert f"{API}/homes/anna/jobs/{job['id']}" in problem_of(site.post("/homes/anna/trigger", {}), 409, "retrain_under_way")["detail"]
    assert site.post("/homes/finn/trigger", {}).status_code == 202
    problem_of(site.get(f"/homes/finn/jobs/{job['id']}"), 404, "not_found")
    rollback = site.post("/homes/anna/rollback", {"reason": "meetings"})
    assert rollback.headers["Location"] == f"{API}/homes/anna/runs/{rollback.json()['runId']}"
    launched = site.instance.get_run_by_id(rollback.json()["runId"])
    assert launched is not None
    assert (launched.job_name, launched.tags[PARTITION_TAG]) == ("rollback", "anna")


def test_the_settings_of_one_home_are_changed_and_those_of_another_stay(site: Site, directory: HomeDirectory) -> None:
    seen = site.get("/homes/anna/config").headers["ETag"]
    answer = site.put("/homes/anna/config", {"schedule": {"cron": "0 5 * * *"}}, headers={"If-Match": seen})
    assert answer.json()["effective"] == {"schedule.cron": "within two minutes: the sensors read the cron lines of each home anew"}
    assert site.get("/homes/ben/config").json()["values"]["schedule.cron"]["value"] != "0 5 * * *"
    assert not directory.open("ben").settings_file.exists()
    assert _rows(site)["anna"]["nextTick"] != _rows(site)["ben"]["nextTick"]


def test_a_home_that_is_not_there_or_cannot_be_used_is_answered_for_itself(site: Site) -> None:
    assert "Did you mean anna" in problem_of(site.get("/homes/ana/status"), 404, "not_found")["detail"]
    assert "eve" in problem_of(site.get("/homes/eve/status"), 503, "unavailable")["detail"]
    problem_of(site.post("/homes/eve/trigger", {}), 503, "unavailable")
    for name in ("..", "%2e%2e", "a%2fb", "%00", "é" * 300):
        problem_of(site.get(f"/homes/{name}/status"), 404, "not_found")


def test_homes_come_and_go_without_a_restart_and_a_damaged_homes_file_is_said(site: Site, server: Server, directory: HomeDirectory) -> None:
    text = directory.path.read_text(encoding="utf-8")
    try:
        directory.path.write_text(text.replace("  ben:", "  benjamin:"), encoding="utf-8")
        assert {"ben", "benjamin"} & set(_rows(site)) == {"benjamin"}
        problem_of(site.get("/homes/ben/status"), 404, "not_found")
        fresh = show_homes(server, directory)  # it has read no list that it could keep for a moment
        directory.path.write_text("homes: {", encoding="utf-8")
        for path in ("/homes", "/homes/anna/status"):
            assert "homes.yaml" in problem_of(fresh.get(path), 503, "unavailable")["detail"]
    finally:
        directory.path.write_text(text, encoding="utf-8")


def test_a_server_that_only_shows_launches_nothing_and_says_so_in_the_list(server: Server, directory: HomeDirectory) -> None:
    site = show_homes(server, directory, read_only=True)
    problem_of(site.post("/homes/anna/trigger", {}), 403, "read_only")
    assert site.get("/homes").json()["readOnly"] is True
    assert site.get("/homes/anna/status").json()["actions"]["trigger"]["allowed"] is False


def test_without_the_token_no_home_is_named(site: Site) -> None:
    for path in ("/homes", "/homes/anna/status", "/openapi.json"):
        for headers in ({"Authorization": ""}, {"Authorization": f"Bearer {TOKEN}x"}):
            answer = site.get(path, headers=headers)
            assert (answer.status_code, "anna" in answer.text.replace(path, "")) == (401, False)


def test_the_document_describes_the_list_and_every_operation_of_a_single_home(site: Site) -> None:
    document = site.get("/openapi.json").json()
    assert document == json.loads(json.dumps(build_homes_document()))
    schemathesis.openapi.from_dict(document).validate()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(operation.method, API + operation.path) for operation in (*ALL, *OF_ONE)}
    assert {(each.method, f"/homes/{{home}}{each.path}") for each in OF_HOME} == {(each.method, each.path) for each in OF_ONE}
