"""The commands `retrain`, `decide` and `check-retrain`."""

from pathlib import Path

import click
from pydantic import ValidationError

from taskclf_dagster.cli.common import config_option, existing_home, home_option, load_config
from taskclf_dagster.cli.instance import open_instance
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.cli.progress_bar import quiet_option
from taskclf_dagster.cli.retrain_progress import show_retrain
from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.display.metadata import format_needed
from taskclf_dagster.defs.jobs.retrain import RetrainParams, RetrainResult, run_retrain_pipeline
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.resources.record_io_manager import find_last_run
from taskclf_dagster.domain.registry.active_model import find_active_model
from taskclf_dagster.domain.registry.retention import read_last_run
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.scheduling.cadence import check_calibrator_update_due
from taskclf_dagster.domain.scheduling.triggers import assess_trigger
from taskclf_dagster.errors import RegistryRefusedError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import counted
from taskclf_dagster.validation_text import describe_validation_error


@click.command("retrain")
@home_option
@config_option
@click.option("--force", is_flag=True, help="Train although nothing is new since the last decided run.")
@click.option("--dry-run", is_flag=True, help="Train and decide, also if nothing is new, but move nothing.")
@click.option("--as-of", help="End of the look-back range: an ISO date or time, UTC without an offset. Default: now.")
@click.option("--bootstrap", is_flag=True, help="Let the absolute gates alone decide where a champion exists that cannot be compared with.")
@click.option("--holdout-user-fraction", type=float, default=0.0, help="Share of users kept out of training, to judge unseen users.")
@quiet_option
def retrain_command(
    home: Path | None,
    config: Path | None,
    force: bool,
    dry_run: bool,
    as_of: str | None,
    bootstrap: bool,
    holdout_user_fraction: float,
    quiet: bool,
) -> None:
    """Run one retrain in this process, recorded in the Dagster instance of the home.

    Prints every gate and the verdict. Exits with 0 whatever the verdict, with 1 if no decision could be made.
    """
    _run(
        existing_home(home),
        quiet=quiet,
        force=force,
        dry_run=dry_run,
        as_of=as_of,
        bootstrap=bootstrap,
        holdout_user_fraction=holdout_user_fraction,
        config_path=None if config is None else str(config),
    )


@click.command("decide")
@home_option
@config_option
@click.option("--dry-run", is_flag=True, help="Decide, but move nothing.")
@click.option("--bootstrap", is_flag=True, help="Let the absolute gates alone decide where a champion exists that cannot be compared with.")
@quiet_option
def decide_command(home: Path | None, config: Path | None, dry_run: bool, bootstrap: bool, quiet: bool) -> None:
    """Judge the last challenger again, on its dataset and by today's configuration, without training.

    For a gate or a policy that changed while no label is new. Evaluates challenger and champion again; otherwise as `retrain`.
    """
    taskclf_home = existing_home(home)
    judged, challenger = find_last_run(taskclf_home, "challenger_model"), read_last_run(taskclf_home).model_id
    if judged is None:
        raise RegistryRefusedError(
            "Judging the last challenger",
            "no_challenger",
            f"none was trained in {taskclf_home.display_name} yet",
            "Train one with `taskclf-dagster retrain`.",
        )
    if challenger is not None and challenger == find_active_model(read_registry_state(taskclf_home)).model_id:
        raise RegistryRefusedError(
            f"Judging {challenger}", "model_active", "it is the active model", "Label more, or launch `taskclf-dagster retrain --force`."
        )
    chosen = None if config is None else str(config)
    _run(taskclf_home, judged_run=judged, quiet=quiet, dry_run=dry_run, bootstrap=bootstrap, config_path=chosen)


def _run(home: Home, *, quiet: bool, judged_run: str | None = None, **fields: object) -> None:
    """Runs the job, or the part of it that judges, prints the outcome, and exits with 1 if no decision could be made."""
    params = _params(**fields)
    settings = RunSettingsResource(**params.model_dump())
    settings.load_config(home)
    settings.resolve_as_of(ClockResource())
    with open_instance(home, records=True) as instance, show_retrain(instance, home, quiet=quiet) as logger:
        definitions = build_definitions(home=HomeResource(root=str(home.root)), loggers={"console": logger})
        result = run_retrain_pipeline(definitions, params, instance=instance, judged_run=judged_run)
    _print_result(result, home)
    if not result.success:
        raise SystemExit(1)


@click.command("check-retrain")
@home_option
@config_option
def check_retrain_command(home: Path | None, config: Path | None) -> None:
    """Report if a retrain is due and why, and what is wrong with the data; likewise for the calibrators."""
    taskclf_home, clock = existing_home(home), ClockResource()
    settings = load_config(taskclf_home, config)
    trigger = assess_trigger(taskclf_home, config=settings, now=clock.now())
    calibrators = check_calibrator_update_due(
        taskclf_home, now=clock.now(), cadence_days=settings.scheduling.calibrator_update_cadence_days
    )
    say(f"home             {taskclf_home.display_name}")
    say(f"retrain due      {'yes' if trigger.launch else 'no'}: {trigger.reason}")
    say(f"calibrators due  {'yes' if calibrators.due else 'no'}: {calibrators.reason}")
    say(f"new labels       {'unknown' if trigger.changed_spans is None else counted(trigger.changed_spans, 'span')}")
    for violation in (violation for violation in trigger.data.violations if violation not in trigger.blockers):
        say(f"violation        {violation}")
    if trigger.data.label_fates is not None:
        for text in (trigger.data.label_fates.summary, *trigger.data.label_fates.causes):
            say(f"labels           {text}")


def _print_result(result: RetrainResult, home: Home) -> None:
    say()
    if result.decision is not None:
        rows = [
            [
                gate.status,
                gate.name,
                "-" if gate.observed is None else f"{gate.observed:.4f}",
                format_needed(gate),
                gate.detail,
            ]
            for gate in result.decision.gates
        ]
        say_block(make_table(rows, headers=["verdict", "gate", "observed", "needed", "detail"], wraps=[4], spare=[2, 3]))
        say()
    outcome = result.outcome if result.decision is None else result.decision.outcome
    say(f"{outcome}: {result.reason}", bold=True)
    say(f"home      {home.display_name}")
    if result.decision is not None:
        where = result.decision.destination(home)
        say(f"model     {where}")
        say(f"pointer   {'moved' if result.pointer_moved else 'unchanged'}: {find_active_model(read_registry_state(home)).summary}")
        say(f"decision  {home.decisions / (result.decision.decision_id + '.json')}")
    say(f"run       {result.run_id}")


def _params(**fields: object) -> RetrainParams:
    try:
        return RetrainParams.model_validate(fields)
    except ValidationError as error:
        raise click.ClickException(f"{describe_validation_error(error)} (value {error.errors()[0]['input']!r})") from error
