"""Settings of the sinks to which events are delivered: a file of the home, a webhook, a Redis stream.

Secrets never stand here: a URL or a key that is one is named by its environment variable. How events are sent is in `domain/sinks`.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class _Sink(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @property
    def name(self) -> str:
        """What names the sink in logs and in what is remembered of it; another setting is another sink."""
        content = self.model_dump_json().encode()
        return f"{self.type}-{hashlib.sha256(content).hexdigest()[:8]}"  # type: ignore[attr-defined]  # every sink has a type


class JsonLinesSink(_Sink):
    """Events appended to a file of the home, one JSON object a line."""

    type: Literal["jsonl"]
    path: Annotated[str, StringConstraints(min_length=1)]

    @field_validator("path")
    @classmethod
    def _path_stays_in_the_home(cls, value: str) -> str:
        if Path(value).is_absolute() or ".." in Path(value).parts:
            msg = f"{value!r} must be relative to the home and stay in it, such as artifacts/events/events.jsonl"
            raise ValueError(msg)
        return value


class _RemoteSink(_Sink):
    url: str | None = None
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

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sinks: list[SinkSettings]
