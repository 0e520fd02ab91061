"""The command `drill rollback`."""

import json
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from taskclf_dagster.cli.common import GIVEN_PATH, config_option, json_option, load_config
from taskclf_dagster.cli.output import say, say_block
from taskclf_dagster.demo.generator import generate_demo_home
from taskclf_dagster.domain.probation.rollback_drill import DAYS, TRAINING_DAYS, DrillStep, DrillTools, drill_rollback
from taskclf_dagster.home import Home
from taskclf_dagster.provenance import code_version, cores

DEMO_USERS = 3


@click.group("drill")
def drill_group() -> None:
    """Practise on a copy what should work in an emergency; nothing of a home is changed."""


@drill_group.command("rollback")
@click.argument("home", type=GIVEN_PATH, required=False)
@config_option
@json_option
def rollback_drill_command(home: Path | None, config: Path | None, as_json: bool) -> None:
    """Promote a model that does harm, on a copy of the last days of HOME, and see it found and rolled back.

    Without HOME the data is generated. The copy is a temporary folder, which is removed. Exits with 1 if the model was not rolled back.
    """
    with tempfile.TemporaryDirectory(prefix="taskclf-drill-") as folder:
        source = _make_demo_home(Path(folder) / "demo") if home is None else Home(home)
        source.require()
        shown = (lambda step: None) if as_json else _show
        tools = DrillTools(load_config(source, config), cores(), code_version(), time.monotonic, shown)
        drill = drill_rollback(source, Path(folder) / "copy", tools)
    seconds = sum(step.seconds for step in drill.steps)
    if as_json:
        say_block(json.dumps({**drill.model_dump(mode="json"), "seconds": round(seconds, 3)}, indent=2))
    elif drill.passed:
        say(f"The model that does harm was found and rolled back, in {seconds:.0f} s. No home was changed.")
    if not drill.passed:
        message = (
            "The model that does harm was not rolled back. With few labels in a week its probation shows too little: docs/probation.md."
        )
        raise click.ClickException(message)


def _make_demo_home(folder: Path) -> Home:
    end = (datetime.now(UTC) - timedelta(days=1)).date()
    generate_demo_home(folder, end=end, users=DEMO_USERS, days=TRAINING_DAYS // 2 + DAYS)
    return Home(folder)


def _show(step: DrillStep) -> None:
    say(f"{step.seconds:6.1f} s  {step.name}: {step.detail}")
