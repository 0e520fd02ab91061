"""Builds the event sinks of the settings, with URLs, secrets, proxies and certificates of the environment.

Sending is in `domain/events`. A sink that cannot be used becomes an `UnusableSink`: its events wait, and its problem names the fix.
"""

import os
from collections.abc import Mapping

import requests

from taskclf_dagster.config.event_settings import EventSettings, JsonLinesSink, RedisSink, WebhookSink
from taskclf_dagster.domain.events.redis_stream import RedisStream
from taskclf_dagster.domain.events.sinks import JsonLinesFile, Sink, UnusableSink
from taskclf_dagster.domain.events.webhook import Webhook
from taskclf_dagster.errors import SinkSettingsError
from taskclf_dagster.home import Home


def build_sinks(home: Home, settings: EventSettings, environ: Mapping[str, str] = os.environ) -> list[Sink]:
    """Returns the sinks of the settings, in their order."""
    return [_build(home, sink, environ) for sink in settings.sinks]


def _build(home: Home, sink: JsonLinesSink | WebhookSink | RedisSink, environ: Mapping[str, str]) -> Sink:
    try:
        if isinstance(sink, JsonLinesSink):
            return JsonLinesFile(sink.name, home.root / sink.path)
        url = sink.url if sink.url is not None else _require(sink.name, "URL", sink.url_env or "", environ)
        if isinstance(sink, RedisSink):
            return RedisStream(sink.name, url, stream=sink.stream, max_length=sink.max_length, timeout_seconds=sink.timeout_seconds)
        return Webhook(
            sink.name,
            url,
            timeout_seconds=sink.timeout_seconds,
            secret=None if sink.secret_env is None else _require(sink.name, "secret", sink.secret_env, environ),
            proxies=requests.utils.get_environ_proxies(url),
            verify=environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE") or True,
        )
    except SinkSettingsError as error:
        return UnusableSink(sink.name, str(error))


def _require(sink: str, what: str, name: str, environ: Mapping[str, str]) -> str:
    value = environ.get(name, "").strip()
    if not value:
        fix = f"Set {name} for the process that runs sensors (dagster-daemon and the code server), or change events.sinks"
        raise SinkSettingsError(sink, f"the environment variable {name}, which holds its {what}, is not set", fix)
    return value
