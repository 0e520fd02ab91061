"""The command `demo`: writes a demo home."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import click

from taskclf_dagster.cli.common import GIVEN_PATH, shorten
from taskclf_dagster.cli.output import say
from taskclf_dagster.cli.progress_bar import quiet_option, show_work
from taskclf_dagster.config.shipped import find_shipped
from taskclf_dagster.demo.generator import extend_demo_home, generate_demo_home
from taskclf_dagster.domain.data.feature_schema import SchemaVersion
from taskclf_dagster.shown_text import counted


@click.command("demo")
@click.argument("folder", type=GIVEN_PATH, default="demo_home")
@click.option("--end", type=click.DateTime(["%Y-%m-%d"]), help="Last day. Default: yesterday (UTC), so that the look-back finds it.")
@click.option("--users", type=click.IntRange(min=1), default=3, show_default=True, help="Number of users.")
@click.option("--days", type=click.IntRange(min=1), default=30, show_default=True, help="Number of days.")
@click.option("--seed", type=int, default=7, show_default=True, help="Same seed and end: same bytes.")
@click.option("--schema", type=click.Choice(["v1", "v2", "v3"]), default="v1", show_default=True, help="Feature schema version.")
@click.option(
    "--extend", type=click.IntRange(min=1), metavar="DAYS", help="Add days to the demo home that is there; ignores the other options."
)
@quiet_option
def demo_command(
    folder: Path, end: datetime | None, users: int, days: int, seed: int, schema: str, extend: int | None, quiet: bool
) -> None:
    """Write a demo home: generated windows and labels of invented users.

    FOLDER (default: demo_home) must be new, empty or a demo home.
    """
    with show_work("inventing days", quiet=quiet) as report:
        if extend is not None:
            made = extend_demo_home(folder, days=extend, on_progress=report)
        else:
            last = (datetime.now(UTC) - timedelta(days=1)).date() if end is None else end.date()
            version = cast("SchemaVersion", schema)
            made = generate_demo_home(folder, end=last, users=users, days=days, seed=seed, schema=version, on_progress=report)
    size = (
        f"{counted(len(made.users), 'user')}, {made.first_day} to {made.last_day}, "
        f"{counted(made.windows, 'window')}, {counted(made.spans, 'label span')}"
    )
    as_of = made.last_day + timedelta(days=1)
    say(f"DEMO home {made.root}: {size}")
    config = find_shipped("configs/demo.yaml")
    say(f"Retrain on it: taskclf-dagster retrain --home {shorten(folder)} --config {shorten(config)} --as-of {as_of}")
