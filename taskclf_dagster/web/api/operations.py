"""One operation of the API: its path, what it takes, what it answers, and how it is carried out. `routes` lists them all.

The routes and the OpenAPI document are both made of these records, so that they cannot differ.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from typing import Generic, Literal, TypeVar, cast

import dagster as dg
from pydantic import BaseModel
from starlette.datastructures import Headers

from taskclf_dagster.defs.runs.run_tags import API, PAGE, RunCause
from taskclf_dagster.domain.decision.decision_store import ReceiptCache
from taskclf_dagster.errors import RequestProblem
from taskclf_dagster.home import Home
from taskclf_dagster.status.overview import OverviewReader
from taskclf_dagster.status.overview_records import Overview
from taskclf_dagster.status.records import WireView
from taskclf_dagster.web.api.reloading import Reloader
from taskclf_dagster.web.backend import Backend
from taskclf_dagster.web.site_paths import SitePaths

PAGE_TOKEN_HEADER = "x-taskclf-token"  # noqa: S105  # the name of a header
"""The header in which the page sends its token; `web.security` checks it."""


MAX_USER = 100
"""Characters of a user's name that are kept."""


_Form = TypeVar("_Form", bound=BaseModel)


Scope = TypeVar("Scope")
"""The subject of an operation: the `Service` of one home, or that of all homes of a server."""


@dataclass(frozen=True)
class Service:
    """A home, and the state that all operations on it share.

    Attributes:
        backend: home, instance and launches.
        receipts: the receipts that were read so far.
        launching: held while it is looked whether something is under way and launched if not, so that of two equal requests one is refused.
    """

    backend: Backend
    receipts: ReceiptCache = field(default_factory=ReceiptCache)
    launching: threading.Lock = field(default_factory=threading.Lock)
    _reading: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def reloader(self) -> Reloader:
        """Loads schedules again after a change of their times."""
        return Reloader(self.backend)

    @cached_property
    def _overview(self) -> OverviewReader:
        return OverviewReader(self.home, self.paths.reports)

    @property
    def paths(self) -> SitePaths:
        return self.backend.paths

    @property
    def home(self) -> Home:
        return self.backend.home

    @property
    def instance(self) -> dg.DagsterInstance:
        return self.backend.instance

    def read_overview(self, now: datetime) -> Overview:
        """Returns the home at a glance; its reader keeps parts of the last read, and is not for several threads at once."""
        with self._reading:
            return self._overview.read(self.instance, self.backend.load_config, now, read_only=self.backend.read_only)


@dataclass(frozen=True)
class Asked:
    """A request that was read.

    Attributes:
        path: the parts of the path that are named in braces.
        form: the body; None for an operation without one.
        query: the parameters; None for an operation without them.
        headers: all of them.
        user: the signed-in person; None if nobody signs in.
    """

    path: Mapping[str, str]
    form: object
    query: object
    headers: Headers
    user: str | None

    @property
    def cause(self) -> RunCause:
        """The cause of a run that this request launches: the page, whose token it carries, or a program."""
        return PAGE if PAGE_TOKEN_HEADER in self.headers else API

    def form_of(self, form: type[_Form]) -> _Form:
        """Returns the body of an operation that takes this form."""
        return cast("_Form", self.form)

    def query_of(self, query: type[_Form]) -> _Form:
        """Returns the parameters of an operation that takes these."""
        return cast("_Form", self.query)


@dataclass(frozen=True)
class Answer:
    """An answer: a record, and headers beside those of every answer."""

    content: WireView | Mapping[str, object]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation(Generic[Scope]):
    """One operation.

    Attributes:
        method: GET, POST or PUT.
        path: below `site_paths.API`.
        name: the id of the operation.
        summary: what it does, in one line.
        carry_out: does it, to what it is about; called in a thread.
        answer: the record that it answers; None for the OpenAPI document.
        status: the HTTP status of its answer.
        problems: the kinds of problems that it can have, beside those of every operation.
        form: the record of its body; None for none.
        query: the record of its parameters; None for none.
        answer_headers: headers of its answer, with a description.
        needs_match: True if the header If-Match is required.
        description: more about it.
    """

    method: Literal["GET", "POST", "PUT"]
    path: str
    name: str
    summary: str
    carry_out: Callable[[Scope, Asked], Answer]
    answer: type[WireView] | None
    status: HTTPStatus = HTTPStatus.OK
    problems: tuple[RequestProblem, ...] = ()
    form: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    answer_headers: Mapping[str, str] = field(default_factory=dict)
    needs_match: bool = False
    description: str = ""

    @property
    def changes(self) -> bool:
        """True if it changes something."""
        return self.method != "GET"
