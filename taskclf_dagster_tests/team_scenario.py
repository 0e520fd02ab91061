"""A small team for the tests: homes by name, their homes file, and an instance with the settings that are shipped for many homes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from taskclf_dagster.cli.instance_files import write_homes_instance_settings
from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.domain.storage.instance_homes import claim_for_homes
from taskclf_dagster.home import Home

NAMES = ("anna", "ben", "cleo")


def make_team(folder: Path, names: tuple[str, ...] = NAMES, *, limits: str = "") -> HomeDirectory:
    """Homes without data, each in a folder with its name."""
    for name in names:
        Home(folder / "team" / name).processed.mkdir(parents=True)
    return write_homes_file(folder, limits=limits)


def write_homes_file(folder: Path, homes: Mapping[str, Home] | None = None, *, limits: str = "") -> HomeDirectory:
    """The homes file: of the folder `team`, or of these homes."""
    text = (
        f"folder: {folder / 'team'}\n"
        if homes is None
        else "homes:\n" + "".join(f"  {name}: {home.root}\n" for name, home in homes.items())
    )
    path = folder / "homes.yaml"
    path.write_text(text + limits, encoding="utf-8")
    return HomeDirectory(path)


@contextmanager
def instance_of(directory: HomeDirectory, folder: Path) -> Iterator[dg.DagsterInstance]:
    """An instance on disk that serves these homes."""
    folder.mkdir(parents=True, exist_ok=True)
    write_homes_instance_settings(folder)
    claim_for_homes(folder, directory)
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        yield instance
