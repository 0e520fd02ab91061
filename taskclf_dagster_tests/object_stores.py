"""A real object store for the tests: moto's S3 server on a free loopback port, in front of which faults can be put.

Objects are kept in this process, so that a server that was stopped and started again has them.
"""

import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import fsspec
import pytest
import s3fs
from moto.core.base_backend import BackendDict
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from upath import UPath
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from taskclf_dagster.domain.data.day_objects import forget_listings
from taskclf_dagster.domain.storage.object_store import open_location
from taskclf_dagster.home import Home

BUCKET = "windows-of-the-team"


class _QuietHandler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002  # the name of the base class
        pass


@dataclass
class Store:
    """The server.

    Attributes:
        requests: method and path with query of each request that came in.
        fault: called with these before a request is answered; an HTTP status answers it instead, 0 cuts the connection, None lets it be.
        after: called with these after a request was answered by the store and before its answer is sent.
    """

    port: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)
    fault: Callable[[str, str], int | None] = lambda _method, _path: None
    after: Callable[[str, str], None] = lambda _method, _path: None
    _server: BaseWSGIServer | None = None
    _thread: Thread | None = None

    def start(self) -> None:
        """Starts the server; later starts take the same port."""
        self._backend = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", self.port, self._answer, threaded=True, request_handler=_QuietHandler)
        self.port = self._server.server_port
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stops the server: new connections are refused."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    def location(self, path: str) -> UPath:
        """A folder of the bucket."""
        found = open_location(f"s3://{BUCKET}/{path}")
        assert isinstance(found, UPath)
        return found

    def put(self, path: str, content: bytes) -> None:
        """Stores an object without a request."""
        next(iter(_backends().values())).put_object(BUCKET, path, content)

    def get(self, path: str) -> bytes:
        """The bytes of an object, without a request."""
        return bytes(next(iter(_backends().values())).get_object(BUCKET, path).value)

    def names(self, prefix: str = "") -> list[str]:
        """The names of all objects, without a request."""
        keys = next(iter(_backends().values())).buckets[BUCKET].keys
        return sorted(name for name in keys if name.startswith(prefix))

    def remove(self, path: str) -> None:
        """Removes an object without a request."""
        next(iter(_backends().values())).delete_object(BUCKET, path)

    def upload(self, folder: Path, prefix: str) -> None:
        """Stores every file of a folder."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def asked_for(self, method: str, part: str = "") -> list[str]:
        """The paths of the requests of a method that have a part."""
        return [path for used, path in self.requests if used == method and part in path]

    def _answer(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], f"{environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}"
        self.requests.append((method, path))
        status = self.fault(method, path)
        if status == 0:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        if status is not None:
            code = {403: "AccessDenied", 503: "ServiceUnavailable"}.get(status, "InternalError")
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start(f"{status} fault", [("Content-Type", "application/xml")])
            if method == "HEAD":
                return []
            return [f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>as the test wants</Message></Error>".encode()]
        answer = list(self._backend(environ, start))
        self.after(method, path)
        return answer


def _backends() -> BackendDict[Any]:
    return s3_backends["123456789012"]


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Yields a server with an empty bucket, which the environment of this process and of those it starts names."""
    store = Store()
    store.start()
    variables = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{store.port}", "AWS_ACCESS_KEY_ID": "a-key", "AWS_SECRET_ACCESS_KEY": "a-secret"}
    for name, value in {**variables, "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    forget_listings()
    fsspec.filesystem("s3").mkdir(BUCKET)
    store.requests.clear()
    try:
        yield store
    finally:
        store.stop()
        s3_backends.reset()
        s3fs.S3FileSystem.clear_instance_cache()
        forget_listings()


def point_to(home: Home, *, features: str | None = None, snapshots: str | None = None) -> None:
    """Writes the settings file of a home that names folders of the bucket."""
    given = {"features_url": features, "snapshots_url": snapshots}
    lines = [f"  {key}: s3://{BUCKET}/{path}\n" for key, path in given.items() if path is not None]
    home.settings_file.write_text("".join(["home:\n", *lines]), encoding="utf-8")
    forget_listings()
