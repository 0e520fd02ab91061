"""The commands `config show` and `config check`."""

import json
import os
from pathlib import Path

import click

from taskclf_dagster.cli.common import config_option, json_option, load_config
from taskclf_dagster.cli.output import make_table, say, say_block
from taskclf_dagster.config.environment import find_overrides
from taskclf_dagster.config.loading import find_config_file, list_sources
from taskclf_dagster.config.shipped import DEFAULT_CONFIG_PATH
from taskclf_dagster.config.yaml_files import flatten


@click.group("config")
def config_group() -> None:
    """Show the configuration in effect, or check a file."""


@config_group.command("show")
@config_option
@json_option
def show_command(config: Path | None, as_json: bool) -> None:
    """Print every key with its value and source: the default file, a file of your own, or the environment."""
    settings = load_config(config)
    if as_json:
        say_block(json.dumps(settings.document, indent=2))
        return
    sources = list_sources(None if config is None else str(config))
    rows = [[key, json.dumps(value), sources[key]] for key, value in flatten(settings.document)]
    say_block(make_table(rows, headers=["key", "value", "from"], wraps=[1]))


@config_group.command("check")
@config_option
def check_command(config: Path | None) -> None:
    """Check a configuration file and the environment, and list every error. Exits with 1 if there is one."""
    load_config(config)
    path = find_config_file(None if config is None else str(config))
    say(f"{DEFAULT_CONFIG_PATH} is valid" if path is None else f"{path}, which overrides {DEFAULT_CONFIG_PATH}, is valid")
    for key, (name, value) in find_overrides(os.environ).items():
        say(f"{key} is {json.dumps(value)}: the environment variable {name} overrides the file")
