"""Reads where a home keeps windows and snapshots: from its own settings file, whatever else is configured.

The place belongs to the data of the home, and not to a run: everything that opens the home must find the same data.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

from pydantic import ValidationError

from taskclf_dagster.config.home_layer import read_home_layer
from taskclf_dagster.config.home_location_settings import HomeLocationSettings, explain_local_only
from taskclf_dagster.errors import InvalidSetting, SettingsError
from taskclf_dagster.home import Home

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

IN_THE_HOME = HomeLocationSettings(features_url=None, snapshots_url=None)


KEPT_HOMES = 1024
"""Homes whose places are kept in memory as long as their settings file does not change."""


def read_locations(home: Home) -> HomeLocationSettings:
    """Returns the places of windows and snapshots of a home.

    Raises:
        SettingsError: the settings file of the home cannot be read, or names a place that cannot be used.
    """
    try:
        found = home.settings_file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return IN_THE_HOME
    except OSError:
        return _read(home, (0, 0, 0))
    return _read(home, (found.st_mtime_ns, found.st_size, found.st_ino))


@lru_cache(maxsize=KEPT_HOMES)
def _read(home: Home, stamp: tuple[int, int, int]) -> HomeLocationSettings:  # the stamp is part of the key
    layer = read_home_layer(home)
    given = layer.document.get("home")
    if given is None:
        return IN_THE_HOME
    try:
        return HomeLocationSettings.model_validate({**IN_THE_HOME.model_dump(), **given} if isinstance(given, dict) else given)
    except ValidationError as error:
        raise SettingsError(layer.path, [_describe(details) for details in error.errors()]) from None  # its text repeats values


def _describe(details: "ErrorDetails") -> InvalidSetting:
    key = ".".join(("home", *map(str, details["loc"])))
    return InvalidSetting(key, details["type"], explain_local_only(key) or details["msg"].removeprefix("Value error, "))
