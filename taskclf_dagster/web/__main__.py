"""The process of the web server: `python -m taskclf_dagster.web`, with the options of `dagster-webserver`.

With TASKCLF_DAGSTER_HOMES it shows the homes of that file, else the home of TASKCLF_HOME.
"""

import os
import sys
from typing import Any

from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.config.homes_file import find_homes_file
from taskclf_dagster.config.loading import resolve_config
from taskclf_dagster.entry_paths import make_environment_absolute
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home, default_home
from taskclf_dagster.shown_text import show_block
from taskclf_dagster.web.dagster_webserver import GuardedWebserver, Webserver, run_webserver
from taskclf_dagster.web.homes_webserver import HomesWebserver
from taskclf_dagster.web.rules import read_access_rules


def main() -> None:
    """Runs the web server; an error of ours ends it with one message."""
    try:
        make_environment_absolute(os.environ)
        run_webserver(_make)
    except TaskclfDagsterError as error:
        sys.exit(show_block(f"Error: {error}"))


def _make(context: Any, host: str, port: int, poll_rate: int | None) -> GuardedWebserver:
    homes, home = find_homes_file(), Home(default_home())
    config = resolve_config(None, home if homes is None else None)
    rules = read_access_rules(config, os.environ, host=host, port=port, read_only=context.read_only)
    if homes is not None:
        return HomesWebserver(context, HomeDirectory(homes), rules, poll_rate)
    return Webserver(context, home, rules, poll_rate)


if __name__ == "__main__":
    main()
