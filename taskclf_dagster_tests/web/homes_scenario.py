"""The real web server of many homes in this process, over generated homes and an instance whose queue nobody works off."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.web.access import AccessRules
from taskclf_dagster.web.homes_webserver import HomesWebserver
from taskclf_dagster_tests.web.api_scenario import TOKEN, Server, Site


def show_homes(server: Server, directory: HomeDirectory, **rules: Any) -> Site:
    """The web server of these homes; its `home` is the first that can be used."""
    made = HomesWebserver(server.context, directory, AccessRules(**{"listens_at": 3000, "token": TOKEN, **rules}))
    return Site(next(iter(directory.list_usable().values())), server.instance, made.create_asgi_app())


@contextmanager
def listening_to_browsers(server: Server, directory: HomeDirectory) -> Iterator[str]:
    """The same without a token on a free port of loopback: the address of the list, as long as the block lasts."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        site = show_homes(server, directory, listens_at=port, token=None)
        running = uvicorn.Server(uvicorn.Config(site.app, log_level="warning", ws="none", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}/retrain"
        finally:
            running.should_exit = True
            thread.join(timeout=30)
