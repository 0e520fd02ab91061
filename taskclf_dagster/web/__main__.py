"""The process of the web server: `python -m taskclf_dagster.web`, with the options of `dagster-webserver`."""

import os
import sys

from taskclf_dagster.entry_paths import make_environment_absolute
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.shown_text import show_block
from taskclf_dagster.web.dagster_webserver import run_webserver


def main() -> None:
    """Runs the web server; an error of ours ends it with one message."""
    try:
        make_environment_absolute(os.environ)
        run_webserver()
    except TaskclfDagsterError as error:
        sys.exit(show_block(f"Error: {error}"))


if __name__ == "__main__":
    main()
