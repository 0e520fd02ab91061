"""The command `homes`: all homes of a team at a glance."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click

from taskclf_dagster.cli.common import json_option, now
from taskclf_dagster.cli.homes_instance import find_directory, homes_option, open_homes_instance
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.config.homes_file import require_homes_file
from taskclf_dagster.shown_text import counted
from taskclf_dagster.status.homes_overview import HomesReader
from taskclf_dagster.status.homes_records import HomeRow

STATES = {"broken": "broken", "failed": "failed", "waiting": "waits for approval"}
"""The reasons why a home needs a person, as a column shows them."""


@click.command("homes")
@homes_option
@click.option("--attention", is_flag=True, help="Only those that need a person: broken or failed, or a model waits for approval.")
@json_option
def homes_command(homes: Path | None, attention: bool, as_json: bool) -> None:
    """List the homes of a team: those that need a person first, with state, active model, last verdict and next retrain.

    Windows are not read, so that hundreds of homes take a second; `status --home` reads everything about one.
    """
    directory = find_directory(homes) or HomeDirectory(require_homes_file())
    with open_homes_instance(directory) as instance:
        overview = HomesReader().read(instance, directory.list_homes(), now())
    shown = [row for row in overview.homes if row.attention is not None or not attention]
    if as_json:
        say_block(overview.model_copy(update={"homes": shown}).model_dump_json(indent=2))
        return
    headers = ["home", "state", "active model", "last verdict", "next retrain", ""]
    say_block(make_table(map(list, map(_cells, shown)), headers=headers, wraps=[5], spare=[2, 4]))
    urgent = sum(row.attention is not None for row in overview.homes)
    say(f"{counted(len(overview.homes), 'home')}, {urgent} of which need{'s' if urgent == 1 else ''} a person")
    if not overview.daemon.running:
        say(f"warning: {overview.daemon.sentence}", err=True)


def _cells(row: HomeRow) -> Iterator[str]:
    yield row.name
    yield STATES.get(row.attention or "", row.state)
    yield row.active_model or "none"
    yield "none yet" if row.decided_at is None else f"{row.outcome} on {row.decided_at:%Y-%m-%d}"
    yield _say_next(row)
    yield row.sentence if row.attention is not None or row.run_id is not None else ""


def _say_next(row: HomeRow) -> str:
    if row.next_tick is None:
        return "by hand only"
    when: datetime | None = row.next_tick if row.is_due else row.due_at
    return "with new labels" if when is None else f"{when:%Y-%m-%d %H:%M %Z}"
