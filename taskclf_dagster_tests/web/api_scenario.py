"""The real web server in this process: its guard, its routes and Dagster's, over a home and an instance whose queue nobody works off."""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import uvicorn
from starlette.types import ASGIApp

from taskclf_dagster.defs.dagster_internals import LOCATION
from taskclf_dagster.home import Home
from taskclf_dagster.web.access import AccessRules
from taskclf_dagster.web.dagster_webserver import Webserver
from taskclf_dagster_tests.dagster_internals import workspace_in_process
from taskclf_dagster_tests.servers import free_port, until

API = "/api/ml/retrain"
TOKEN = "a-token-of-enough-characters"  # noqa: S105  # made up
QUEUE = {"run_coordinator": {"module": "dagster._core.run_coordinator", "class": "QueuedRunCoordinator"}}
PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Site:
    """A web server for one home.

    Attributes:
        home: what it shows.
        instance: where its runs are recorded.
        headers: what every request carries: by default a program with the token of the server.
    """

    home: Home
    instance: dg.DagsterInstance
    app: ASGIApp
    headers: Mapping[str, str] = field(default_factory=lambda: {"Authorization": f"Bearer {TOKEN}"})

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, body: object = None, **options: Any) -> httpx.Response:
        return self.ask("POST", path, **({"json": body} if body is not None else {}), **options)

    def put(self, path: str, body: object, **options: Any) -> httpx.Response:
        return self.ask("PUT", path, json=body, **options)

    def ask(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any) -> httpx.Response:
        return self.ask_at_once([partial(dict, method=method, url=API + path, headers={**self.headers, **(headers or {})}, **options)])[0]

    def ask_at_once(self, requests: Sequence[Any]) -> list[httpx.Response]:
        """Sends requests together, each made by a function that returns the arguments of httpx."""

        async def send() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:3000") as client:
                return list(await asyncio.gather(*(client.request(**make()) for make in requests)))

        return asyncio.run(send())


@contextmanager
def serving(folder: Path, module: str = "taskclf_dagster.definitions") -> Iterator["Server"]:
    """Dagster's part of the server, for the homes of several tests: loading the definitions takes seconds."""
    (folder / "dagster").mkdir()
    with (
        dg.DagsterInstance.local_temp(str(folder / "dagster"), overrides=QUEUE) as instance,
        workspace_in_process(instance, module, LOCATION) as context,
    ):
        yield Server(instance, context)


@dataclass(frozen=True)
class Server:
    """The part of a web server that does not depend on the home."""

    instance: dg.DagsterInstance
    context: Any

    def show(self, home: Home, **rules: Any) -> Site:
        """The web server of a home."""
        server = Webserver(self.context, home, AccessRules(**{"listens_at": 3000, "token": TOKEN, **rules}))
        return Site(home, self.instance, server.create_asgi_app())


@contextmanager
def listening(site: Site) -> Iterator[str]:
    """The server as programs reach it: its URL, as long as the block lasts."""
    config = uvicorn.Config(site.app, host="127.0.0.1", port=free_port(), log_level="error", ws="none")
    listener = uvicorn.Server(config)
    thread = threading.Thread(target=listener.run)
    thread.start()
    try:
        for _ in until(30, every=0.05):
            if listener.started:
                break
        yield f"http://127.0.0.1:{config.port}"
    finally:
        listener.should_exit = True
        thread.join()


def problem_of(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The problem details of an answer, which must be of this status and kind."""
    assert (answer.status_code, answer.headers.get("content-type")) == (status, PROBLEM), answer.text
    problem: dict[str, Any] = json.loads(answer.text)
    assert (problem["status"], problem["kind"]) == (status, kind)
    assert {"type", "title", "detail"} <= set(problem)
    return problem
