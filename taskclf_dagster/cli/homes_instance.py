"""The homes file of a command, and the Dagster instance that serves its homes.

With DAGSTER_HOME that is the instance; without it, `.dagster` in the folder of the homes file.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
import dagster as dg

from taskclf_dagster.cli.common import GIVEN_PATH
from taskclf_dagster.cli.instance_errors import check_folder, explain_errors
from taskclf_dagster.cli.instance_files import write_homes_instance_settings
from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.config.homes_file import find_homes_file
from taskclf_dagster.domain.storage.instance_homes import claim_for_homes
from taskclf_dagster.entry_paths import HOMES_VARIABLE, INSTANCE_VARIABLE, make_absolute

INSTANCE = ".dagster"


homes_option = click.option(
    "--homes", type=GIVEN_PATH, help=f"The file that lists the homes of a team. Default: {HOMES_VARIABLE}. docs/many-homes.md explains it."
)


def find_directory(homes: Path | None) -> HomeDirectory | None:
    """Returns the homes of the given homes file, else of that of the environment; None if there is neither.

    Raises:
        PathError: the path of the environment cannot be made absolute.
    """
    path = find_homes_file(None if homes is None else str(homes))
    return None if path is None else HomeDirectory(path)


def choose_homes_instance(directory: HomeDirectory, environ: Mapping[str, str] = os.environ) -> Path:
    """Returns the folder of the instance that serves the homes.

    Raises:
        PathError: DAGSTER_HOME cannot be made absolute.
    """
    if environ.get(INSTANCE_VARIABLE):
        return make_absolute(environ[INSTANCE_VARIABLE], INSTANCE_VARIABLE)
    return directory.path.parent / INSTANCE


@contextmanager
def open_homes_instance(directory: HomeDirectory, *, records: bool = False) -> Iterator[dg.DagsterInstance]:
    """Opens the instance that serves the homes within the block.

    Args:
        directory: the homes.
        records: True for what records runs: it makes the instance, which serves these homes from then on. A reader finds an empty instance
            in memory where there is none yet.

    Raises:
        InstanceError: the instance cannot be used, or belongs to one home or to other homes.
        PathError: DAGSTER_HOME cannot be made absolute.
        UnreadableFileError: the record of the instance's homes is damaged.
    """
    folder = choose_homes_instance(directory)
    if not records and not folder.is_dir():
        with dg.DagsterInstance.ephemeral() as instance:
            yield instance
        return
    if records:
        write_homes_instance_settings(folder)
    check_folder(folder)
    if records:
        claim_for_homes(folder, directory)
    with explain_errors(folder) as is_open, dg.DagsterInstance.from_config(str(folder)) as instance:
        is_open.set()
        yield instance
