"""The home of a Dagster instance, for runs and ticks: each checks first that the instance belongs to the home that it works on.

The record is in `domain.storage.instance_owner`; the command line chooses the instance of a home in `cli.instance`.
"""

from pathlib import Path

import dagster as dg

from taskclf_dagster.defs.runs.run_tags import home_tag
from taskclf_dagster.domain.storage.instance_homes import find_directory, find_partition
from taskclf_dagster.domain.storage.instance_owner import claim_instance, find_former_paths
from taskclf_dagster.home import Home


def find_instance_folder(instance: dg.DagsterInstance) -> Path | None:
    """Returns the folder of an instance; None if it is in memory only."""
    return Path(instance.root_directory).absolute() if instance.is_persistent else None


def require_own_instance(instance: dg.DagsterInstance, home: Home) -> None:
    """Checks that a folder is a home, and that the instance belongs to it; an instance without a home belongs to it from now on.

    An instance that serves many homes must have this one in its homes file, under a name that was never that of another.

    Raises:
        HomeNotFoundError: the folder is no home.
        HomesFileError: the instance serves many homes, and its homes file is not valid.
        InstanceError: the instance belongs to another home.
        UnreadableFileError: the record of the instance's home is damaged.
    """
    home.require()
    folder = find_instance_folder(instance)
    if folder is not None:
        claim_instance(folder, home)


def find_home_tags(instance: dg.DagsterInstance, home: Home) -> frozenset[str]:
    """Returns the values of HOME_TAG that stand for a home in this instance: more than one if the home was moved."""
    folder = find_instance_folder(instance)
    return frozenset({home_tag(home)}) | (frozenset() if folder is None else find_former_paths(folder, home))


def find_home_partition(instance: dg.DagsterInstance, home: Home) -> str | None:
    """Returns the partition key of a home; None in an instance that belongs to one home.

    Raises:
        HomesFileError: the homes file of the instance is not valid.
        InstanceError: the instance serves many homes, and this is none of them.
        UnreadableFileError: the record of the homes file is damaged.
    """
    folder = find_instance_folder(instance)
    return None if folder is None else find_partition(folder, home)


def serves_many_homes(instance: dg.DagsterInstance) -> bool:
    """Returns True if an instance serves the homes of a homes file.

    Raises:
        UnreadableFileError: the record of the homes file is damaged.
    """
    folder = find_instance_folder(instance)
    return folder is not None and find_directory(folder) is not None
