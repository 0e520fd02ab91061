"""A server whose API gives prepared answers, behind the guard and with the page of the real one: for states that are hard to reach."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from taskclf_dagster.home import Home
from taskclf_dagster.web.access import AccessRules
from taskclf_dagster.web.page import build_page_routes
from taskclf_dagster.web.security import Guard
from taskclf_dagster.web.site_paths import SitePaths
from taskclf_dagster_tests.web import page_examples

API = "/api/ml/retrain"


@dataclass
class PreparedHome:
    """The part of a backend that the page reads, and what the API answers.

    Attributes:
        home: a real home, for its reports.
        paths: where its page and API are.
        status: answer of GET status.
        history: all items of GET history.
        config: answer of GET config, and its ETag.
        run: answer of GET runs/...
        refusals: a problem for a change, by its path.
        changes: what was sent, oldest first.
        busy: held while changes have to wait for their answer.
    """

    home: Home
    paths: SitePaths = field(default_factory=SitePaths)
    status: dict[str, Any] = field(default_factory=page_examples.rejected)
    history: list[dict[str, Any]] = field(default_factory=page_examples.history)
    config: dict[str, Any] = field(default_factory=page_examples.config)
    etag: str = '"one"'
    run: dict[str, Any] = field(default_factory=lambda: {"status": "running", "message": "It runs."})
    refusals: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    changes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    busy: threading.Lock = field(default_factory=threading.Lock)


def build_application(prepared: PreparedHome, port: int) -> Starlette:
    """The page, and an API of prepared answers."""

    def status(_: Request) -> Response:
        return JSONResponse(prepared.status)

    def history(request: Request) -> Response:
        begin = int(request.query_params.get("cursor") or 0)
        end = begin + int(request.query_params["limit"])
        return JSONResponse({"items": prepared.history[begin:end], "nextCursor": str(end) if end < len(prepared.history) else None})

    def config(_: Request) -> Response:
        return JSONResponse(prepared.config, headers={"ETag": prepared.etag})

    def run(request: Request) -> Response:
        return JSONResponse({"runId": request.path_params["run_id"], "job": "retrain", **prepared.run})

    async def change(request: Request) -> Response:
        name = request.url.path.removeprefix(f"{API}/")
        body = await request.json()
        while prepared.busy.locked():
            await asyncio.sleep(0.05)
        prepared.changes.append((name, body))
        if name in prepared.refusals:
            code, problem = prepared.refusals[name]
            return JSONResponse({"title": "Refused", "status": code, **problem}, code, media_type="application/problem+json")
        if name != "config":
            return JSONResponse({"id": page_examples.RUN, "runId": page_examples.RUN, "status": "pending"}, 202)
        if request.headers.get("If-Match") != prepared.etag:
            return JSONResponse({"title": "Precondition Failed", "status": 412, "detail": "changed meanwhile"}, 412)
        prepared.config, prepared.etag = page_examples.config(**body), '"two"'
        return JSONResponse({**prepared.config, "effective": dict.fromkeys(body, "from the next run")}, headers={"ETag": prepared.etag})

    routes = [
        Route(f"{API}/status", status),
        Route(f"{API}/history", history),
        Route(f"{API}/config", config, methods=["GET"]),
        Route(f"{API}/config", change, methods=["PUT"]),
        Route(f"{API}/runs/{{run_id}}", run),
        *(Route(f"{API}/{name}", change, methods=["POST"]) for name in ("trigger", "approve", "rollback")),
        *build_page_routes(prepared),  # type: ignore[arg-type]  # it launches nothing
    ]
    return Starlette(routes=routes, middleware=[Middleware(Guard, rules=AccessRules(listens_at=port))])


@contextmanager
def serving(prepared: PreparedHome, port: int = 0) -> Iterator[str]:
    """Serves on a port of loopback, any free one by default, and gives the address of the page."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        port = listener.getsockname()[1]
        settings = uvicorn.Config(build_application(prepared, port), log_level="warning", timeout_graceful_shutdown=1)
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}/retrain"
        finally:
            server.should_exit = True
            thread.join(timeout=30)
