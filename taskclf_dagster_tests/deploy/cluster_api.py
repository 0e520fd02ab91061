"""A server on loopback that answers dagster-k8s as the API of a cluster does: jobs are kept, and pods end as a test says."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class ClusterApi:
    """The state of the cluster.

    Attributes:
        url: of the API.
        jobs: the jobs that were created, by name.
        status: of every job.
        pods: the pods of every job.
        events: of every pod.
        is_broken: True to answer nothing but 503.
    """

    url: str = ""
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=lambda: {"active": 1})
    pods: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    is_broken: bool = False

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        """Status and document of an answer."""
        if self.is_broken:
            return 503, {"kind": "Status", "reason": "ServiceUnavailable"}
        kind, _, rest = path.removeprefix("/apis/batch/v1/namespaces/").removeprefix("/api/v1/namespaces/").partition("/")[2].partition("/")
        name = rest.partition("/")[0]
        if method == "POST" and kind == "jobs":
            self.jobs[body["metadata"]["name"]] = body
            return 201, body
        if method == "DELETE" and kind == "jobs":
            return (200, {"kind": "Status", "status": "Success"}) if self.jobs.pop(name, None) else (404, {"kind": "Status"})
        if kind == "jobs" and name:
            return (200, {**self.jobs[name], "status": self.status}) if name in self.jobs else (404, {"kind": "Status"})
        if kind == "jobs":
            wanted = query["fieldSelector"][0].removeprefix("metadata.name=")
            return 200, {"items": [{**job, "status": self.status} for each, job in self.jobs.items() if each == wanted]}
        return 200, {"items": self.pods if kind == "pods" else self.events}


@contextmanager
def serve_cluster_api() -> Iterator[ClusterApi]:
    """Serves an empty cluster on a free port of loopback."""
    api = ClusterApi()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            parts = urlsplit(self.path)
            status, document = api.answer(self.command, parts.path, parse_qs(parts.query), body)
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815  # the names that the base class calls

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
