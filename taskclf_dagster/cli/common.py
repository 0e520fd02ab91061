"""Options and small functions that all commands share."""

import shlex
from datetime import UTC, datetime
from pathlib import Path

import click

from taskclf_dagster.config.loading import resolve_config
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.entry_paths import CONFIG_VARIABLE, make_absolute
from taskclf_dagster.home import Home, default_home


class _GivenPath(click.ParamType[Path]):
    """A path that is made absolute where it is given, so that nothing later depends on the working directory."""

    name = "path"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return make_absolute(str(value), "the path" if param is None else param.opts[0])


GIVEN_PATH = _GivenPath()


home_option = click.option("--home", type=GIVEN_PATH, help="The taskclf home. Default: TASKCLF_HOME, else where taskclf keeps its data.")


config_option = click.option(
    "--config",
    type=GIVEN_PATH,
    help=f"A YAML file that overrides configs/retrain.yaml and the settings file of the home. Default: {CONFIG_VARIABLE}.",
)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


def _require_words(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Refuses a reason without a visible character, which would explain nothing in the history."""
    if not value.strip():
        raise click.BadParameter("it is empty. Say why in a few words; the history keeps them.", context, parameter)
    return value


reason_option = click.option("--reason", required=True, callback=_require_words, help="Why, for the record.")


def choose_home(home: Path | None) -> Home:
    """Returns the given home, else the default one, even if its folder does not exist."""
    return Home(default_home() if home is None else home)


def existing_home(home: Path | None) -> Home:
    """Returns the given home, else the default one.

    Raises:
        HomeNotFoundError: the folder is no home.
    """
    taskclf_home = choose_home(home)
    taskclf_home.require()
    return taskclf_home


def require_place(path: Path) -> None:
    """Refuses a file to write whose folder does not exist, which may be misspelled, or that is a folder itself."""
    if not path.parent.is_dir():
        raise click.ClickException(f"{path} cannot be written: there is no folder {path.parent}. Make it, or name another one.")
    if path.is_dir():
        raise click.ClickException(f"{path} cannot be written: it is a folder. Name a file in it.")


def load_config(home: Home, config: Path | None) -> RetrainConfig:
    """Returns the configuration of a home: the default one, overridden by the home's and by the given file."""
    return resolve_config(None if config is None else str(config), home)


def shorten(path: Path) -> str:
    """Returns a path to type in this folder: relative if it is below it, as one word of a shell."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def now() -> datetime:
    """Returns the present time."""
    return datetime.now(UTC)
