"""Opens the Dagster instance of a home, which `instance_choice` chooses. Errors are explained in `instance_errors`."""

import logging
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from taskclf_dagster.cli.instance_choice import InstanceChoice, choose_instance
from taskclf_dagster.cli.instance_errors import check_folder, explain_errors
from taskclf_dagster.cli.instance_files import SETTINGS, write_instance_settings
from taskclf_dagster.cli.output import say
from taskclf_dagster.defs.dagster_internals import open_instance_of_settings
from taskclf_dagster.domain.storage.instance_owner import check_owner, claim_instance
from taskclf_dagster.entry_paths import INSTANCE_VARIABLE
from taskclf_dagster.errors import InstanceError
from taskclf_dagster.home import Home


@contextmanager
def open_instance(home: Home, *, records: bool = False, environ: Mapping[str, str] = os.environ) -> Iterator[dg.DagsterInstance]:
    """Opens the instance of a home within the block.

    Args:
        home: the taskclf home.
        records: True for what records runs: it makes the instance, which then belongs to the home. A reader finds an empty instance in
            memory where there is none yet, and, with a warning, where it belongs to another home: the home is shown all the same.
        environ: the environment.

    Raises:
        InstanceError: the instance cannot be used, or is to record runs and belongs to another home.
        PathError: DAGSTER_HOME cannot be made absolute.
        UnreadableFileError: the record of the instance's home is damaged.
    """
    choice = choose_instance(home, environ)
    if not records and choice.source != "environment" and not choice.folder.is_dir():
        with dg.DagsterInstance.ephemeral() as instance:
            yield instance
        return
    if choice.source == "home":
        write_instance_settings(choice.folder)
    elif choice.source == "checkout":
        choice.folder.mkdir(exist_ok=True)
    check_folder(choice.folder)
    if records:
        claim_instance(choice.folder, home)
    elif not _may_read(choice.folder, home):
        with dg.DagsterInstance.ephemeral() as instance:
            yield instance
        return
    if choice.source == "environment" and not (choice.folder / SETTINGS).exists():
        say(f"warning: {_describe_missing_settings(choice.folder, home)}", err=True)
    with explain_errors(choice.folder) as is_open, _open(choice) as instance:
        is_open.set()
        yield instance
    if records:
        claim_instance(choice.folder, home)  # the home may have got its id by now


def _may_read(folder: Path, home: Home) -> bool:
    """Returns True unless an instance belongs to another home, of which this warns."""
    try:
        check_owner(folder, home)
    except InstanceError as error:
        if error.kind != "other_home":
            raise
        say(f"warning: no run is shown. {error}", err=True)
        return False
    return True


def _describe_missing_settings(folder: Path, home: Home) -> str:
    return (
        f"the Dagster instance {folder}, which {INSTANCE_VARIABLE} names, has no {SETTINGS}, so Dagster's defaults hold:"
        f" run `taskclf-dagster init --home {shlex.quote(str(home.root))}` and copy its {SETTINGS} there, or unset {INSTANCE_VARIABLE}"
    )


@contextmanager
def _without_warning_of_dagster() -> Iterator[None]:
    """Keeps back Dagster's own words about a missing dagster.yaml, which `open_instance` says with a way out."""
    logger = logging.getLogger("dagster")

    def keep(record: logging.LogRecord) -> bool:
        return "No dagster instance configuration file" not in record.getMessage()

    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def _open(choice: InstanceChoice) -> dg.DagsterInstance:
    if choice.source != "checkout":
        with _without_warning_of_dagster():
            return dg.DagsterInstance.from_config(str(choice.folder))
    checkout = choice.folder.parent
    settings = yaml.safe_load((checkout / SETTINGS).read_text(encoding="utf-8"))
    return open_instance_of_settings(checkout, _with_absolute_folders(settings, checkout))


def _with_absolute_folders(settings: Any, start: Path) -> Any:
    """Returns the settings of an instance with every relative `base_dir` made absolute; Dagster takes it from the working directory."""
    if not isinstance(settings, dict):
        return settings
    return {
        key: str(start / value) if key == "base_dir" and isinstance(value, str) else _with_absolute_folders(value, start)
        for key, value in settings.items()
    }
