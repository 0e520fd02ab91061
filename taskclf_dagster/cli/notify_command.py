"""The command `notify`."""

import os
from pathlib import Path

import click

from taskclf_dagster.cli.common import config_option, existing_home, home_option, load_config, now
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.config.event_settings import AppriseSink, EventSettings
from taskclf_dagster.defs.events.event_sinks import build_sinks
from taskclf_dagster.domain.events.apprise_service import AppriseService
from taskclf_dagster.domain.events.message import Message
from taskclf_dagster.domain.events.sinks import Sink, UnusableSink
from taskclf_dagster.domain.reporting.notifications import compose_test
from taskclf_dagster.errors import NobodyNotifiedError, SinkUnavailableError


@click.command("notify")
@home_option
@config_option
@click.option("--test", "is_test", is_flag=True, help="Send one message to each recipient, and say what happened.")
def notify_command(home: Path | None, config: Path | None, is_test: bool) -> None:
    """List who is notified of what, or send everyone a test message.

    They are the sinks of type apprise in events.sinks, one for each URL in the environment variable that url_env names. With --test it
    exits with 1 if a message did not arrive.
    """
    taskclf_home = existing_home(home)
    settings = load_config(taskclf_home, config)
    chosen = [sink for sink in settings.events.sinks if isinstance(sink, AppriseSink)]
    if not chosen:
        raise NobodyNotifiedError
    message = compose_test(taskclf_home, settings.server.address, now()) if is_test else None
    has_failed = False
    rows = []
    for sink in build_sinks(taskclf_home, EventSettings(sinks=list(chosen)), os.environ):
        problem = sink.problem if isinstance(sink, UnusableSink) else None
        if message is not None and isinstance(sink, AppriseService):
            problem = _try(sink, message)
        has_failed = has_failed or problem is not None
        rows.append(
            [sink.name, sink.scheme if isinstance(sink, AppriseService) else "-", problem or ("sent" if is_test else _list_events(sink))]
        )
    say_block(make_table(rows, headers=["sink", "service", "test message" if is_test else "events"], wraps=[2]))
    if not is_test:
        say("Try them with --test.")
    elif has_failed:
        raise SystemExit(1)


def _try(sink: AppriseService, message: Message) -> str | None:
    """Returns the reason why a message did not arrive; None if it did."""
    try:
        sink.deliver(message, timeout=sink.timeout_seconds)
    except SinkUnavailableError as error:
        return error.reason
    return None


def _list_events(sink: Sink) -> str:
    return ", ".join(sorted(sink.events or ()))
