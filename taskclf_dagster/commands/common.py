"""Options and small helpers that all commands share."""

from datetime import UTC, datetime
from pathlib import Path

import click

from taskclf_dagster.errors import HomeNotFoundError
from taskclf_dagster.home import Home, default_home
from taskclf_dagster.settings import CONFIG_VARIABLE, RetrainConfig, resolve_config

home_option = click.option(
    "--home", type=click.Path(path_type=Path), help="The taskclf home. Default: TASKCLF_HOME, else where taskclf keeps its data."
)
config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help=f"YAML laid over configs/retrain.yaml. Default: {CONFIG_VARIABLE}, else that file alone.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
reason_option = click.option("--reason", required=True, help="Why, for the record.")


def existing_home(home: Path | None) -> Home:
    """The home that was named, or the default one.

    Raises:
        HomeNotFoundError: it is no folder.
    """
    place = Home(home.absolute()) if home is not None else Home(default_home())
    if not place.root.is_dir():
        raise HomeNotFoundError(place.root)
    return place


def load_config(config: Path | None) -> RetrainConfig:
    """The retrain configuration that was named, or the default one."""
    return resolve_config(None if config is None else str(config.absolute()))


def now() -> datetime:
    """The present time."""
    return datetime.now(UTC)
