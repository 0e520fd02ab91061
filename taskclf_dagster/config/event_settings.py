"""Settings of the sinks to which events are delivered: a file of the home, a webhook, a Redis stream.

Secrets never stand here: a URL or a key that is one is named by its environment variable. One that was written here all the same is
refused and never printed, so no message may repeat a value. How events are sent, and which schemes a URL may have, is in `domain/sinks`.
"""

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


EVENTS_FOLDER = ("artifacts", "events")
"""The folder of the home that is for files of events; every other one holds files that lines of events would damage."""


def _names_a_variable(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        msg = "must be the name of an environment variable, such as EVENTS_SECRET, and not what the variable holds"
        raise ValueError(msg)
    return value


def _holds_no_secret(value: str) -> str:
    if not set(value).isdisjoint("@?#"):
        msg = "must hold no user, password, query or fragment (@, ? or #): such a URL belongs into the variable that url_env names"
        raise ValueError(msg)
    return value


EnvironmentName = Annotated[str, AfterValidator(_names_a_variable)]


PublicUrl = Annotated[str, AfterValidator(_holds_no_secret)]


class _Sink(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    @property
    def name(self) -> str:
        """What names the sink in logs and in what is remembered of it; another setting is another sink."""
        content = self.model_dump_json().encode()
        return f"{self.type}-{hashlib.sha256(content).hexdigest()[:8]}"  # type: ignore[attr-defined]  # every sink has a type


class JsonLinesSink(_Sink):
    """Events appended to a file below artifacts/events/ of the home, one JSON object a line."""

    type: Literal["jsonl"]
    path: str

    @field_validator("path")
    @classmethod
    def _path_is_in_the_folder_of_events(cls, value: str) -> str:
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
    def _there_is_one_url(self) -> Self:
        if (self.url is None) == (self.url_env is None):
            msg = "give either url, or url_env: the environment variable that holds it, where it contains a password or token"
            raise ValueError(msg)
        return self


class WebhookSink(_RemoteSink):
    """Events as HTTP POST, signed with the secret that an environment variable holds."""

    type: Literal["webhook"]
    secret_env: EnvironmentName | None = None


class RedisSink(_RemoteSink):
    """Events in a Redis stream, of which about the newest `max_length` are kept."""

    type: Literal["redis"]
    stream: Annotated[str, StringConstraints(min_length=1)] = "ml:run-events"
    max_length: Annotated[int, Field(ge=1, le=100_000_000)] = 100_000


SinkSettings = Annotated[JsonLinesSink | WebhookSink | RedisSink, Field(discriminator="type")]


class EventSettings(BaseModel):
    """Where events go."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    sinks: list[SinkSettings]


def describe_mistake(error: "ErrorDetails") -> str:
    """What pydantic says of a mistake in these settings, without the value that was given."""
    if error["type"] == "union_tag_invalid":  # its words repeat the value
        return f"type must be one of {error['ctx']['expected_tags']}"
    return error["msg"]
