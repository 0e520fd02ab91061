"""What the API answers and launches, over a real home and a real instance whose queue nobody works off."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import schemathesis

from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.registry.rollback import rollback
from taskclf_dagster.domain.scheduling.settings_changes import read_changes
from taskclf_dagster.home import Home
from taskclf_dagster.web.api.configuration import ON_THE_WIRE
from taskclf_dagster.web.api.openapi import build_document
from taskclf_dagster.web.api.routes import OPERATIONS
from taskclf_dagster_tests.models import AT, MID, NEW, OLD
from taskclf_dagster_tests.registry_scenario import promoted
from taskclf_dagster_tests.retrain_scenario import Learned, Waiting
from taskclf_dagster_tests.runs import Status, add_run
from taskclf_dagster_tests.scenario import DAY, make_home
from taskclf_dagster_tests.web.api_scenario import API, TOKEN, Server, Site, problem_of

SETTINGS = "taskclf_dagster.yaml"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Three models ran, the newest of them runs."""
    return promoted(make_home(tmp_path), OLD, MID, NEW)


@pytest.fixture
def site(server: Server, instance: dg.DagsterInstance, home: Home) -> Site:
    return server.show(home)


@pytest.fixture
def waiting(server: Server, instance: dg.DagsterInstance, waiting_home: Waiting, tmp_path: Path) -> Site:
    """A decision awaits approval."""
    shutil.copytree(waiting_home[0].root, tmp_path / "waiting")
    return server.show(Home(tmp_path / "waiting"))


def _run(site: Site, run_id: str) -> dg.DagsterRun:
    run = site.instance.get_run_by_id(run_id)
    assert run is not None
    return run


# --- Status, history, jobs ------------------------------------------------------------------------------------------------------------


def test_the_status_has_state_model_and_what_can_be_done(site: Site) -> None:
    status = site.get("/status").json()
    assert (status["state"], status["readOnly"], status["user"], status["job"]) == ("idle", False, None, None)
    assert status["activeModel"]["modelId"] == NEW
    assert {target["modelId"] for target in status["actions"]["rollback"]["targets"]} == {OLD, MID}


def test_the_status_names_the_person_of_the_proxys_header(server: Server, instance: dg.DagsterInstance, home: Home) -> None:
    site = server.show(home, user_header="x-user")
    assert site.get("/status", headers={"X-User": "anna"}).json()["user"] == "anna"


def test_the_status_of_a_broken_configuration_is_an_answer_that_says_so(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.yaml").write_text("min_new_labels: many\n", encoding="utf-8")
    monkeypatch.setenv("TASKCLF_DAGSTER_CONFIG", str(tmp_path / "broken.yaml"))
    answer = site.get("/status")
    assert answer.status_code == 200
    assert [problem["kind"] for problem in answer.json()["problems"]] == ["config"]


def test_the_pages_of_the_history_follow_each_other(server: Server, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    site = server.show(make_home(tmp_path))
    ids = [add_run(site.instance, site.home, Status.SUCCESS).run_id for _ in range(3)]
    first = site.get("/history?limit=2").json()
    add_run(site.instance, site.home, Status.SUCCESS)
    second = site.get(f"/history?limit=2&cursor={first['nextCursor']}").json()
    assert [job["id"] for job in [*first["items"], *second["items"]]] == ids[::-1]
    assert second["nextCursor"] is None


def test_a_job_has_both_models_on_the_same_unseen_windows(
    server: Server, instance: dg.DagsterInstance, learned: Learned, tmp_path: Path
) -> None:
    shutil.copytree(learned[0].root, tmp_path / "learned")
    decision = learned[2]
    job = server.show(Home(tmp_path / "learned")).get(f"/jobs/{decision.decision_id}").json()
    comparison = decision.comparison
    assert comparison is not None
    assert (job["modelId"], job["previousVersion"]) == (comparison.challenger_id, comparison.champion_id)
    assert (job["metricsBefore"]["f1"], job["metricsAfter"]["f1"]) == (comparison.champion_macro_f1, comparison.challenger_macro_f1)
    assert set(job["metricsBefore"]) == {"precision", "recall", "f1", "accuracy"}
    assert job["comparedWindows"] == comparison.windows
    assert (job["status"], job["labelCount"]) == ("completed", sum(decision.dataset.split.values()))


def test_a_failed_job_has_its_reason(site: Site) -> None:
    run = add_run(site.instance, site.home, Status.FAILURE)
    job = site.get(f"/jobs/{run.run_id}").json()
    assert (job["status"], job["outcome"]) == ("failed", "FAILED")
    assert job["errorMessage"]
    state = site.get(f"/runs/{run.run_id}").json()
    assert (state["status"], state["message"]) == ("failed", job["errorMessage"])


def test_runs_of_another_home_are_not_there(site: Site, tmp_path: Path) -> None:
    run = add_run(site.instance, Home(tmp_path / "other"), Status.SUCCESS)
    for kind in ("jobs", "runs"):
        problem_of(site.get(f"/{kind}/{run.run_id}"), 404, "not_found")


# --- Launching a retrain --------------------------------------------------------------------------------------------------------------


def test_a_trigger_is_accepted_and_waits_in_the_queue_with_its_form_and_cause(site: Site) -> None:
    answer = site.post("/trigger", {"force": True, "dryRun": True, "asOf": "2026-02-04t06:00:00z", "holdoutUserFraction": 0.5})
    assert answer.status_code == 202
    job = answer.json()
    assert (job["status"], job["cause"], answer.headers["Location"]) == ("pending", "api", f"{API}/jobs/{job['id']}")
    assert site.get(f"/jobs/{job['id']}").json() == job
    run = _run(site, job["id"])
    assert run.status == Status.QUEUED
    form = {"force": True, "dry_run": True, "as_of": "2026-02-04T06:00:00Z", "holdout_user_fraction": 0.5, "bootstrap": False}
    assert run.run_config == form
    assert site.get(f"/runs/{job['id']}").json()["status"] == "pending"


def test_a_second_trigger_is_refused_while_the_first_is_under_way_and_names_it(site: Site) -> None:
    first = site.post("/trigger", {}).json()["id"]
    for _ in range(2):
        assert first in problem_of(site.post("/trigger", {"force": True}), 409, "retrain_under_way")["detail"]
    site.instance.report_run_canceled(_run(site, first))
    assert site.post("/trigger", {}).status_code == 202


def test_of_many_triggers_at_once_one_is_accepted(site: Site) -> None:
    make = partial(dict, method="POST", url=f"{API}/trigger", json={}, headers=site.headers)
    answers = site.ask_at_once([make] * 8)
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 7
    assert len(site.instance.get_runs(dg.RunsFilter(statuses=[Status.QUEUED], tags={"taskclf/cause": "api"}))) >= 1


def test_a_run_has_the_page_as_its_cause_and_the_person_in_a_tag(server: Server, instance: dg.DagsterInstance, home: Home) -> None:
    site = server.show(home, user_header="x-user")
    headers = {"X-Taskclf-Token": "any: the token of the server is there as well", "X-User": "anna"}
    job = site.post("/trigger", {}, headers=headers).json()
    assert job["cause"] == "page"
    assert _run(site, job["id"]).tags["taskclf/user"] == "anna"


# --- Approving and rolling back -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [True, False])
def test_the_decision_that_waits_is_approved_by_a_run(waiting: Site, waiting_home: Waiting, named: bool) -> None:
    decision_id = waiting_home[1].decision_id
    answer = waiting.post("/approve", {"decisionId": decision_id} if named else {})
    run = answer.json()
    assert (answer.status_code, run["job"], run["status"]) == (202, "approve", "pending")
    assert answer.headers["Location"] == f"{API}/runs/{run['runId']}"
    assert _run(waiting, run["runId"]).run_config == {"decision_id": decision_id, "as_judged": False}
    assert waiting.get(f"/runs/{run['runId']}").json() == run


def test_a_second_approval_is_refused_while_the_first_is_under_way_and_names_it(waiting: Site) -> None:
    first = waiting.post("/approve", {}).json()["runId"]
    assert first in problem_of(waiting.post("/approve", {}), 409, "change_under_way")["detail"]


def test_a_decision_that_does_not_wait_or_is_not_there_is_not_approved(site: Site) -> None:
    problem_of(site.post("/approve", {}), 409, "not_possible")
    problem_of(site.post("/approve", {"decisionId": "2026-01-01_000000_00000000"}), 404, "not_found")
    problem_of(site.post("/approve", {"decisionId": "../../etc/passwd"}), 404, "not_found")
    done = list_decisions(site.home)[0][0].decision_id
    assert done in problem_of(site.post("/approve", {"decisionId": done}), 409, "not_possible")["detail"]


def test_what_todays_policy_would_refuse_is_approved_only_as_it_was_judged(waiting: Site) -> None:
    (waiting.home.root / SETTINGS).write_text("gates: {min_macro_f1: 1.0}\n", encoding="utf-8")
    problem = problem_of(waiting.post("/approve", {}), 409, "not_possible")
    assert "gates.min_macro_f1" in problem["detail"]
    assert waiting.post("/approve", {"asJudged": True}).status_code == 202


@pytest.mark.parametrize(("to", "target"), [(None, MID), (OLD, OLD)])
def test_a_rollback_goes_to_the_model_that_was_named_or_the_last_good_one(site: Site, to: str | None, target: str) -> None:
    answer = site.post("/rollback", {"reason": "meetings", **({} if to is None else {"to": to})})
    assert (answer.status_code, answer.json()["job"]) == (202, "rollback")
    assert _run(site, answer.json()["runId"]).run_config == {"to": target, "reason": "meetings"}


def test_a_second_rollback_is_refused_while_the_first_is_under_way(site: Site) -> None:
    first = site.post("/rollback", {"reason": "meetings"}).json()["runId"]
    assert first in problem_of(site.post("/rollback", {"reason": "meetings"}), 409, "change_under_way")["detail"]


def test_a_rollback_to_a_model_that_cannot_run_is_refused(site: Site) -> None:
    rollback(site.home, to=MID, reason="worse", at=AT + 9 * DAY)
    (site.home.models / OLD / "model.txt").write_text("damaged", encoding="utf-8")
    for model in (MID, NEW, OLD):
        assert model in problem_of(site.post("/rollback", {"to": model, "reason": "x"}), 409, "not_possible")["detail"]
    for name in ("nothing", "..", "../models", "\u0000", "é" * 200):
        problem_of(site.post("/rollback", {"to": name, "reason": "x"}), 404, "not_found")


def test_a_rollback_needs_a_reason_in_one_line(site: Site) -> None:
    for reason in ("", " ", "\t", "a\nb", "nul\0", "\u2028", "\u001b[31m", "x" * 501, None, 1):
        problem = problem_of(site.post("/rollback", {"reason": reason}), 422, "invalid")
        assert [part["pointer"] for part in problem["errors"]] == ["#/reason"], reason


# --- Decisions and models -------------------------------------------------------------------------------------------------------------


def test_a_decision_has_gates_options_data_and_its_hash(
    server: Server, instance: dg.DagsterInstance, learned: Learned, tmp_path: Path
) -> None:
    shutil.copytree(learned[0].root, tmp_path / "learned")
    decision = learned[2]
    answer = server.show(Home(tmp_path / "learned")).get(f"/decisions/{decision.decision_id}")
    shown = answer.json()
    assert (shown["verdict"], shown["receiptHash"], shown["waits"]) == (decision.verdict, decision.decision_hash, False)
    assert {gate["name"] for gate in shown["gates"]} == {gate.name for gate in decision.gates}
    assert shown["dataset"]["split"] == decision.dataset.split
    assert shown["options"] == {"dryRun": False, "forced": False, "bootstrap": False}
    assert all(user not in answer.text for user in ("user-0", "user-1"))


def test_a_decision_that_can_be_approved_says_so(waiting: Site, waiting_home: Waiting) -> None:
    assert waiting.get(f"/decisions/{waiting_home[1].decision_id}").json()["waits"] is True


def test_a_model_has_its_place_scores_moves_and_card(site: Site) -> None:
    rollback(site.home, to=MID, reason="meetings", at=AT + 9 * DAY)
    (site.home.models / MID / "MODEL_CARD.md").write_text("# A model\n", encoding="utf-8")
    model = site.get(f"/models/{MID}").json()
    assert (model["place"], model["active"], model["blocked"], model["modelCard"]) == ("promoted", True, False, "# A model\n")
    assert [(move["action"], move["fromModel"]) for move in model["moves"]] == [("promote", OLD), ("rollback", NEW)]
    assert model["moves"][-1]["reason"] == "meetings"
    assert 0 <= model["metrics"]["macroF1"] <= 1
    left = site.get(f"/models/{NEW}").json()
    assert (left["active"], left["blocked"]) == (False, True)


def test_a_model_that_is_damaged_or_was_removed_is_shown_with_what_is_known(site: Site) -> None:
    (site.home.models / MID / "metadata.json").write_text("{", encoding="utf-8")
    shutil.rmtree(site.home.models / OLD)
    damaged, removed = site.get(f"/models/{MID}").json(), site.get(f"/models/{OLD}").json()
    assert (damaged["place"], damaged["metrics"]) == ("promoted", None)
    assert damaged["problem"]
    assert (removed["place"], removed["problem"], len(removed["moves"])) == ("removed", None, 1)


# --- Configuration --------------------------------------------------------------------------------------------------------------------


def test_a_change_of_the_configuration_is_written_recorded_and_shown(server: Server, instance: dg.DagsterInstance, home: Home) -> None:
    site = server.show(home, user_header="x-user")
    before = site.get("/config")
    change = {"minLabelsRequired": 7, "autoPromote": True, "gates": {"minMacroF1": 0.5}, "schedule": {"cron": "0 5 * * *"}}
    answer = site.put("/config", change, headers={"If-Match": before.headers["ETag"], "X-User": "anna"})
    assert answer.status_code == 200
    shown = answer.json()
    keys = {"min_new_labels": 7, "auto_promote": True, "gates.min_macro_f1": 0.5, "schedule.cron": "0 5 * * *"}
    assert {key: shown["values"][key]["value"] for key in keys} == keys
    assert set(shown["effective"]) == set(keys)
    assert shown["file"] == str(home.root / SETTINGS)
    assert {(change.key, change.who, change.via) for change in read_changes(home)} == {(key, "anna", "api") for key in keys}
    again = site.get("/config")
    assert again.headers["ETag"] == answer.headers["ETag"] != before.headers["ETag"]
    assert again.json() == {**shown, "effective": None}


def test_null_gives_a_key_its_shipped_value_back(site: Site) -> None:
    shipped = site.get("/config").json()["values"]["min_new_labels"]["value"]
    first = site.put("/config", {"min_new_labels": 7}, headers={"If-Match": "*"})
    answer = site.put("/config", {"minLabelsRequired": None}, headers={"If-Match": first.headers["ETag"]})
    assert answer.json()["values"]["min_new_labels"]["value"] == shipped


def test_a_change_needs_the_etag_of_what_was_seen(site: Site) -> None:
    seen = site.get("/config").headers["ETag"]
    problem_of(site.put("/config", {"min_new_labels": 7}), 428, "precondition_required")
    assert site.put("/config", {"min_new_labels": 7}, headers={"If-Match": seen}).status_code == 200
    answer = site.put("/config", {"min_new_labels": 8}, headers={"If-Match": seen})
    problem_of(answer, 412, "changed_meanwhile")
    assert answer.headers["ETag"] == site.get("/config").headers["ETag"]
    assert site.get("/config").json()["values"]["min_new_labels"]["value"] == 7


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"min_new_labels": 0}, "#/min_new_labels"),
    ({"min_new_labels": 7.5}, "#/min_new_labels"),
    ({"min_new_labels": 10**300}, "#/min_new_labels"),
    ({"minLabelsRequired": "7"}, "#/minLabelsRequired"),
    ({"min_new_labels": {"deep": 1}}, "#/min_new_labels"),
    ({"enabled": 1}, "#/enabled"),
    ({"schedule": {"cron": "whenever"}}, "#/schedule/cron"),
    ({"schedule.cron": "* * * * *\nsigning: {}"}, "#/schedule.cron"),
    ({"schedule": {"timezone": "Mars/Olympus"}}, "#/schedule/timezone"),
    ({"schedule": {"verify_cron": "0 0 * * *"}}, "#/schedule/verify_cron"),
    ({"schedule": "0 5 * * *"}, "#/schedule"),
    ({"gates": {"minMacroF1": 1.5}}, "#/gates/minMacroF1"),
    ({"gates": {"min_macro_f1": 0.5}}, "#/gates/min_macro_f1"),
    ({"gates": {"minRejectRate": 0.9, "maxRejectRate": 0.1}}, "#/gates/minRejectRate"),
    ({"gates.min_macro_f1": 1.5}, "#/gates.min_macro_f1"),
    ({"min_new_labels": 7, "minLabelsRequired": 8}, "#/minLabelsRequired"),
    ({"min_new_labels": [7]}, "#/min_new_labels"),
    ({"events": {}}, "#/events"),
    ({"signing.public_key": None}, "#/signing.public_key"),
    ({"": 1}, "#/"),
    ({"é/~": 1}, "#/é~1~0"),
]
"""A change, and a place in it that is named."""


def test_a_wrong_setting_is_answered_with_422_and_named_and_nothing_is_written(site: Site) -> None:
    for change, pointer in WRONG:
        problem = problem_of(site.put("/config", change, headers={"If-Match": "*"}), 422, "invalid")
        assert pointer in [part["pointer"] for part in problem["errors"]], change
        assert not (site.home.root / SETTINGS).exists(), change


def test_a_change_may_use_the_keys_of_the_file(site: Site) -> None:
    answer = site.put("/config", {"gates.min_macro_f1": 0.5, "min_windows": 7, "enabled": False}, headers={"If-Match": "*"})
    assert set(answer.json()["effective"]) == {"gates.min_macro_f1", "min_windows", "enabled"}


def test_every_key_can_be_changed_by_its_name_in_camel_case(site: Site) -> None:
    values = site.get("/config").json()["values"]
    change: dict[str, Any] = {}
    for path, key in ON_THE_WIRE.items():
        inner = change if len(path) == 1 else change.setdefault(path[0], {})
        inner[path[-1]] = values[key]["default"]
    answer = site.put("/config", change, headers={"If-Match": "*"})
    assert answer.status_code == 200
    assert set(answer.json()["effective"]) == {key for key, value in values.items() if value["default"] is not None}


def test_a_settings_file_that_is_broken_is_no_fault_of_the_change(site: Site) -> None:
    (site.home.root / SETTINGS).write_text("min_windows: many\n", encoding="utf-8")
    problem_of(site.get("/config"), 503, "unavailable")
    problem = problem_of(site.put("/config", {"min_new_labels": 7}, headers={"If-Match": "*"}), 503, "unavailable")
    assert "min_windows" in problem["detail"]


# --- The document ---------------------------------------------------------------------------------------------------------------------


def test_the_document_is_a_valid_openapi_document_of_every_operation(site: Site) -> None:
    document = site.get("/openapi.json").json()
    assert document == json.loads(json.dumps(build_document(OPERATIONS)))
    schemathesis.openapi.from_dict(document).validate()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(operation.method, API + operation.path) for operation in OPERATIONS}


def test_every_field_on_the_wire_is_in_camel_case_and_described() -> None:
    document: dict[str, Any] = build_document(OPERATIONS)
    for name, schema in document["components"]["schemas"].items():
        for field, about in schema.get("properties", {}).items():
            assert name == "ConfigForm" or field.isalnum(), (name, field)
            assert "title" not in about, (name, field)


def test_with_the_token_of_the_server_missing_or_wrong_nothing_is_answered(site: Site) -> None:
    for headers in ({"Authorization": ""}, {"Authorization": f"Bearer {TOKEN}x"}):
        assert site.get("/status", headers=headers).status_code == 401
