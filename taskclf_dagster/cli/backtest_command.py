"""The command `backtest`."""

import json
import time
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from taskclf_dagster.cli.as_of import resolve_as_of
from taskclf_dagster.cli.common import GIVEN_PATH, config_option, existing_home, json_option, load_config, require_place
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.cli.progress_bar import quiet_option, show_work
from taskclf_dagster.defs.runs.time_zones import time_zone
from taskclf_dagster.domain.backtest.policies import BUILT_IN, list_policies
from taskclf_dagster.domain.backtest.replay import ReplayedTime, replay_policies
from taskclf_dagster.domain.backtest.replay_record import Replay
from taskclf_dagster.domain.backtest.shared_fits import Trainer
from taskclf_dagster.domain.backtest.workshop import Workshop
from taskclf_dagster.domain.reporting.replay_report import replay_report_path, write_replay_report
from taskclf_dagster.domain.reporting.replay_words import ASSUMED, COLUMNS, list_cells, say_range, say_result
from taskclf_dagster.entry_paths import make_absolute
from taskclf_dagster.provenance import code_version, cores, library_versions

DEFAULT_DAYS = 60


@click.command("backtest")
@click.argument("home", type=GIVEN_PATH, required=False)
@config_option
@json_option
@click.option("--from", "first", help="Start: an ISO date or time, UTC without an offset. Default: 60 days before the end.")
@click.option("--to", "last", help="End, likewise. Default: now.")
@click.option(
    "--policy",
    "chosen",
    multiple=True,
    metavar="NAME_OR_FILE",
    help=f"A built-in policy ({', '.join(BUILT_IN)}), or a YAML file over the configuration; repeatable. Files alone are compared with "
    "all built-in ones. The first named one is what the others are compared with.",
)
@click.option(
    "--every",
    type=click.IntRange(min=1, max=365),
    default=1,
    show_default=True,
    help="Look on every n-th day only, at that part of the cost.",
)
@click.option("--output", type=GIVEN_PATH, help="The HTML report. Default: artifacts/backtest/report.html in the home.")
@quiet_option
def backtest_command(
    home: Path | None,
    config: Path | None,
    as_json: bool,
    first: str | None,
    last: str | None,
    chosen: tuple[str, ...],
    every: int,
    output: Path | None,
    quiet: bool,
) -> None:
    """Replay policies over the past of HOME, day by day, and compare how their models would have done.

    Nothing in HOME is changed but artifacts/backtest, which holds datasets and fits for the next replay and is safe to delete. A replay
    that was interrupted goes on from there.
    """
    taskclf_home = existing_home(home)
    present = load_config(taskclf_home, config)
    if output is not None:
        require_place(output)
    end = resolve_as_of(last)
    start = end - timedelta(days=DEFAULT_DAYS) if first is None else resolve_as_of(first)
    names = [each for each in chosen if each in BUILT_IN]
    files = [make_absolute(each, "--policy") for each in chosen if each not in BUILT_IN]
    policies = list_policies(present, files, names or None)
    trainer = Trainer(1, code_version(), library_versions(), time.perf_counter, time.process_time)
    with show_work("reading windows and labels", quiet=quiet) as report:
        found = replay_policies(
            Workshop.open(taskclf_home, trainer),
            policies,
            ReplayedTime(start, end, ZoneInfo(time_zone(present.scheduling.schedule)), every),
            present=present,
            workers=cores(),
            on_progress=report,
        )
    path = output or replay_report_path(taskclf_home)
    write_replay_report(path, found)
    if as_json:
        say_block(json.dumps(found.model_dump(mode="json"), indent=2))
        return
    _print(found)
    say(f"report: {path}")


def _print(found: Replay) -> None:
    say(say_range(found))
    say_block(make_table([list_cells(each) for each in found.policies], headers=list(COLUMNS)))
    say(say_result(found), bold=True)
    for sentence in ASSUMED:
        say(sentence)
