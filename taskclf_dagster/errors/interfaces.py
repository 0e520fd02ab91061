"""Errors about what stands between this package and others: the API, its requests, and the sinks of events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from taskclf_dagster.errors.base import TaskclfDagsterError


class ApiError(TaskclfDagsterError):
    """The web server could not be asked, or refused; a refusal says what is wrong with the question, not with the server.

    Attributes:
        refused: True for a refusal.
        problem: the problem details (RFC 9457) of the answer; None if it has none.
    """

    def __init__(self, url: str, reason: str, *, refused: bool = False, problem: Mapping[str, object] | None = None) -> None:
        self.refused, self.problem = refused, problem
        words = reason.rstrip(".")
        super().__init__(
            f"What was asked of {url} is refused: {words}."
            if refused
            else f"{url} gave no answer that can be used: {words}. Does `taskclf-dagster serve`, or for GraphQL `dagster dev`, run there?"
        )


RequestProblem = Literal[
    "unreadable_request",
    "foreign_host",
    "not_signed_in",
    "forbidden",
    "foreign_page",
    "page_token",
    "read_only",
    "not_found",
    "method_not_allowed",
    "not_acceptable",
    "retrain_under_way",
    "change_under_way",
    "not_possible",
    "changed_meanwhile",
    "too_large",
    "unsupported_media_type",
    "invalid",
    "precondition_required",
    "too_many",
    "internal",
    "unavailable",
]
"""The reason why the web server does not do what a request asks for; `web.problems` has the HTTP status of each."""


@dataclass(frozen=True)
class InvalidField:
    """A part of a request that is not valid.

    Attributes:
        place: JSON pointer into the body, beginning with `#`, or the name of a parameter or header.
        detail: what it must be.
    """

    place: str
    detail: str


class RequestRefusedError(TaskclfDagsterError):
    """The web server does not do what a request asks for.

    Attributes:
        kind: the reason.
        fields: the parts of the request that are not valid.
        headers: of the answer.
    """

    def __init__(
        self, kind: RequestProblem, detail: str, *, fields: Sequence[InvalidField] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        self.kind: RequestProblem = kind
        self.fields = tuple(fields)
        self.headers = dict(headers or {})
        super().__init__(detail)


class LaunchRefusedError(TaskclfDagsterError):
    """A change over page or API was refused by Dagster, or by a server that changes nothing."""

    def __init__(self, action: str, reason: str) -> None:
        self.reason = reason.rstrip(".")
        super().__init__(f"The server did not {action}: {self.reason}.")


ServeErrorKind = Literal["open", "token", "port", "address", "running", "ended", "platform"]
"""The reason why the server does not run."""


class ServeError(TaskclfDagsterError):
    """The server cannot be started, or one of its processes ended by itself.

    Attributes:
        kind: open if it would be reached from elsewhere without a token; token if that is no token; port if it is taken; address if the
            machine has no such address; running if it runs already; ended if a process of it ended.
    """

    def __init__(self, kind: ServeErrorKind, reason: str, fix: str) -> None:
        self.kind: ServeErrorKind = kind
        super().__init__(f"The server does not run: {reason.rstrip('.')}. {fix.rstrip('.')}.")


class SinkSettingsError(TaskclfDagsterError):
    """A sink of events cannot be used as it is configured."""

    def __init__(self, sink: str, reason: str, fix: str) -> None:
        super().__init__(f"Events cannot be sent to {sink}: {reason.rstrip('.')}. {fix}.")


class NobodyNotifiedError(TaskclfDagsterError):
    """A notification was asked for, and no sink is for people."""

    def __init__(self) -> None:
        example = "{type: apprise, url_env: NOTIFY_URL}"
        super().__init__(
            f"Nobody is notified: events.sinks has no sink of the type apprise. Add {example} to it; docs/events.md says more."
        )


SinkFailure = Literal["status", "gone", "redirect", "timeout", "connection", "password", "refused", "file", "settings"]


class SinkUnavailableError(TaskclfDagsterError):
    """A sink did not accept an event, and would not accept another one now; it is retried later, not before `wait_seconds`."""

    def __init__(self, sink: str, reason: str, *, kind: SinkFailure, wait_seconds: float = 0.0) -> None:
        self.reason = reason
        self.kind = kind
        self.wait_seconds = wait_seconds
        super().__init__(f"{sink} accepted no event: {reason.rstrip('.')}. Events wait and are sent again.")


class EventRefusedError(TaskclfDagsterError):
    """A sink refused one event; others may pass."""

    def __init__(self, sink: str, event_id: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{sink} refused event {event_id}: {reason.rstrip('.')}. It waits and is sent again; see the log of the receiver.")
