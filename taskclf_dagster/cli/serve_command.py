"""The command `serve`: the page, the API, Dagster's pages and what runs by itself, for one home."""

import os
from pathlib import Path

import click
import dagster as dg

from taskclf_dagster.cli.common import config_option, existing_home, home_option, load_config
from taskclf_dagster.cli.instance import open_instance
from taskclf_dagster.cli.instance_choice import choose_instance
from taskclf_dagster.cli.output import say
from taskclf_dagster.config.loading import find_config_file
from taskclf_dagster.defs.dagster_internals import dump_instance
from taskclf_dagster.entry_paths import CONFIG_VARIABLE, HOME_VARIABLE, INSTANCE_VARIABLE
from taskclf_dagster.errors import ServeError
from taskclf_dagster.home import Home
from taskclf_dagster.web.rules import TOKEN_VARIABLE, read_access_rules
from taskclf_dagster.web.serve import ServeOptions, claim_place, run_server
from taskclf_dagster.web.sign_in import START


@click.command("serve")
@home_option
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
def serve_command(home: Path | None, config: Path | None, host: str, port: int, read_only: bool, log_level: str) -> None:
    """Show a home in the browser, and run its schedules and sensors.

    One address has the page /retrain, its API, and Dagster's own pages. Ctrl-C, or SIGTERM, ends all of it; a retrain that it interrupts is
    retried after the next start. Exits with 1 if a part of it ended by itself.
    """
    if os.name != "posix":
        raise ServeError("platform", "it needs signals and sockets that this system does not have", "Use `dagster dev`, without the page")
    taskclf_home = existing_home(home)
    host = host.strip("[]")
    rules = read_access_rules(load_config(taskclf_home, config), os.environ, host=host, port=port, read_only=read_only)
    with open_instance(taskclf_home, records=True) as instance:
        _make_tables(instance)
        reference = dump_instance(instance)
    choice = choose_instance(taskclf_home)
    options = ServeOptions(
        instance=choice.folder,
        reference=reference if choice.source == "checkout" else None,
        environment=_environment(taskclf_home, config, choice.folder if choice.source != "checkout" else None),
        host=host,
        port=port,
        read_only=read_only,
        log_level=log_level,
    )
    with claim_place(choice.folder, host, port):
        say(f"{taskclf_home.display_name}: starting, which takes some seconds")
        run_server(options, lambda: _announce(options, needs_token=rules.token is not None))
    say("ended")


def _announce(options: ServeOptions, *, needs_token: bool) -> None:
    say(f"the page         {options.url}{START}", bold=True)
    say(f"Dagster's pages  {options.url}")
    if needs_token:
        say(f"sign in with the value of {TOKEN_VARIABLE}")
    if options.read_only:
        say("nothing can be changed, because of --read-only")
    say("Ctrl-C ends it")


def _environment(home: Home, config: Path | None, instance: Path | None) -> dict[str, str]:
    """Returns the environment of the processes: home, configuration and instance as they were given here, and no telemetry."""
    chosen = find_config_file(None if config is None else str(config))
    paths = {HOME_VARIABLE: home.root, CONFIG_VARIABLE: chosen, INSTANCE_VARIABLE: instance}
    others = {name: value for name, value in os.environ.items() if name not in paths}
    return {**others, **{name: str(path) for name, path in paths.items() if path is not None}, "DAGSTER_DISABLE_TELEMETRY": "1"}


def _make_tables(instance: dg.DagsterInstance) -> None:
    """Makes every table of a new instance; several processes that made them at once would damage them."""
    instance.get_runs_count()
    instance.all_asset_keys()
    instance.all_instigator_state()
    instance.get_daemon_heartbeats()
