"""The command `calibrate`."""

import json
from pathlib import Path

import click

from taskclf_dagster.cli.as_of import resolve_as_of
from taskclf_dagster.cli.common import config_option, existing_home, home_option, json_option, load_config, now
from taskclf_dagster.cli.home_keys import open_home_keys
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.cli.progress_bar import quiet_option, show_work
from taskclf_dagster.domain.evaluation.calibrator_fitting import CalibratorFit
from taskclf_dagster.domain.monitoring.calibration import calibrate_active_model
from taskclf_dagster.domain.scheduling.calibration_trigger import assess_calibration
from taskclf_dagster.provenance import code_version, cores


@click.command("calibrate")
@home_option
@config_option
@json_option
@click.option("--as-of", help="End of the look-back for labels: an ISO date or time, UTC without an offset. Default: now.")
@click.option("--dry-run", is_flag=True, help="Fit and judge, but change nothing.")
@click.option("--force", is_flag=True, help="Calibrate although it is not due, or a decision awaits approval, which is then void.")
@quiet_option
def calibrate_command(
    home: Path | None, config: Path | None, as_json: bool, as_of: str | None, dry_run: bool, force: bool, quiet: bool
) -> None:
    """Fit calibrators for the active model, on labels that it has not learned from, and make taskclf follow them.

    The inference policy then names model, calibrators and a reject threshold for calibrated scores; `rollback` takes all of it back. A
    calibrator that does not help enough on later windows gives way to none. Does nothing if it is not due: calibrators are due after a
    promotion and by cadence, and not while a decision awaits approval.
    """
    taskclf_home = existing_home(home)
    settings = load_config(taskclf_home, config)
    due = assess_calibration(taskclf_home, now=now(), cadence_days=settings.scheduling.calibrator_update_cadence_days)
    if not due.due and not force and not dry_run:
        say(f"{taskclf_home.display_name}: not calibrated: {due.reason}. --force calibrates all the same.")
        return
    with show_work("fitting calibrators", quiet=quiet):
        found = calibrate_active_model(
            taskclf_home,
            config=settings,
            as_of=resolve_as_of(as_of),
            at=now(),
            cores=cores(),
            code_version=code_version(),
            keys=open_home_keys(taskclf_home, config, signs=not dry_run),
            dry_run=dry_run,
        )
    if as_json:
        say_block(json.dumps(found.model_dump(mode="json"), indent=2))
        return
    if found.fits:
        headers = ["user", "calibrator", "fitted on", "judged on", "Brier", "why"]
        say_block(make_table(map(_row, found.fits), headers=headers, wraps=[5]))
    record = "" if found.sequence is None else f", record {found.sequence}"
    say(f"{found.model_id or taskclf_home.display_name}: {found.outcome}{record}: {found.reason}")


def _row(fit: CalibratorFit) -> list[object]:
    brier = "-" if fit.brier_before is None or fit.brier_after is None else f"{fit.brier_before:.4f} to {fit.brier_after:.4f}"
    kind = fit.type if fit.temperature is None else f"{fit.type} {fit.temperature:.3f}"
    return ["everyone" if fit.user_id is None else fit.user_id, kind, fit.fitted, fit.judged, brier, fit.reason]
