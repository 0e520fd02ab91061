"""Everything of Dagster's web server that is used and is not public: its class, the function that serves it, and its launch of a run.

`GuardedWebserver` has the guard around all routes, its subclasses add ours in front of Dagster's: `Webserver` for one home, and
`homes_webserver.HomesWebserver` for many. `run_webserver` is Dagster's own command with one of them.
One smoke test, `test_dagster_webserver.py`, says what breaks when Dagster moves; a test forbids these imports elsewhere.
"""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Mapping
from functools import partial
from importlib.resources import files
from typing import Any

import click
import dagster as dg
import uvicorn
from dagster_webserver import cli
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from taskclf_dagster.config.loading import resolve_config
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.dagster_internals import LOCATION, REPOSITORY
from taskclf_dagster.defs.runs.instance_home import require_own_instance
from taskclf_dagster.defs.runs.run_tags import HOME_TAG, home_tag
from taskclf_dagster.errors import LaunchRefusedError
from taskclf_dagster.home import Home
from taskclf_dagster.web.access import AccessRules
from taskclf_dagster.web.headers import DAGSTER_POLICY
from taskclf_dagster.web.problems import answer_problem
from taskclf_dagster.web.routes import build_own_routes
from taskclf_dagster.web.security import Guard
from taskclf_dagster.web.site_paths import SitePaths

READ_ONLY = "the server was started with --read-only"

RELOAD = """
mutation Reload($location: String!) {
  reloadRepositoryLocation(repositoryLocationName: $location) {
    __typename
    ... on WorkspaceLocationEntry { locationOrLoadError { __typename ... on PythonError { message } } }
    ... on Error { message }
  }
}
"""

MESSAGE_BYTES = 1024 * 1024
"""The longest message over a websocket [bytes]; queries are a few kilobytes."""

GRACE_SECONDS = 2
"""The time that open requests get when the server ends; live updates stay open for as long as a page is."""


MakeWebserver = Callable[[Any, str, int, int | None], "GuardedWebserver"]
"""Makes a server from its process context, host, port and the rate at which Dagster's pages ask for news [ms]."""


class GuardedWebserver(DagsterWebserver[Any, Any]):
    """Dagster's web server with a guard around everything, and with ways to launch a run and to load the definitions again.

    Args:
        process_context: the workspace, the instance and `read_only`, as Dagster's command makes them.
        rules: who may ask.
        live_data_poll_rate: as of Dagster's web server [ms].
    """

    def __init__(self, process_context: Any, rules: AccessRules, live_data_poll_rate: int | None = None) -> None:
        self._rules = rules
        super().__init__(process_context, live_data_poll_rate=live_data_poll_rate)

    def build_own_routes(self) -> list[BaseRoute]:
        """Returns the routes that come before Dagster's: none here."""
        return []

    @property
    def instance(self) -> dg.DagsterInstance:
        return self._process_context.instance

    @property
    def read_only(self) -> bool:
        return self._rules.read_only

    def build_routes(self) -> list[BaseRoute]:
        """Returns our routes, then Dagster's."""
        return [*self.build_own_routes(), *super().build_routes()]  # type: ignore[no-untyped-call]  # Dagster's has no types

    def build_middleware(self) -> list[Middleware]:
        """Returns the guard, then Dagster's middleware."""
        return [Middleware(Guard, rules=self._rules), *super().build_middleware()]

    def make_csp_header(self, nonce: str) -> str:
        """Returns Dagster's policy for its page, and what it leaves open."""
        return f"{super().make_csp_header(nonce).rstrip('; ')}; {DAGSTER_POLICY}"

    async def graphql_http_endpoint(self, request: Request) -> Response:
        """Answers a query that came as JSON by POST; a GET shows Dagster's page for queries and executes nothing."""
        if request.method != "POST" and not (request.method == "GET" and "text/html" in request.headers.get("Accept", "")):
            return answer_problem("method_not_allowed", "Send queries as JSON by POST.", path=request.url.path, headers={"Allow": "POST"})
        try:
            return await super().graphql_http_endpoint(request)
        except ClientDisconnect:  # nobody reads this; without it every such request would fill the log
            return answer_problem("unreadable_request", "The body ends too early.", path=request.url.path)

    def launch_run(self, job: str, form: Mapping[str, object], *, tags: Mapping[str, str]) -> str:
        """Launches a job through Dagster's queue and returns the id of its run. Not to be called on the event loop.

        Args:
            job: its name.
            form: its launch form.
            tags: of the run.

        Raises:
            LaunchRefusedError: the server is read-only, or Dagster refuses the form or has no such job.
        """
        if self.read_only:
            raise LaunchRefusedError(f"launch {job}", READ_ONLY)
        params = {
            "selector": {"repositoryLocationName": LOCATION, "repositoryName": REPOSITORY, "jobName": job},
            "runConfigData": dict(form),
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        query = (files("taskclf_dagster.status") / "graphql" / "trigger.graphql").read_text(encoding="utf-8")
        answer = self._execute(query, {"params": params}, f"launch {job}")["launchRun"]
        if answer["__typename"] != "LaunchRunSuccess":
            raise LaunchRefusedError(f"launch {job}", "; ".join(_find_messages(answer)) or answer["__typename"])
        return str(answer["run"]["runId"])

    def reload_definitions(self) -> None:
        """Loads schedules and sensors again in code server and web server; the daemon notices by itself. Not for the event loop.

        Raises:
            LaunchRefusedError: the server is read-only, or the definitions cannot be loaded; the former ones stay in use.
        """
        if self.read_only:
            raise LaunchRefusedError("load the definitions again", READ_ONLY)
        answer = self._execute(RELOAD, {"location": LOCATION}, "load the definitions again")["reloadRepositoryLocation"]
        if messages := list(_find_messages(answer)):
            raise LaunchRefusedError("load the definitions again", "; ".join(messages))

    def _execute(self, query: str, variables: dict[str, Any], action: str) -> dict[str, Any]:
        """Executes a query as `/graphql` would, in this thread."""
        with self._process_context.create_request_context() as context:
            response = asyncio.run(self.gen_graphql_response(context, query, variables, None))
        answer: dict[str, Any] = json.loads(bytes(response.body))
        if answer.get("errors"):
            raise LaunchRefusedError(action, "; ".join(_find_messages(answer["errors"])))
        return dict(answer["data"])


class Webserver(GuardedWebserver):
    """The web server of one home, with our pages and API. It is their `Backend`.

    Args:
        process_context: as of `GuardedWebserver`.
        home: the taskclf home.
        rules: who may ask.
        live_data_poll_rate: as of Dagster's web server [ms].
    """

    def __init__(self, process_context: Any, home: Home, rules: AccessRules, live_data_poll_rate: int | None = None) -> None:
        self._home = home
        super().__init__(process_context, rules, live_data_poll_rate)

    @property
    def home(self) -> Home:
        return self._home

    @property
    def paths(self) -> SitePaths:
        return SitePaths()

    @property
    def cron_effect(self) -> str:
        return "in about half a minute, when the schedules have been loaded again"

    def build_own_routes(self) -> list[BaseRoute]:
        """Returns the routes of page and API."""
        return build_own_routes(self)

    def load_config(self) -> RetrainConfig:
        """Reads the configuration as it is now.

        Raises:
            SettingsError: it is not valid.
        """
        return resolve_config(None, self._home)

    def launch(self, job: str, form: Mapping[str, object], *, tags: Mapping[str, str]) -> str:
        """Launches a job for the home, as `launch_run`, with the tag of the home.

        Raises:
            LaunchRefusedError: as `launch_run`.
            InstanceError: the instance belongs to another home.
        """
        if not self.read_only:
            require_own_instance(self.instance, self._home)
        return self.launch_run(job, form, tags={**tags, HOME_TAG: home_tag(self._home)})


def _find_messages(answer: Any) -> list[str]:
    """Returns every `message` of an answer, each on one line; the queries select it on errors only."""
    if isinstance(answer, list):
        return [message for item in answer for message in _find_messages(item)]
    if not isinstance(answer, dict):
        return []
    own = [" ".join(str(answer["message"]).split())] if "message" in answer else []
    return own + [message for key, value in answer.items() if key != "extensions" for message in _find_messages(value)]


def run_webserver(make: MakeWebserver) -> None:
    """Runs Dagster's command `dagster-webserver`, with its options, as our server.

    Args:
        make: makes the server from its process context, host, port and the rate at which Dagster's pages ask for news [ms].
    """
    vars(cli)["host_dagster_ui_with_workspace_process_context"] = partial(_host, make)
    cli.main()  # type: ignore[no-untyped-call]  # Dagster's has no types


def _host(
    make: MakeWebserver, context: Any, host: str | None, port: int | None, path_prefix: str, log_level: str, poll_rate: int | None = None
) -> None:
    """Serves in the place of Dagster's own function, until the process is asked to end."""
    if path_prefix:
        raise click.UsageError("--path-prefix is not supported: let a proxy give the server a host name of its own.")
    listens_on, listens_at = host or cli.DEFAULT_WEBSERVER_HOST, port or cli.DEFAULT_WEBSERVER_PORT
    server = make(context, listens_on, listens_at, poll_rate)
    logging.getLogger(cli.WEBSERVER_LOGGER_NAME).info(f"Serving on http://{listens_on}:{listens_at} in process {os.getpid()}")
    uvicorn.run(
        server.create_asgi_app(),
        host=listens_on,
        port=listens_at,
        log_level=log_level,
        access_log=False,
        server_header=False,
        ws_max_size=MESSAGE_BYTES,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
