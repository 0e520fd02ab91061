"""The operations of a server for many homes: one on all of them, and those on one home, which are those of `routes` below its name."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from starlette.routing import BaseRoute

from taskclf_dagster.status.homes_overview import HomesReader
from taskclf_dagster.status.homes_records import HomesOverview
from taskclf_dagster.web.api.answering import Bound, build_mount
from taskclf_dagster.web.api.openapi import build_document
from taskclf_dagster.web.api.operations import Answer, Asked, Operation, Service
from taskclf_dagster.web.api.routes import OF_HOME
from taskclf_dagster.web.backend import HomesBackend

MAX_OPEN = 32
"""Number of homes of which receipts and figures are kept, those that were asked for last."""


KEPT_SECONDS = 2.0
"""The time that a list of all homes is kept, so that many who look at it cost as much as one."""


class HomesService:
    """Many homes, and the state that the operations on them share.

    Args:
        backend: homes, instance and launches.
    """

    def __init__(self, backend: HomesBackend) -> None:
        self._backend = backend
        self._reader, self._reading = HomesReader(), threading.Lock()
        self._overview: HomesOverview | None = None
        self._services: OrderedDict[str, Service] = OrderedDict()
        self._launching: dict[str, threading.Lock] = {}
        self._opening = threading.Lock()

    def open(self, path: Mapping[str, str]) -> Service:
        """Returns the service of the home that a path names.

        Raises:
            BrokenHomeError: the home cannot be used.
            HomesFileError: the homes file is not valid.
            UnknownHomeError: there is no such home.
        """
        name = path["home"]
        backend = self._backend.open(name)
        with self._opening:
            service = self._services.get(name)
            if service is None or service.home != backend.home:
                service = Service(backend, launching=self._launching.setdefault(name, threading.Lock()))
            self._services[name] = service
            self._services.move_to_end(name)
            while len(self._services) > MAX_OPEN:
                self._services.popitem(last=False)
        return service

    def read_overview(self, now: datetime) -> HomesOverview:
        """Returns all homes at a glance, as they were KEPT_SECONDS ago at most."""
        with self._reading:
            kept = self._overview
            if kept is None or (now - kept.read_at).total_seconds() > KEPT_SECONDS:
                directory = self._backend.directory
                kept = self._reader.read(self._backend.instance, directory.list_homes(), now, read_only=self._backend.read_only)
                self._overview = kept
            return kept


def list_homes(service: HomesService, asked: Asked) -> Answer:
    """Answers all homes at a glance."""
    return Answer(service.read_overview(datetime.now(UTC)).model_copy(update={"user": asked.user}))


def _show_document(_: HomesService, asked: Asked) -> Answer:
    return Answer(build_homes_document())


ALL: tuple[Operation[HomesService], ...] = (
    Operation("GET", "/homes", "listHomes", "All homes at a glance, those that need a person first", list_homes, HomesOverview),
    Operation("GET", "/openapi.json", "getOpenapi", "This document", _show_document, None),
)
"""The operations on all homes."""


OF_ONE: tuple[Operation[Service], ...] = tuple(
    replace(
        operation,
        path=f"/homes/{{home}}{operation.path}",
        problems=tuple(dict.fromkeys((*operation.problems, "not_found"))),
    )
    for operation in OF_HOME
)
"""The operations on one home."""


@cache
def build_homes_document() -> dict[str, object]:
    """Returns the OpenAPI document of a server for many homes."""
    operations: tuple[Operation[Any], ...] = (*ALL, *OF_ONE)
    return build_document(operations)


def build_homes_api_routes(backend: HomesBackend) -> list[BaseRoute]:
    """Returns the routes of the API of a server for many homes."""
    service = HomesService(backend)
    bound: list[Bound[Any]] = [Bound(operation, lambda _: service) for operation in ALL]
    return build_mount([*bound, *(Bound(operation, service.open) for operation in OF_ONE)], read_only=backend.read_only)
