"""Builds the event sinks of the settings, with URLs, secrets, proxies and certificates of the environment.

Sending is in `domain/events`. A sink that cannot be used becomes an `UnusableSink`: its events wait, and its problem names the fix.
"""

import os
from collections.abc import Iterator, Mapping

import requests

from taskclf_dagster.config.event_settings import AppriseSink, EventSettings, JsonLinesSink, RedisSink, WebhookSink
from taskclf_dagster.config.server_settings import DEFAULT_URL
from taskclf_dagster.domain.events.apprise_service import AppriseService, split_urls
from taskclf_dagster.domain.events.redis_stream import RedisStream
from taskclf_dagster.domain.events.sinks import JsonLinesFile, Sink, UnusableSink
from taskclf_dagster.domain.events.webhook import Webhook
from taskclf_dagster.domain.reporting.notifications import make_composer
from taskclf_dagster.errors import SinkSettingsError
from taskclf_dagster.home import Home


def build_sinks(home: Home, settings: EventSettings, environ: Mapping[str, str] = os.environ, *, address: str = DEFAULT_URL) -> list[Sink]:
    """Returns the sinks of the settings, in their order; one of apprise for each URL in its variable.

    Args:
        home: the taskclf home.
        settings: the sinks.
        environ: the environment, with URLs and secrets.
        address: the address of the server that people open, for messages to them.
    """
    sinks: list[Sink] = []
    for sink in settings.sinks:
        if isinstance(sink, AppriseSink):
            sinks += _build_apprise(home, sink, environ, address)
        else:
            sinks.append(_build(home, sink, environ))
    return sinks


def _build_apprise(home: Home, sink: AppriseSink, environ: Mapping[str, str], address: str) -> Iterator[Sink]:
    """Yields a sink for each URL. With another number of URLs all have other names, so that none is taken for another one."""
    events = frozenset(sink.events)
    try:
        urls = split_urls(_require(sink.name, "URL", sink.url_env, environ))
    except SinkSettingsError as error:
        yield UnusableSink(sink.name, str(error), events=events)
        return
    compose = make_composer(home, address)
    for number, url in enumerate(urls, start=1):
        name = sink.name if len(urls) == 1 else f"{sink.name}-{number}-of-{len(urls)}"
        try:
            yield AppriseService(name, url, compose=compose, events=events, timeout_seconds=sink.timeout_seconds)
        except SinkSettingsError as error:
            yield UnusableSink(name, str(error), events=events)


def _build(home: Home, sink: JsonLinesSink | WebhookSink | RedisSink, environ: Mapping[str, str]) -> Sink:
    events = None if sink.events is None else frozenset(sink.events)
    try:
        if isinstance(sink, JsonLinesSink):
            return JsonLinesFile(sink.name, home.root / sink.path, events=events)
        url = sink.url if sink.url is not None else _require(sink.name, "URL", sink.url_env or "", environ)
        if isinstance(sink, RedisSink):
            return RedisStream(
                sink.name, url, stream=sink.stream, max_length=sink.max_length, timeout_seconds=sink.timeout_seconds, events=events
            )
        return Webhook(
            sink.name,
            url,
            timeout_seconds=sink.timeout_seconds,
            secret=None if sink.secret_env is None else _require(sink.name, "secret", sink.secret_env, environ),
            proxies=requests.utils.get_environ_proxies(url),
            verify=environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE") or True,
            events=events,
        )
    except SinkSettingsError as error:
        return UnusableSink(sink.name, str(error), events=events)


def _require(sink: str, what: str, name: str, environ: Mapping[str, str]) -> str:
    value = environ.get(name, "").strip()
    if not value:
        fix = f"Set {name} for the process that runs sensors (dagster-daemon and the code server), or change events.sinks"
        raise SinkSettingsError(sink, f"the environment variable {name}, which holds its {what}, is not set", fix)
    return value
