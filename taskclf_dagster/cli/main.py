"""The command `taskclf-dagster`, and its commands `demo`, `retrain`, `check-retrain` and `list`.

Commands print records; nothing is decided here.
"""

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import click
import dagster as dg
from pydantic import ValidationError

from taskclf_dagster.cli.common import config_option, existing_home, home_option, json_option, load_config, open_instance
from taskclf_dagster.cli.model_commands import EVIDENCE_COMMANDS
from taskclf_dagster.cli.operation_commands import OPERATION_COMMANDS
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.cli.registry_commands import REGISTRY_COMMANDS
from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.display.metadata import format_threshold
from taskclf_dagster.defs.jobs.retrain import RetrainParams, RetrainResult, run_retrain_pipeline
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.demo.generator import extend_demo_home, generate_demo_home
from taskclf_dagster.domain.data.feature_schema import SchemaVersion
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.index_cache import summarize
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.ranking import SelectionPolicy, find_best_model, should_switch_active
from taskclf_dagster.domain.scheduling.cadence import check_calibrator_update_due
from taskclf_dagster.domain.scheduling.triggers import assess_trigger
from taskclf_dagster.domain.storage.json_files import has_half_character
from taskclf_dagster.errors import TaskclfDagsterError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import show_block, show_line


class _Group(click.Group):
    """Shows the package's own errors as one message instead of a traceback, without what a terminal would obey."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        damaged = [argument for argument in args if has_half_character(argument)]  # as Python reads bytes that are not UTF-8
        if damaged:
            raise click.UsageError(f"{show_line(damaged[0])} is not UTF-8. Write it in UTF-8.", ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except TaskclfDagsterError as error:
            raise click.ClickException(show_block(str(error))) from error
        except OSError as error:
            message = f"{error}. What runs is as it was; `taskclf-dagster registry fsck` checks it."
            raise click.ClickException(show_block(message)) from error
        except click.UsageError as error:
            message = error.format_message()
            if show_block(message) != message:
                raise click.UsageError(show_block(message), error.ctx) from error
            raise


@click.group(cls=_Group)
@click.version_option(package_name="taskclf-dagster")
def main() -> None:
    """Keeps taskclf's activity classifier fresh.

    \b
    Try it on generated data:
      taskclf-dagster demo demo_home
      taskclf-dagster retrain --home demo_home --config configs/demo.yaml
      TASKCLF_HOME=$PWD/demo_home dagster dev

    On your own data, leave out --home and --config: a model that passes every gate then waits for your approval.
    """  # noqa: D301  # click wants the backspace character, which keeps the lines above apart


@main.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("demo_home"))
@click.option("--end", type=click.DateTime(["%Y-%m-%d"]), help="Last day. Default: yesterday (UTC), so that the look-back finds it.")
@click.option("--users", type=click.IntRange(min=1), default=3, show_default=True, help="Number of users.")
@click.option("--days", type=click.IntRange(min=1), default=30, show_default=True, help="Number of days.")
@click.option("--seed", type=int, default=7, show_default=True, help="Same seed and end: same bytes.")
@click.option("--schema", type=click.Choice(["v1", "v2", "v3"]), default="v1", show_default=True, help="Feature schema version.")
@click.option(
    "--extend", type=click.IntRange(min=1), metavar="DAYS", help="Add days to the demo home that is there; ignores the other options."
)
def demo(folder: Path, end: datetime | None, users: int, days: int, seed: int, schema: str, extend: int | None) -> None:
    """Write a demo home: generated windows and labels of invented users.

    FOLDER (default: demo_home) must be new, empty or a demo home.
    """
    if extend is not None:
        made = extend_demo_home(folder, days=extend)
    else:
        last = (datetime.now(UTC) - timedelta(days=1)).date() if end is None else end.date()
        made = generate_demo_home(folder, end=last, users=users, days=days, seed=seed, schema=cast("SchemaVersion", schema))
    size = f"{len(made.users)} users, {made.first_day} to {made.last_day}, {made.windows} windows, {made.spans} label spans"
    as_of = made.last_day + timedelta(days=1)
    say(f"DEMO home {made.root}: {size}")
    say(f"Retrain on it: taskclf-dagster retrain --home {folder} --config configs/demo.yaml --as-of {as_of}")


@main.command()
@home_option
@config_option
@click.option("--force", is_flag=True, help="Train although nothing is new since the last decided run.")
@click.option("--dry-run", is_flag=True, help="Decide, but move nothing.")
@click.option("--as-of", help="End of the look-back range: an ISO date or time, UTC without an offset. Default: now.")
@click.option("--bootstrap", is_flag=True, help="Let the absolute gates alone decide where a champion exists that cannot be compared with.")
@click.option("--holdout-user-fraction", type=float, default=0.0, help="Share of users kept out of training, to judge unseen users.")
def retrain(
    home: Path | None, config: Path | None, force: bool, dry_run: bool, as_of: str | None, bootstrap: bool, holdout_user_fraction: float
) -> None:
    """Run one retrain in this process, recorded in the project's Dagster instance.

    Prints every gate and the verdict. Exits with 0 whatever the verdict, with 1 if no decision could be made.
    """
    params = _params(
        force=force,
        dry_run=dry_run,
        as_of=as_of,
        bootstrap=bootstrap,
        holdout_user_fraction=holdout_user_fraction,
        config_path=None if config is None else str(config.absolute()),
    )
    resource = _home_resource(home)
    settings = RunSettingsResource(**params.model_dump())
    settings.load_config()
    settings.resolve_as_of(ClockResource())
    definitions = build_definitions(home=resource, loggers={"console": _progress_logger})
    with open_instance() as instance:
        result = run_retrain_pipeline(definitions, params, instance=instance)
    _print_result(result, resource.open())
    if not result.success:
        raise SystemExit(1)


@main.command("check-retrain")
@home_option
@config_option
def check_retrain(home: Path | None, config: Path | None) -> None:
    """Report if a retrain is due, with the reason; likewise for the calibrators."""
    taskclf_home, clock = _home_resource(home).open(), ClockResource()
    settings = load_config(config)
    trigger = assess_trigger(taskclf_home, config=settings, now=clock.now())
    calibrators = check_calibrator_update_due(
        taskclf_home, now=clock.now(), cadence_days=settings.scheduling.calibrator_update_cadence_days
    )
    say(f"home         {taskclf_home.display_name}")
    say(f"retrain      {'yes' if trigger.launch else 'no'}: {trigger.reason}")
    say(f"calibrators  {'yes' if calibrators.due else 'no'}: {calibrators.reason}")


@main.command("list")
@home_option
@config_option
@json_option
def list_models(home: Path | None, config: Path | None, as_json: bool) -> None:
    """List the bundles in models/, ranked by stored validation metrics, and the reason why others are excluded.

    The ranking is for information: the active model is the one that the pointer names.
    """
    taskclf_home = existing_home(home)
    settings = load_config(config)
    report = find_best_model(taskclf_home.models, SelectionPolicy(min_improvement=settings.comparison.min_improvement))
    active = _active_model(taskclf_home)
    if as_json:
        ranked = [{**summarize(bundle).model_dump(mode="json"), "active": bundle.model_id == active} for bundle in report.ranked]
        say_block(json.dumps({"active": active, "ranked": ranked, "excluded": [r.model_dump() for r in report.excluded]}, indent=2))
        return
    say(f"{taskclf_home.display_name}: active model {active or 'none'}")
    rows = [
        ["*" if bundle.model_id == active else "", line.model_id, line.macro_f1, line.weighted_f1, f"{line.created_at:%Y-%m-%d %H:%M}"]
        for bundle, line in ((bundle, summarize(bundle)) for bundle in report.ranked)
    ]
    say_block(make_table(rows, headers=["", "model", "macro-F1 (validation)", "weighted-F1", "created"]) if rows else "no eligible bundles")
    for record in report.excluded:
        say(f"left out: {record.model_id}: {record.reason}")
    for model_id in read_history(taskclf_home).blocked:
        say(f"blocked:  {model_id}: a rollback left it; `taskclf-dagster unblock {model_id}` allows it again")
    running = next((bundle for bundle in report.ranked if bundle.model_id == active), None)
    best = report.best
    if running and best and running.metrics and best.metrics and best is not running:
        better = should_switch_active(running.metrics, best.metrics, min_improvement=settings.comparison.min_improvement)
        if better:
            say(f"{best.model_id} has a higher stored score than the active model, but on other data: only a retrain can compare them.")


def _print_result(result: RetrainResult, home: Home) -> None:
    say()
    if result.decision is not None:
        rows = [
            [
                gate.status,
                gate.name,
                "-" if gate.observed is None else f"{gate.observed:.4f}",
                format_threshold(gate.threshold),
                gate.detail,
            ]
            for gate in result.decision.gates
        ]
        say_block(make_table(rows, headers=["verdict", "gate", "observed", "threshold", "detail"], maxcolwidths=[None] * 4 + [70]))
        say()
    outcome = result.outcome if result.decision is None else result.decision.outcome
    say(f"{outcome}: {result.reason}", bold=True)
    say(f"home      {home.display_name}")
    if result.decision is not None:
        where = result.decision.destination(home)
        say(f"model     {where}")
        say(f"pointer   {'moved' if result.pointer_moved else 'unchanged'}: {_active_model(home) or 'no active model'}")
        say(f"decision  {home.decisions / (result.decision.decision_id + '.json')}")
    say(f"run       {result.run_id}")


def _active_model(home: Home) -> str | None:
    try:
        pointer = read_active(home)
    except UnreadableFileError as error:
        say(str(error), err=True)
        return None
    return None if pointer is None else Path(pointer.model_dir).name


def _params(**fields: object) -> RetrainParams:
    try:
        return RetrainParams.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise click.ClickException(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']} (value {first['input']!r})") from error


def _home_resource(home: Path | None) -> HomeResource:
    return HomeResource(root=None if home is None else str(home.absolute()))


class _ProgressHandler(logging.Handler):
    """Prints the log messages of assets, without Dagster's own events."""

    def emit(self, record: logging.LogRecord) -> None:
        meta = getattr(record, "dagster_meta", {})
        message = str(meta.get("orig_message") or record.getMessage())
        if not meta.get("dagster_event") and not message.startswith(("Skipping step", "Dependencies for step")):
            say(f"{meta.get('step_key') or 'run'}: {message}")


@dg.logger(config_schema={"log_level": str})
def _progress_logger(init_context: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.getLogger("taskclf_dagster.progress")
    logger.setLevel(init_context.logger_config["log_level"])
    logger.propagate = False
    logger.handlers = [_ProgressHandler()]
    return logger


for command in (*OPERATION_COMMANDS, *REGISTRY_COMMANDS, *EVIDENCE_COMMANDS):
    main.add_command(command)


if __name__ == "__main__":
    main()
