"""The command `serve`: the page, the API, Dagster's pages and what runs by itself, for one home or for many."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import dagster as dg

from taskclf_dagster.cli.common import config_option, existing_home, home_option, load_config
from taskclf_dagster.cli.homes_instance import choose_homes_instance, find_directory, homes_option, open_homes_instance
from taskclf_dagster.cli.instance import open_instance
from taskclf_dagster.cli.instance_choice import choose_instance
from taskclf_dagster.cli.output import say
from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.config.loading import find_config_file, resolve_config
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.dagster_internals import HOMES_MODULE, MODULE, dump_instance
from taskclf_dagster.entry_paths import CONFIG_VARIABLE, HOME_VARIABLE, HOMES_VARIABLE, INSTANCE_VARIABLE, PATH_VARIABLES
from taskclf_dagster.errors import ServeError
from taskclf_dagster.shown_text import counted
from taskclf_dagster.web.rules import TOKEN_VARIABLE, read_access_rules
from taskclf_dagster.web.serve import ServeOptions, claim_place, run_server
from taskclf_dagster.web.sign_in import START


@click.command("serve")
@home_option
@homes_option
@config_option
@click.option(
    "--host", default="127.0.0.1", show_default=True, help=f"Where to listen; elsewhere than on loopback, {TOKEN_VARIABLE} is needed."
)
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Port to listen on.")
@click.option("--read-only", is_flag=True, help="Show everything and change nothing, neither over the page nor over Dagster's.")
@click.option(
    "--log-level",
    type=click.Choice(["critical", "error", "warning", "info", "debug"]),
    default="warning",
    show_default=True,
    help="What Dagster prints.",
)
def serve_command(
    home: Path | None, homes: Path | None, config: Path | None, host: str, port: int, read_only: bool, log_level: str
) -> None:
    """Show a home in the browser, or many homes with --homes, and run their schedules and sensors.

    One address has the page /retrain, its API, and Dagster's own pages. Ctrl-C, or SIGTERM, ends all of it; a retrain that it interrupts is
    retried after the next start. Exits with 1 if a part of it ended by itself.
    """
    if os.name != "posix":
        raise ServeError("platform", "it needs signals and sockets that this system does not have", "Use `dagster dev`, without the page")
    if home is not None and homes is not None:
        raise click.UsageError("--home is for one home and --homes for many: give one of them.")
    directory = None if home is not None else find_directory(homes)
    prepare = partial(_prepare_home, home) if directory is None else partial(_prepare_homes, directory)
    host = host.strip("[]")
    served = prepare(config)
    rules = read_access_rules(served.config, os.environ, host=host, port=port, read_only=read_only)
    options = ServeOptions(
        module=served.module,
        instance=served.instance,
        reference=served.reference,
        environment=served.environment,
        host=host,
        port=port,
        read_only=read_only,
        log_level=log_level,
    )
    with claim_place(served.instance, host, port):
        say(f"{served.title}: starting, which takes some seconds")
        run_server(options, lambda: _announce(options, needs_token=rules.token is not None))
    say("ended")


@dataclass(frozen=True)
class _Served:
    """The homes to serve, and the means for it.

    Attributes:
        title: its name for a person.
        config: has the settings of the server.
        module: with its definitions.
        instance: folder of the Dagster instance.
        reference: as of `ServeOptions`.
        environment: of the processes.
    """

    title: str
    config: RetrainConfig
    module: str
    instance: Path
    reference: str | None
    environment: Mapping[str, str]


def _prepare_home(home: Path | None, config: Path | None) -> _Served:
    """Makes the instance of one home ready."""
    taskclf_home = existing_home(home)
    settings = load_config(taskclf_home, config)
    with open_instance(taskclf_home, records=True) as instance:
        _make_tables(instance)
        reference = dump_instance(instance)
    choice = choose_instance(taskclf_home)
    own = choice.folder if choice.source != "checkout" else None
    return _Served(
        title=taskclf_home.display_name,
        config=settings,
        module=MODULE,
        instance=choice.folder,
        reference=reference if own is None else None,
        environment=_environment({HOME_VARIABLE: taskclf_home.root, INSTANCE_VARIABLE: own}, config),
    )


def _prepare_homes(directory: HomeDirectory, config: Path | None) -> _Served:
    """Makes the instance of many homes ready."""
    settings, count = resolve_config(None if config is None else str(config), None), len(directory.list_homes())
    with open_homes_instance(directory, records=True) as instance:
        _make_tables(instance)
    folder = choose_homes_instance(directory)
    return _Served(
        title=f"{counted(count, 'home')} of {directory.path}",
        config=settings,
        module=HOMES_MODULE,
        instance=folder,
        reference=None,
        environment=_environment({HOMES_VARIABLE: directory.path, INSTANCE_VARIABLE: folder}, config),
    )


def _announce(options: ServeOptions, *, needs_token: bool) -> None:
    say(f"the page         {options.url}{START}", bold=True)
    say(f"Dagster's pages  {options.url}")
    if needs_token:
        say(f"sign in with the value of {TOKEN_VARIABLE}")
    if options.read_only:
        say("nothing can be changed, because of --read-only")
    say("Ctrl-C ends it")


def _environment(chosen: Mapping[str, Path | None], config: Path | None) -> dict[str, str]:
    """Returns the environment of the processes: home or homes, configuration and instance as they were given here, and no telemetry."""
    paths = {**chosen, CONFIG_VARIABLE: find_config_file(None if config is None else str(config))}
    others = {name: value for name, value in os.environ.items() if name not in PATH_VARIABLES}
    return {**others, **{name: str(path) for name, path in paths.items() if path is not None}, "DAGSTER_DISABLE_TELEMETRY": "1"}


def _make_tables(instance: dg.DagsterInstance) -> None:
    """Makes every table of a new instance; several processes that made them at once would damage them."""
    instance.get_runs_count()
    instance.all_asset_keys()
    instance.all_instigator_state()
    instance.get_daemon_heartbeats()
