"""Options and small functions that all commands share."""

import os
from datetime import UTC, datetime
from pathlib import Path

import click
import dagster as dg

from taskclf_dagster.config.loading import CONFIG_VARIABLE, PROJECT, resolve_config, resolve_signing
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.resources.signing_keys import open_keys
from taskclf_dagster.domain.storage.signatures import Keys
from taskclf_dagster.home import Home, default_home

home_option = click.option(
    "--home", type=click.Path(path_type=Path), help="The taskclf home. Default: TASKCLF_HOME, else where taskclf keeps its data."
)


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help=f"A YAML file that overrides configs/retrain.yaml. Default: {CONFIG_VARIABLE}, else that file alone.",
)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


def _require_words(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Refuses a reason without a visible character, which would explain nothing in the history."""
    if not value.strip():
        raise click.BadParameter("it is empty. Say why in a few words; the history keeps them.", context, parameter)
    return value


reason_option = click.option("--reason", required=True, callback=_require_words, help="Why, for the record.")


def existing_home(home: Path | None) -> Home:
    """Returns the given home, else the default one.

    Raises:
        HomeNotFoundError: it is not a folder.
    """
    taskclf_home = Home(home.absolute()) if home is not None else Home(default_home())
    taskclf_home.require()
    return taskclf_home


def load_config(config: Path | None) -> RetrainConfig:
    """Returns the given configuration, else the default one."""
    return resolve_config(_absolute(config))


def open_home_keys(home: Home, config: Path | None, *, signs: bool) -> Keys:
    """Returns the keys of the given configuration, else of the default one; a reader (`signs` is False) gets no private key.

    Raises:
        SigningKeyError: they cannot be used.
    """
    return open_keys(home, resolve_signing(_absolute(config)), signs=signs)


def _absolute(config: Path | None) -> str | None:
    return None if config is None else str(config.absolute())


def now() -> datetime:
    """Returns the present time."""
    return datetime.now(UTC)


def open_instance() -> dg.DagsterInstance:
    """Opens the instance that `dagster dev` in the project's folder uses: DAGSTER_HOME if set, else dagster.yaml there."""
    if os.environ.get("DAGSTER_HOME"):
        return dg.DagsterInstance.get()
    os.chdir(PROJECT)  # its storage paths are relative to the project's folder
    return dg.DagsterInstance.from_config(str(PROJECT))
