"""The command `drift`."""

import json
from pathlib import Path

import click

from taskclf_dagster.cli.as_of import resolve_as_of
from taskclf_dagster.cli.common import config_option, existing_home, home_option, json_option, load_config, now, shorten
from taskclf_dagster.cli.home_keys import open_home_keys
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.domain.data.label_queue import add_to_label_queue
from taskclf_dagster.domain.monitoring.drift_check import run_drift_check
from taskclf_dagster.domain.monitoring.drift_report import DriftReport, to_taskclf
from taskclf_dagster.provenance import cores
from taskclf_dagster.shown_text import counted


@click.command("drift")
@home_option
@config_option
@json_option
@click.option("--as-of", help="End of the judged days: an ISO date or time (UTC without an offset). Default: now.")
@click.option("--queue", is_flag=True, help="Also add the most drifted unlabeled time to taskclf's labelling queue.")
def drift_command(home: Path | None, config: Path | None, as_json: bool, as_of: str | None, queue: bool) -> None:
    """Compare the last days with what the active model has learned from, as the job `monitor` does, and write the report.

    Drift is confirmed by inputs that have drifted on two days in a row; the sensor then requests one retrain. Nothing is promoted.
    """
    taskclf_home = existing_home(home)
    moment = resolve_as_of(as_of)
    settings, keys = load_config(taskclf_home, config), open_home_keys(taskclf_home, config, signs=False)
    report = run_drift_check(taskclf_home, config=settings, as_of=moment, num_threads=cores(), keys=keys)
    added = len(add_to_label_queue(taskclf_home, [each.to_request(at=now()) for each in report.stretches])) if queue else None
    if as_json:
        stretches = [{**each.model_dump(mode="json"), "minutes": each.minutes} for each in report.stretches]
        document = {"outcome": report.outcome, **to_taskclf(report), "stretches": stretches, "added_to_queue": added}
        say_block(json.dumps(document, indent=2))
        return
    _print_report(report)
    if added is not None:
        say(f"{added} of {len(report.stretches)} stretches added to {shorten(taskclf_home.label_queue)}")


def _print_report(report: DriftReport) -> None:
    say(report.summary, bold=report.is_newly_confirmed)
    if report.outcome != "judged":
        return
    sides = f"{counted(report.windows, 'window')} of {report.days} days against {counted(report.reference_windows, 'window')}"
    say(f"{sides} of {report.reference_days} days that {report.model_id} has learned from")
    rows = [
        [each.name, "dead" if each.is_dead else "drifted" if each.has_drifted else "", f"{each.psi:.3f}", f"{each.threshold:.3f}",
         f"{each.missing_reference:.1%}", f"{each.missing_current:.1%}", ", ".join(each.users)]
        for each in sorted(report.inputs, key=lambda each: -each.psi)
        if each.has_drifted or each.is_dead
    ]  # fmt: skip
    if rows:
        headers = ["input", "", "PSI", "threshold", "missing before", "now", "users"]
        say_block(make_table(rows, headers=headers, wraps=[6]))
    for alert in report.alerts:
        if alert["trigger"] != "feature_psi":
            say(f"{alert['trigger']}: {json.dumps(alert['details'])}")
