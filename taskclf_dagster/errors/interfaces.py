"""Errors about what stands between this package and others: the API, and the sinks of events."""

from typing import Literal

from taskclf_dagster.errors.base import TaskclfDagsterError


class ApiError(TaskclfDagsterError):
    """The web server could not be asked, or refused; a refusal says what is wrong with the question, not with the server.

    Attributes:
        refused: True for a refusal.
    """

    def __init__(self, url: str, reason: str, *, refused: bool = False) -> None:
        self.refused = refused
        words = reason.rstrip(".")
        super().__init__(
            f"What was asked of {url} is refused: {words}."
            if refused
            else f"{url} gave no answer that can be used: {words}. Does `dagster dev` run there, with the code location loaded?"
        )


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
