"""The command `live`."""

import json
from pathlib import Path

import click

from taskclf_dagster.cli.as_of import resolve_as_of
from taskclf_dagster.cli.common import config_option, existing_home, home_option, json_option, load_config
from taskclf_dagster.cli.home_keys import open_home_keys
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.domain.monitoring.live_figures import LiveFigures, LiveModel
from taskclf_dagster.domain.monitoring.live_performance import LivePerformance, measure_live_performance


@click.command("live")
@home_option
@config_option
@json_option
@click.option("--as-of", help="End of the last day: an ISO date or time, UTC without an offset. Default: now.")
def live_command(home: Path | None, config: Path | None, as_json: bool, as_of: str | None) -> None:
    """Show how models did on the windows that they scored in the last days, once people have labeled them; nothing is written.

    What was predicted at the time counts, not what today's model would predict. Days are in UTC.
    """
    moment = resolve_as_of(as_of)
    taskclf_home = existing_home(home)
    keys = open_home_keys(taskclf_home, config, signs=False)
    record = measure_live_performance(taskclf_home, as_of=moment, config=load_config(taskclf_home, config), keys=keys)
    if as_json:
        say_block(json.dumps(record.model_dump(mode="json"), indent=2))
        return
    say(record.summary)
    for day, reason in record.damaged_days.items():
        say(f"left out {day}: {reason}", err=True)
    for bar in record.bars:
        say(f"{bar.verdict.replace('_', ' ')}: {bar.name.replace('_', ' ')}: {bar.detail}")
    _print_tables(record)


def _print_tables(record: LivePerformance) -> None:
    headers = ["macro-F1", "rejected", "Brier", "labeled", "scored"]
    for model in record.models:
        say()
        say(f"{model.model_id}{' (active)' if model.model_id == record.active_model_id else ''}: {_spread(model)}", bold=True)
        rows = [[str(each.day), each.user_id or "all users", *_cells(each)] for each in model.by_day]
        rows += [["all days", user, *_cells(each)] for user, each in model.by_user.items()]
        say_block(make_table(rows, headers=["day", "user", *headers]))
        labels = [
            [label, f"{score:.4f}", model.figures.support.get(label, 0), "" if label in model.judged_labels else "too few windows"]
            for label, score in model.figures.f1.items()
        ]
        say_block(make_table(labels, headers=["label", "F1", "windows", ""]))
        for name, each in model.by_provenance.items():
            say(f"{name}: {each.windows} windows, {each.agreed} as predicted, {each.corrected} corrected, {each.rejected} rejected")


def _spread(model: LiveModel) -> str:
    score = "no label is judged" if model.figures.macro_f1 is None else f"macro-F1 {model.figures.macro_f1:.4f}"
    interval = "" if model.interval is None else f" ({model.interval[0]:.4f} to {model.interval[1]:.4f})"
    left_out = f"; {model.left_out} windows left out, which it may have learned from" if model.left_out else ""
    return f"{score}{interval} on {model.user_days} labeled user-days{left_out}"


def _cells(figures: LiveFigures) -> list[object]:
    values = (figures.macro_f1, figures.reject_rate, figures.brier_score)
    return [*("-" if value is None else f"{value:.4f}" for value in values), figures.labeled, figures.windows]
