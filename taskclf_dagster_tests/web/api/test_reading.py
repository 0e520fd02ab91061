"""Requests that cannot be met: what each is answered, wherever it goes wrong; nothing is launched."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import httpx
import pytest

from taskclf_dagster.home import Home
from taskclf_dagster.web.api.reading import MAX_BODY_BYTES, MAX_BODY_DEPTH
from taskclf_dagster.web.api.routes import OPERATIONS
from taskclf_dagster_tests.scenario import make_home
from taskclf_dagster_tests.web.api_scenario import API, Server, Site, problem_of, serving

JSON = {"Content-Type": "application/json"}
CHANGES = [operation for operation in OPERATIONS if operation.changes]
BY_ID = ["jobs", "runs", "decisions", "models"]
NO_IDS = [
    "..",
    "../..",
    "../../../etc/passwd",
    "a/b",
    "a\\b",
    "nul\0byte",
    "line\nend",
    "line end\n",
    "0",
    "é" * 40,
    "x" * 4000,
    "\u202e",
    "5f0c2c0e-6d54-4a52-8f0f-0d9c8a6f1b2e",
    "2026-02-04_060000_1a2b3c4d",
    "' OR 1=1 --",
    "%00",
    "{{7*7}}",
    ".",
    "active.json",
    ".staging",
]
UNREADABLE = {
    "empty": b"",
    "only spaces": b"  \n",
    "cut off": b'{"force": tr',
    "not JSON": b"force=true",
    "a key twice": b'{"force": true, "force": false}',
    "not a number": b'{"holdoutUserFraction": NaN}',
    "infinity": b'{"holdoutUserFraction": -Infinity}',
    "too large for a double": b'{"holdoutUserFraction": 1e999}',
    "half a character": b'{"asOf": "\\ud800"}',
    "half a character in a key": b'{"\\ud800": 1}',
    "not UTF-8": b'{"asOf": "\xff"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "deep": b'{"force":' + b"[" * MAX_BODY_DEPTH + b"]" * MAX_BODY_DEPTH + b"}",
    "very deep": b"[" * 20_000,
    "a number of many digits": b'{"force": ' + b"9" * 5000 + b"}",
    "two values": b"{} {}",
}
INVALID: list[tuple[bytes, str]] = [
    (b"[]", "#"),
    (b"null", "#"),
    (b'"force"', "#"),
    (b'{"forc": true}', "#/forc"),
    (b'{"dry_run": true}', "#/dry_run"),
    (b'{"configPath": "/etc/passwd"}', "#/configPath"),
    (b'{"a/b~c": 1}', "#/a~1b~0c"),
    (b'{"force": 1}', "#/force"),
    (b'{"force": "true"}', "#/force"),
    (b'{"force": null}', "#/force"),
    (b'{"force": [[]]}', "#/force"),
    (b'{"holdoutUserFraction": "0.1"}', "#/holdoutUserFraction"),
    (b'{"holdoutUserFraction": true}', "#/holdoutUserFraction"),
    (b'{"holdoutUserFraction": 1}', "#/holdoutUserFraction"),
    (b'{"holdoutUserFraction": -1e-9}', "#/holdoutUserFraction"),
    (b'{"holdoutUserFraction": ' + b"9" * 400 + b"}", "#/holdoutUserFraction"),
    (b'{"asOf": 20260204}', "#/asOf"),
    (b'{"asOf": ""}', "#/asOf"),
    (b'{"asOf": "yesterday"}', "#/asOf"),
    (b'{"asOf": "2026-02-30"}', "#/asOf"),
    (b'{"asOf": "1989-12-31"}', "#/asOf"),
    (b'{"asOf": "9000-01-01"}', "#/asOf"),
    (b'{"asOf": "2026-02-04T06:00:00"}', "#/asOf"),
    (b'{"asOf": "2026-W06"}', "#/asOf"),
]
"""Bodies of a trigger, and the part that is wrong."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as made:
        yield made


@pytest.fixture(scope="module")
def instance(server: Server) -> dg.DagsterInstance:
    return server.instance


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture
def site(server: Server, instance: dg.DagsterInstance, home: Home) -> Iterator[Site]:
    runs = instance.get_runs_count()
    yield server.show(home)
    assert instance.get_runs_count() == runs


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_body_that_is_not_json_that_means_the_same_to_everyone_is_answered_with_400(site: Site, case: str) -> None:
    problem_of(site.post("/trigger", content=UNREADABLE[case], headers=JSON), 400, "unreadable_request")


@pytest.mark.parametrize(("body", "pointer"), INVALID)
def test_a_wrong_field_is_answered_with_422_and_named(site: Site, body: bytes, pointer: str) -> None:
    problem = problem_of(site.post("/trigger", content=body, headers=JSON), 422, "invalid")
    assert [part["pointer"] for part in problem["errors"]] == [pointer]
    assert problem["errors"][0]["detail"]
    assert problem["instance"] == f"{API}/trigger"


def test_every_wrong_field_is_named_at_once(site: Site) -> None:
    problem = problem_of(site.post("/trigger", {"force": 1, "dryRun": 2, "other": 3}), 422, "invalid")
    assert [part["pointer"] for part in problem["errors"]] == ["#/force", "#/dryRun", "#/other"]


@pytest.mark.parametrize("operation", CHANGES, ids=lambda operation: operation.name)
def test_a_body_of_another_type_is_answered_with_415(site: Site, operation: object) -> None:
    path = operation.path  # type: ignore[attr-defined]
    method = operation.method  # type: ignore[attr-defined]
    types = ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "application/json; charset=latin-1", None]
    for kind in types:
        answer = site.ask(method, path, content=b"{}", headers={} if kind is None else {"Content-Type": kind})
        assert answer.status_code == 415, kind
    problem_of(site.ask(method, path, content=b"{}", headers={**JSON, "Content-Encoding": "gzip"}), 415, "unsupported_media_type")


def test_a_body_that_is_too_large_is_answered_with_413(site: Site) -> None:
    body = json.dumps({"asOf": "x" * MAX_BODY_BYTES}).encode()
    problem_of(site.post("/trigger", content=body, headers=JSON), 413, "too_large")


@pytest.mark.parametrize("accept", ["text/html", "application/xml, text/*", "application/json;q=0", "image/png;q=1"])
def test_a_client_that_takes_no_json_is_answered_with_406(site: Site, accept: str) -> None:
    problem_of(site.get("/history", headers={"Accept": accept}), 406, "not_acceptable")


@pytest.mark.parametrize("accept", ["", "*/*", "application/*", "text/html, application/json;q=0.1", "APPLICATION/JSON"])
def test_a_client_that_takes_json_is_answered(site: Site, accept: str) -> None:
    assert site.get("/history", headers={"Accept": accept}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/status", {"GET", "HEAD"}),
        ("PUT", "/trigger", {"POST"}),
        ("GET", "/trigger", {"POST"}),
        ("DELETE", "/history", {"GET", "HEAD"}),
        ("PATCH", "/jobs/x", {"GET", "HEAD"}),
        ("OPTIONS", "/rollback", {"POST"}),
        ("QUERY", "/history", {"GET", "HEAD"}),
    ],
)
def test_another_method_is_answered_with_405_and_those_that_there_are(site: Site, method: str, path: str, allowed: set[str]) -> None:
    answer = site.ask(method, path, content=b"{}", headers=JSON)
    problem_of(answer, 405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["", "/", "/nothing", "/status/", "/jobs", "/jobs/", "/jobs/a/b", "/Status"])
def test_a_path_that_is_not_there_is_answered_with_404(site: Site, path: str) -> None:
    problem_of(site.get(path), 404, "not_found")


@pytest.mark.parametrize("name", NO_IDS)
def test_an_id_of_nothing_is_answered_with_404_and_never_leads_out_of_the_home(site: Site, name: str) -> None:
    for kind in BY_ID:
        problem_of(site.get(f"/{kind}/{quote(name, safe='')}"), 404, "not_found")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=201", "limit"),
        ("limit=", "limit"),
        ("limit=ten", "limit"),
        ("limit=1.0", "limit"),
        ("limit=1_0", "limit"),
        ("limit=%D9%A1", "limit"),
        (f"limit={'9' * 5000}", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=", "cursor"),
        ("cursor=x", "cursor"),
        ("cursor=1.%00", "cursor"),
        (f"cursor={'1' * 19}.x", "cursor"),
    ],
)
def test_a_wrong_parameter_is_answered_with_422_and_named(site: Site, query: str, field: str) -> None:
    problem = problem_of(site.get(f"/history?{query}"), 422, "invalid")
    assert [part["field"] for part in problem["errors"]] == [field]


def test_a_server_that_changes_nothing_refuses_every_change(server: Server, instance: dg.DagsterInstance, home: Home) -> None:
    site = server.show(home, read_only=True)
    for operation in CHANGES:
        problem_of(site.ask(operation.method, operation.path, json={"reason": "x"}), 403, "read_only")
    assert site.get("/history").status_code == 200


def test_where_there_is_no_home_everything_but_the_document_is_answered_with_503(server: Server, tmp_path: Path) -> None:
    site = server.show(Home(tmp_path / "nothing"))
    for path in ("/history", "/jobs/x", "/models/x", "/config"):
        problem = problem_of(site.get(path), 503, "unavailable")
        assert str(tmp_path / "nothing") in problem["detail"]
    problem_of(site.post("/trigger", {}), 503, "unavailable")


def test_with_a_configuration_that_is_not_valid_nothing_is_launched(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.yaml").write_text("min_new_labels: many\n", encoding="utf-8")
    monkeypatch.setenv("TASKCLF_DAGSTER_CONFIG", str(tmp_path / "broken.yaml"))
    for path, body in {"/trigger": {}, "/approve": {}, "/rollback": {"reason": "x"}}.items():
        problem = problem_of(site.post(path, body), 503, "unavailable")
        assert "min_new_labels" in problem["detail"]


def test_a_defect_of_the_server_is_answered_without_its_text(site: Site, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("SECRET")

    monkeypatch.setattr(Home, "require", fail)
    answer = site.get("/history")
    problem_of(answer, 500, "internal")
    assert "SECRET" not in answer.text
    assert "Traceback" not in answer.text


def test_head_is_answered_as_get(site: Site) -> None:
    answer: httpx.Response = site.ask("HEAD", "/history")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
