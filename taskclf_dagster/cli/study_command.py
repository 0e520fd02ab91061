"""The command `study`."""

import json
import time
from datetime import timedelta
from pathlib import Path

import click

from taskclf_dagster.cli.as_of import resolve_as_of
from taskclf_dagster.cli.common import GIVEN_PATH, config_option, existing_home, json_option, load_config
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.cli.progress_bar import quiet_option, show_work
from taskclf_dagster.domain.retraining.study import StudiedSettings, Study, study_settings
from taskclf_dagster.provenance import cores
from taskclf_dagster.shown_text import counted

ONE_PROCESS = (
    "Every row was trained in this process, so that they can be compared with each other. A cluster trains a large home in parts: its "
    "trees differ, and its figures a little (docs/scale.md)."
)


@click.command("study")
@click.argument("home", type=GIVEN_PATH, required=False)
@config_option
@json_option
@click.option("--as-of", help="End of the newest look-back: an ISO date or time, UTC without an offset. Default: now.")
@click.option(
    "--dates", type=click.IntRange(min=1, max=100), default=1, show_default=True, help="Number of dates, each with its test windows."
)
@click.option("--every", type=click.IntRange(min=1, max=3650), default=7, show_default=True, help="Days between them.")
@quiet_option
def study_command(home: Path | None, config: Path | None, as_json: bool, as_of: str | None, dates: int, every: int, quiet: bool) -> None:
    """Compare training settings on the test windows of HOME, in some minutes; nothing is written.

    HOME is a taskclf home; by default that of TASKCLF_HOME, else where taskclf keeps its data. With several dates one lucky split decides
    less. Exits with 1 if there is nothing to train on at any of them.
    """
    taskclf_home = existing_home(home)
    settings = load_config(taskclf_home, config)
    newest = resolve_as_of(as_of)
    with show_work("reading windows and labels", quiet=quiet) as report:
        found = study_settings(
            taskclf_home,
            [newest - number * timedelta(days=every) for number in reversed(range(dates))],
            config=settings,
            cores=cores(),
            cpu_clock=time.process_time,
            on_progress=report,
        )
    for date, reason in found.skipped.items():
        say(f"skipped {date}: {reason}", err=True)
    if not found.settings:
        raise click.ClickException(f"{taskclf_home.display_name}: there is nothing to train on at any of these dates")
    if as_json:
        say_block(json.dumps(found.model_dump(mode="json"), indent=2))
        return
    say(_describe(found))
    headers = ["settings", "macro-F1", *(["better at", "worst"] if len(found.dates) > 1 else []), "rejected", "learned", "CPU"]
    say_block(make_table([_row(each, found) for each in [*found.settings, _lookup(found)]], headers=headers, wraps=[0]))
    if found.settings[-1].detail:
        say(f"your configuration: {found.settings[-1].detail}")
    if settings.execution.engine != "local":
        say(ONE_PROCESS)
    say("Test windows judge here, so choose nothing by this table alone: a retrain searches on earlier labels (search: auto).")


def _describe(found: Study) -> str:
    """Returns the number of dates and test windows in one sentence."""
    days = f"{found.dates[0]:%Y-%m-%d}" + (f" to {found.dates[-1]:%Y-%m-%d}" if len(found.dates) > 1 else "")
    return f"{counted(len(found.dates), 'date')} ({days}), {counted(sum(found.test_windows), 'test window')}; means over dates"


def _lookup(found: Study) -> StudiedSettings:
    """Returns the lookup table as a row."""
    n = len(found.dates)
    return StudiedSettings(
        name="lookup table of the app", macro_f1=found.lookup, reject_rate=[0.0] * n, learned=found.settings[-1].learned, cpu=[0.0] * n
    )


def _row(each: StudiedSettings, found: Study) -> list[object]:
    """Returns one row; "better at" and "worst" compare with the first, date by date."""
    gains = [own - first for own, first in zip(each.macro_f1, found.settings[0].macro_f1, strict=True)]
    compared = ["", ""] if each is found.settings[0] else [f"{sum(gain > 0 for gain in gains)} of {len(gains)}", f"{min(gains):+.3f}"]
    several = compared if len(gains) > 1 else []
    return [
        each.name,
        f"{_mean(each.macro_f1):.3f}",
        *several,
        f"{_mean(each.reject_rate):.1%}",
        round(_mean(each.learned)),
        f"{_mean(each.cpu):.2f}",
    ]


def _mean(values: list[float] | list[int]) -> float:
    return sum(values) / len(values)
