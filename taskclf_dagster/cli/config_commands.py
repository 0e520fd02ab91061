"""The commands `config show`, `config check`, `config set` and `config history`."""

import getpass
import json
import os
from pathlib import Path

import click
import yaml

from taskclf_dagster.cli.common import choose_home, config_option, existing_home, home_option, json_option, load_config, now
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.config.environment import find_overrides
from taskclf_dagster.config.home_layer import read_home_layer
from taskclf_dagster.config.loading import check_home_layer, find_config_file, list_sources
from taskclf_dagster.config.shipped import DEFAULT_CONFIG_PATH
from taskclf_dagster.config.yaml_files import flatten, parse_yaml
from taskclf_dagster.domain.scheduling.home_settings import change_home_settings
from taskclf_dagster.domain.scheduling.settings_changes import find_unrecorded, read_changes
from taskclf_dagster.shown_text import counted

DEFAULT_CHANGES = 20


@click.group("config")
def config_group() -> None:
    """Show, check or change the configuration of a home."""


@config_group.command("show")
@home_option
@config_option
@json_option
def show_command(home: Path | None, config: Path | None, as_json: bool) -> None:
    """Print every key with its value and source: the default file, the home's, a file of your own, or the environment."""
    taskclf_home = choose_home(home)
    settings = load_config(taskclf_home, config)
    if as_json:
        say_block(json.dumps(settings.document, indent=2))
        return
    sources = list_sources(_chosen(config), taskclf_home)
    rows = [[key, json.dumps(value), sources[key]] for key, value in flatten(settings.document)]
    say_block(make_table(rows, headers=["key", "value", "from"], wraps=[1]))


@config_group.command("check")
@home_option
@config_option
def check_command(home: Path | None, config: Path | None) -> None:
    """Check the files of the configuration and the environment, and list every error. Exits with 1 if there is one."""
    layer = read_home_layer(choose_home(home))
    check_home_layer(layer, _chosen(config))
    path = find_config_file(_chosen(config))
    files = [str(each) for each in (path, layer.path if layer.content else None, DEFAULT_CONFIG_PATH) if each is not None]
    overridden = f", which overrides {' and '.join(files[1:])}," if len(files) > 1 else ""
    say(f"{files[0]}{overridden} is valid")
    for key, (name, value) in find_overrides(os.environ).items():
        say(f"{key} is {json.dumps(value)}: the environment variable {name} overrides the file")


@config_group.command("set")
@click.argument("assignments", metavar="KEY=VALUE...", nargs=-1)
@click.option("--unset", metavar="KEY", multiple=True, help="Remove a key from the settings file of the home. May be given several times.")
@home_option
@config_option
def set_command(assignments: tuple[str, ...], unset: tuple[str, ...], home: Path | None, config: Path | None) -> None:
    """Change keys in the settings file of the home, all of them or none, such as min_new_labels=8 or gates.min_macro_f1=0.7.

    Refused if the configuration would not be valid with them. Comments in the file stay. `config history` lists the changes.
    """
    changes = {**dict(map(_read_assignment, assignments)), **dict.fromkeys(unset)}
    if len(changes) != len(assignments) + len(unset):
        raise click.UsageError("A key is given twice.")
    if not changes:
        raise click.UsageError("Give at least one KEY=VALUE, or --unset KEY.")
    taskclf_home = existing_home(home)
    made = change_home_settings(
        taskclf_home, changes, etag=None, who=_find_person(), via="command line", at=now(), config_path=_chosen(config)
    )
    for key in changes:
        setting = made.settings[key]
        set_to = f"is {json.dumps(setting.home_value)}" if setting.in_home else f"is not set, and by default {json.dumps(setting.default)}"
        say(f"{key} {set_to} in {made.path}. In effect: {setting.takes_effect}.")


@config_group.command("history")
@home_option
@click.option("--limit", type=click.IntRange(min=1), default=DEFAULT_CHANGES, show_default=True, help="How many changes, newest first.")
@json_option
def history_command(home: Path | None, limit: int, as_json: bool) -> None:
    """List what was changed in the settings file of the home: when, by whom, and the values before and after."""
    taskclf_home = existing_home(home)
    changes = read_changes(taskclf_home)
    newest = changes[::-1][:limit]
    if as_json:
        say_block(json.dumps([change.model_dump(mode="json") for change in newest], indent=2))
        return
    say(f"{taskclf_home.settings_file}: {counted(len(changes), 'recorded change')}")
    rows = [
        [f"{change.at:%Y-%m-%d %H:%M}", change.who or "-", change.via, change.key, json.dumps(change.before), json.dumps(change.after)]
        for change in newest
    ]
    if rows:
        say_block(make_table(rows, headers=["time (UTC)", "who", "by", "key", "before", "after"]))
    for key, (before, after) in find_unrecorded(changes, read_home_layer(taskclf_home).values).items():
        say(f"edited in the file since: {key}, {json.dumps(before)} before, {json.dumps(after)} now")


def _chosen(config: Path | None) -> str | None:
    return None if config is None else str(config)


def _read_assignment(text: str) -> tuple[str, object]:
    """Returns key and value of `KEY=VALUE`; the value is a flag, a number or null if YAML reads it as one, and text otherwise."""
    key, sign, written = text.partition("=")
    if not sign or not key.strip():
        raise click.UsageError(f"{text} is not KEY=VALUE, such as min_new_labels=8.")
    try:
        value = parse_yaml(written)
    except yaml.YAMLError:  # such as */5 in a cron line
        value = written
    return key.strip(), value if value is None or isinstance(value, bool | int | float) else written.strip()


def _find_person() -> str | None:
    """Returns the name of the account; None if it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None
