"""Settings of event sinks: a file in the home, a webhook, a Redis stream, notifications for people.

Secret URLs and keys are given by the name of an environment variable. A secret that is written here by mistake is refused and never
printed, so no message may repeat a value. Sending, and the schemes that a URL may have, are in `domain/events/sinks`.
"""

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from taskclf_dagster.config.event_types import FOR_PEOPLE, EventType
from taskclf_dagster.validation_text import describe_details

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


EVENTS_FOLDER = ("artifacts", "events")
"""The only folder of the home for files of events; in another one, appended lines would damage a file."""


def _require_variable_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        msg = "must be the name of an environment variable, such as EVENTS_SECRET, and not its value"
        raise ValueError(msg)
    return value


def _require_no_secret(value: str) -> str:
    if not set(value).isdisjoint("@?#"):
        msg = "must contain no user, password, query or fragment (@, ? or #): put such a URL into the variable that url_env names"
        raise ValueError(msg)
    return value


EnvironmentName = Annotated[str, AfterValidator(_require_variable_name)]


PublicUrl = Annotated[str, AfterValidator(_require_no_secret)]


class _Sink(BaseModel):
    """A sink.

    Attributes:
        events: the types of events that it gets; None for all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    events: Annotated[list[EventType], Field(min_length=1)] | None = None

    @property
    def name(self) -> str:
        """Name in logs and in the delivery state: type and hash of the settings."""
        content = self.model_dump_json(exclude={"events"} if self.events is None else None).encode()
        return f"{self.type}-{hashlib.sha256(content).hexdigest()[:8]}"  # type: ignore[attr-defined]  # every sink has a type


class JsonLinesSink(_Sink):
    """Events appended to a file below artifacts/events/ of the home, one JSON object a line."""

    type: Literal["jsonl"]
    path: str

    @field_validator("path")
    @classmethod
    def _require_events_folder(cls, value: str) -> str:
        parts = Path(value).parts
        if parts[:-1][: len(EVENTS_FOLDER)] != EVENTS_FOLDER or ".." in parts:
            msg = "must be a file below artifacts/events/, relative to the home, such as artifacts/events/events.jsonl"
            raise ValueError(msg)
        return value


class _RemoteSink(_Sink):
    url: PublicUrl | None = None
    url_env: EnvironmentName | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0

    @model_validator(mode="after")
    def _require_one_url(self) -> Self:
        if (self.url is None) == (self.url_env is None):
            msg = "give either url, or url_env: the environment variable with the URL, if it contains a password or token"
            raise ValueError(msg)
        return self


class WebhookSink(_RemoteSink):
    """Events as HTTP POST, signed if `secret_env` names the environment variable with one or more secrets."""

    type: Literal["webhook"]
    secret_env: EnvironmentName | None = None


class RedisSink(_RemoteSink):
    """Events in a Redis stream, trimmed to about the newest `max_length`."""

    type: Literal["redis"]
    stream: Annotated[str, StringConstraints(min_length=1)] = "ml:run-events"
    max_length: Annotated[int, Field(ge=1, le=100_000_000)] = 100_000


class AppriseSink(_Sink):
    """Notifications for people, by the library apprise: mail, chat, push, desktop.

    Attributes:
        url_env: the environment variable with one or more URLs of apprise, each for one recipient. There is no key for the URL itself,
            because nearly every one has a secret.
    """

    type: Literal["apprise"]
    url_env: EnvironmentName
    events: Annotated[list[EventType], Field(min_length=1)] = list(FOR_PEOPLE)
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0


SinkSettings = Annotated[JsonLinesSink | WebhookSink | RedisSink | AppriseSink, Field(discriminator="type")]


class EventSettings(BaseModel):
    """The event sinks, any number of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    sinks: list[SinkSettings]


def describe_event_error(error: "ErrorDetails") -> str:
    """Returns what is wrong with one of these settings, without its value."""
    if error["type"] == "union_tag_invalid":  # its message repeats the value
        return f"type must be one of {error['ctx']['expected_tags']}"
    return str(error["ctx"]["error"]) if error["type"] == "value_error" else describe_details(error)
