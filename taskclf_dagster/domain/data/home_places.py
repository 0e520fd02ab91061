"""The folders of windows and snapshots of a home: in the home itself, in another folder, or in an object store.

Every other module asks here, so that nothing depends on where they are. What the settings mean is in `config.home_locations`.
"""

from pathlib import Path

from upath import UPath

from taskclf_dagster.config.home_locations import read_locations
from taskclf_dagster.domain.storage.object_store import open_location
from taskclf_dagster.home import Home


def windows_folder(home: Home) -> Path | UPath:
    """Returns the folder of the features_v* folders.

    Raises:
        SettingsError: see `read_locations`.
    """
    url = read_locations(home).features_url
    return home.processed if url is None else open_location(url)


def features_folder(home: Home, version: str) -> Path | UPath:
    """Returns the folder of the daily partitions of one schema version; raises as `windows_folder`."""
    return windows_folder(home) / home.features(version).name


def snapshots_folder(home: Home) -> Path | UPath:
    """Returns the folder into which new snapshots go; raises as `windows_folder`."""
    url = read_locations(home).snapshots_url
    return home.snapshots if url is None else open_location(url)


def show_place(home: Home, path: Path | UPath) -> str:
    """Returns a path as it is shown to people: relative to the home, or whole if it is elsewhere."""
    return str(path.relative_to(home.root)) if isinstance(path, Path) and path.is_relative_to(home.root) else str(path)
