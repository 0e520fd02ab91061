"""What breaks when Dagster's web server moves: the names that `web.dagster_webserver` relies on, and what it makes of them."""

import asyncio
import inspect
from collections.abc import Iterator

import pytest
from starlette.types import Message

from taskclf_dagster.defs.runs.run_tags import CAUSE_TAG, HOME_TAG, home_tag
from taskclf_dagster.errors import LaunchRefusedError
from taskclf_dagster.home import Home
from taskclf_dagster.web import dagster_webserver
from taskclf_dagster.web.access import AccessRules
from taskclf_dagster.web.dagster_webserver import Webserver
from taskclf_dagster_tests.asgi import TestClient
from taskclf_dagster_tests.scenario import make_home
from taskclf_dagster_tests.web.api_scenario import Server, serving

URL = "http://127.0.0.1:3000"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as made:
        yield made


def show(server: Server, home: Home, *, read_only: bool = False) -> Webserver:
    return Webserver(server.context, home, AccessRules(listens_at=3000, read_only=read_only))


def test_dagster_s_command_still_serves_with_the_function_that_ours_replaces() -> None:
    cli = dagster_webserver.cli
    replaced = inspect.signature(cli.host_dagster_ui_with_workspace_process_context).parameters
    assert len(replaced) == len(inspect.signature(dagster_webserver._host).parameters) - 1  # after the function that makes the server
    assert list(replaced) == ["workspace_process_context", "host", "port", "path_prefix", "log_level", "live_data_poll_rate"]
    called = inspect.getsource(cli.dagster_webserver.callback)
    assert "host_dagster_ui_with_workspace_process_context(" in called
    for name in ("build_routes", "build_middleware", "make_csp_header", "graphql_http_endpoint", "gen_graphql_response"):
        assert callable(getattr(dagster_webserver.DagsterWebserver, name)), name


def test_dagster_s_page_has_its_nonce_and_loads_nothing_of_another_site(server: Server, home: Home) -> None:
    answer = TestClient(show(server, home).create_asgi_app(), URL).get("/runs")
    policy = answer.headers["Content-Security-Policy"]
    nonce = policy.partition("'nonce-")[2].partition("'")[0]
    assert (answer.status_code, len(nonce) > 20, f'nonce="{nonce}"' in answer.text) == (200, True, True)
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'self'" in policy


@pytest.mark.parametrize("query", ["{version}", "mutation{setNuxSeen}"])
def test_a_query_by_get_is_not_executed_and_shows_a_page_at_most(server: Server, home: Home, query: str) -> None:
    client = TestClient(show(server, home).create_asgi_app(), URL)
    for path in ("/graphql", "/graphql%0A"):
        assert client.get(path, params={"query": query}).status_code == 405
        shown = client.get(path, params={"query": query}, headers={"Accept": "text/html"})
        assert (shown.status_code, "GraphiQL" in shown.text) == (200, True)
    assert "data" in client.post("/graphql", json={"query": query}).json()


def test_a_body_that_ends_too_early_is_no_error_of_the_server(server: Server, home: Home) -> None:
    parts = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return parts.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1:3000"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/graphql", "query_string": b"", "headers": headers, "scheme": "http"}
    asyncio.run(show(server, home).create_asgi_app()({**scope, "server": ("127.0.0.1", 3000), "client": None}, receive, send))
    assert sent[0]["status"] == 400


def test_a_launch_goes_into_the_queue_with_its_tags_and_that_of_the_home(server: Server, home: Home) -> None:
    run_id = show(server, home).launch("retrain", {"dry_run": True}, tags={CAUSE_TAG: "api"})
    run = server.instance.get_run_by_id(run_id)
    assert run is not None
    assert (run.status.value, run.job_name, dict(run.run_config)) == ("QUEUED", "retrain", {"dry_run": True})
    assert (run.tags[CAUSE_TAG], run.tags[HOME_TAG]) == ("api", home_tag(home))


@pytest.mark.parametrize(
    ("job", "form", "named"),
    [("retrain", {"no_such_field": 1}, "no_such_field"), ("no_such_job", {}, "no_such_job"), ("retrain", {"force": "x"}, "force")],
)
def test_a_launch_that_dagster_refuses_says_why(server: Server, home: Home, job: str, form: dict[str, object], named: str) -> None:
    before = server.instance.get_runs_count()
    with pytest.raises(LaunchRefusedError) as refused:
        show(server, home).launch(job, form, tags={})
    assert named in refused.value.reason
    assert server.instance.get_runs_count() == before


def test_a_read_only_server_launches_and_reloads_nothing(server: Server, home: Home) -> None:
    webserver = show(server, home, read_only=True)
    assert webserver.read_only
    for change in (lambda: webserver.launch("retrain", {}, tags={}), webserver.reload_definitions):
        with pytest.raises(LaunchRefusedError):
            change()
