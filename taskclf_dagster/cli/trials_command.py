"""The command `trials`."""

import json
from functools import partial
from pathlib import Path

import click

from taskclf_dagster.cli.as_of import resolve_as_of
from taskclf_dagster.cli.common import config_option, existing_home, home_option, json_option, load_config, now
from taskclf_dagster.cli.home_keys import open_home_keys
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.domain.reporting.report_file import write_trial_report
from taskclf_dagster.domain.retraining.recomputation import recompute_decision
from taskclf_dagster.domain.trials.trial_step import TrialsReport, TrialStep, show_trials
from taskclf_dagster.provenance import code_version, cores


@click.command("trials")
@home_option
@config_option
@json_option
@click.option("--as-of", help="End of what counts: an ISO date or time, UTC without an offset. Default: now.")
@click.option("--look", is_flag=True, help="Look at each trial now, as the job `monitor` does every day: it may promote, or end a trial.")
def trials_command(home: Path | None, config: Path | None, as_json: bool, as_of: str | None, look: bool) -> None:
    """List the challengers on trial beside the active model, and how earlier trials ended."""
    moment, taskclf_home = resolve_as_of(as_of), existing_home(home)
    if look:
        keys, settings = open_home_keys(taskclf_home, config, signs=True), load_config(taskclf_home, config)
        recompute = partial(recompute_decision, cores=cores())
        for each in TrialStep(taskclf_home, settings, recompute, moment, now(), cores(), code_version(), None, keys).look().looks:
            write_trial_report(taskclf_home, each.decision_id)
    record = show_trials(taskclf_home, as_of=moment)
    if as_json:
        say_block(json.dumps(record.model_dump(mode="json"), indent=2))
        return
    _print(record)


def _print(record: TrialsReport) -> None:
    for problem in record.damaged:
        say(problem, err=True)
    if not record.looks:
        say("No challenger is or was on trial: one is tried if it was held because it could not be compared well enough.")
        return
    rows = [
        [
            each.model_id,
            each.outcome.replace("_", " "),
            each.user_days,
            each.windows,
            "-" if each.difference is None else f"{each.difference:+.4f}",
            f"{each.lower:+.4f} to {each.upper:+.4f}",
            f"{each.ends_at:%Y-%m-%d}",
        ]
        for each in record.looks
    ]
    say_block(make_table(rows, headers=["contender", "", "user-days", "windows", "difference", "bounds", "until"]))
    for each in record.looks:
        say(f"{each.model_id} beside {each.champion_id}: {each.detail}")
        if each.serving is not None:
            say(f"{each.model_id} {each.serving.sentence}")
