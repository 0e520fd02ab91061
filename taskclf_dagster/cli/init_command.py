"""The command `init`: files with which a home has a Dagster instance and settings of its own."""

import shlex
from pathlib import Path

import click

from taskclf_dagster.cli.common import existing_home, home_option
from taskclf_dagster.cli.instance_choice import choose_instance
from taskclf_dagster.cli.instance_files import OWN_SETTINGS, WORKSPACE, write_instance_settings, write_own_settings, write_workspace
from taskclf_dagster.cli.output import say
from taskclf_dagster.domain.storage.instance_owner import read_owner
from taskclf_dagster.entry_paths import CONFIG_VARIABLE, HOME_VARIABLE, INSTANCE_VARIABLE


@click.command("init")
@home_option
def init_command(home: Path | None) -> None:
    """Write a Dagster instance and a settings file of its own into a home, and print how to start it.

    They are in .dagster of the home: dagster.yaml and workspace.yaml of the instance, unless the home has one in a checkout already, and
    retrain.yaml, in which every setting is a comment until you change it. Files that exist stay as they are.
    """
    taskclf_home = existing_home(home)
    folder = taskclf_home.instance
    present = choose_instance(taskclf_home, environ={})
    in_checkout = present.source == "checkout" and read_owner(present.folder) is not None
    written = write_own_settings(folder)
    if not in_checkout:
        written += [*write_instance_settings(folder), *write_workspace(folder)]
    for path in written:
        say(f"written  {path}")
    if not written:
        say(f"nothing to write: {folder} has every file, and they stay as they are")
    say()
    start = f"--home {shlex.quote(str(taskclf_home.root))} --config {shlex.quote(str(folder / OWN_SETTINGS))}"
    say("Start it, and open http://127.0.0.1:3000/retrain:")
    say(f"  taskclf-dagster serve {start}")
    say()
    say("Or Dagster alone, without the page:")
    say(f"  export {HOME_VARIABLE}={shlex.quote(str(taskclf_home.root))}")
    say(f"  export {CONFIG_VARIABLE}={shlex.quote(str(folder / OWN_SETTINGS))}")
    if in_checkout:
        say(f"  cd {shlex.quote(str(present.folder.parent))} && dagster dev")
    else:
        say(f"  export {INSTANCE_VARIABLE}={shlex.quote(str(folder))}")
        say(f"  dagster dev -w {shlex.quote(str(folder / WORKSPACE))}")
