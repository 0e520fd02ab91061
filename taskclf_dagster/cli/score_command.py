"""The command `score`."""

import json
from datetime import date, datetime
from pathlib import Path

import click

from taskclf_dagster.cli.common import config_option, existing_home, home_option, json_option, load_config, now
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.cli.progress_bar import quiet_option, show_work
from taskclf_dagster.defs.resources.signing_keys import open_keys
from taskclf_dagster.domain.monitoring.day_scores import DayScores, find_scoring_model
from taskclf_dagster.domain.monitoring.scored_days import ScoredDays, choose_days, score_days, write_score_events
from taskclf_dagster.domain.monitoring.taskclf_files import write_taskclf_files
from taskclf_dagster.provenance import cores
from taskclf_dagster.shown_text import counted

DAY = click.DateTime(["%Y-%m-%d"])


@click.command("score")
@home_option
@config_option
@json_option
@click.option("--date", "day", type=DAY, help="One UTC day. Default: the days of the last week that wait for scores, and today.")
@click.option("--from", "first", type=DAY, help="First day of a range, up to today.")
@click.option("--replace", is_flag=True, help="Score days again whose scores are complete; what was predicted at the time is lost.")
@click.option("--taskclf-files", is_flag=True, help="Also write segments.json and predictions.csv, as taskclf does, beside the scores.")
@quiet_option
def score_command(
    home: Path | None,
    config: Path | None,
    as_json: bool,
    day: datetime | None,
    first: datetime | None,
    replace: bool,
    taskclf_files: bool,
    quiet: bool,
) -> None:
    """Score the windows of a day with the active model, and keep what it says in artifacts/scores."""
    taskclf_home, moment = existing_home(home), now()
    settings = load_config(taskclf_home, config)
    scorer = find_scoring_model(taskclf_home, open_keys(taskclf_home, settings.signing, signs=False))
    if day is not None:
        days: list[date] = [day.date()]
    else:
        days = choose_days(taskclf_home, scorer, first=None if first is None else first.date(), last=None, now=moment)
    with show_work("scoring", quiet=quiet, lines=False) as report:
        record = score_days(taskclf_home, days, scorer, as_of=moment, cores=cores(), replace=replace, config=settings, on_progress=report)
    write_score_events(taskclf_home, record, run_id=None, at=moment)
    if taskclf_files:
        for each in record.days:
            write_taskclf_files(taskclf_home, each)
    if as_json:
        say_block(json.dumps(record.model_dump(mode="json"), indent=2))
        return
    _print(record)


def _print(record: ScoredDays) -> None:
    for warning in record.warnings:
        say(f"warning: {warning}", err=True)
    say(f"{record.home}: {record.model_id}, reject threshold {record.reject_threshold:.4g}")
    for each in record.days:
        if each.reason:
            say(f"{each.day}: {each.reason}", err=True)
    for contender in record.contenders:
        say(f"on trial: {contender.model_id}, {len(contender.days)} days scored{f'; {contender.problem}' if contender.problem else ''}")
    if record.share:
        for model_id, windows in sorted(record.served.items()):
            say(f"served by {model_id}: {counted(windows, 'window')}")
    for serving in record.serving:
        say(f"{serving.model_id} {serving.sentence}")
    rows = [_row(each) for each in record.days]
    say_block(
        make_table(rows, headers=["day", "", "windows", "rejected", "labels", "model"], wraps=[4]) if rows else "no day waits for scores"
    )


def _row(each: DayScores) -> list[object]:
    """Returns day, outcome, windows, share of rejected ones, minutes by smoothed label, and the model of the scores."""
    quality = each.quality
    rejected = "-" if quality is None or quality.reject_rate is None else f"{quality.reject_rate:.1%}"
    counts = {} if quality is None else quality.label_counts
    labels = ", ".join(f"{label} {count}" for label, count in sorted(counts.items(), key=lambda item: -item[1]))
    return [each.day.isoformat(), each.outcome.replace("_", " "), each.windows, rejected, labels, ", ".join(each.model_ids)]
