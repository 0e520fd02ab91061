"""Reads and changes the settings file of a home, `taskclf_dagster.yaml`, for the command line and the API.

A change is checked with everything that it meets before anything is written; then it is recorded, then the file is replaced. What the file
means, and what it may not set, is in `config.home_layer`; the record of the changes is in `settings_changes`.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from taskclf_dagster.config.home_layer import INSTEAD, PROTECTED, HomeLayer, parse_home_layer, read_home_layer
from taskclf_dagster.config.loading import check_home_layer, list_overrides, list_sources, resolve_config
from taskclf_dagster.config.settings import OPERATIONAL, ComparisonSettings, EvaluationSettings, GateThresholds
from taskclf_dagster.config.shipped import DEFAULT_CONFIG_PATH, read_shipped_config
from taskclf_dagster.config.yaml_edits import edit_yaml
from taskclf_dagster.config.yaml_files import flatten
from taskclf_dagster.domain.scheduling.settings_changes import Via, append_changes, find_unrecorded, read_changes
from taskclf_dagster.domain.storage.files import write_atomic
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.errors import InvalidSetting, SettingsError, StaleSettingsError
from taskclf_dagster.home import Home

EDITABLE = (
    *("enabled", "schedule.cron", "schedule.timezone", "timeout_minutes", "min_new_labels", "auto_promote"),
    *(f"gates.{name}" for name in GateThresholds.model_fields),
    *(name for name in EvaluationSettings.model_fields if name not in ("gates", "advice")),
    *ComparisonSettings.model_fields,
)
"""The keys that command line and API change; inner keys with dots."""


Effect = Literal["next_tick", "next_run", "next_load"]
"""The time from which a changed value counts."""


EFFECTS: Mapping[Effect, str] = {
    "next_tick": "at the next tick of schedules and sensors, within a minute",
    "next_run": "from the next run on; an approval goes by it at once",
    "next_load": "once Dagster has loaded its definitions again: Reload under Deployment in the browser, or a restart",
}


_EFFECT_OF: Mapping[str, Effect] = {
    "enabled": "next_tick",
    "min_new_labels": "next_tick",
    "schedule.cron": "next_load",
    "schedule.timezone": "next_load",
}


@dataclass(frozen=True)
class HomeSetting:
    """One editable key.

    Attributes:
        value: the value in effect.
        source: where that is set: the name of a file, or `environment NAME`.
        default: the shipped value.
        in_home: True if the settings file of the home sets the key.
        home_value: what the file sets; None if it does not.
        overridden_by: what sets the key above the home, so that a change there has no effect: a file, or `environment NAME`; None if
            nothing does.
        locked: why the key cannot be changed in this home; None if it can.
        effect: when a changed value counts.
    """

    key: str
    value: object
    source: str
    default: object
    in_home: bool
    home_value: object
    overridden_by: str | None
    locked: str | None
    effect: Effect

    @property
    def takes_effect(self) -> str:
        """A sentence part that says from which time on a changed value counts, or that something overrides it."""
        return EFFECTS[self.effect] if self.overridden_by is None else f"not as long as {self.overridden_by} sets it"


@dataclass(frozen=True)
class HomeSettings:
    """The editable keys of a home.

    Attributes:
        path: the settings file of the home, which may not exist.
        etag: hash of its bytes.
        settings: each key of EDITABLE.
    """

    path: Path
    etag: str
    settings: Mapping[str, HomeSetting]


def read_home_settings(home: Home, config_path: str | None = None) -> HomeSettings:
    """Reads the editable keys of a home.

    Args:
        home: the taskclf home.
        config_path: the file of --config; None for that of TASKCLF_DAGSTER_CONFIG, if it names one.

    Raises:
        SettingsError: the configuration is not valid.
    """
    layer = read_home_layer(home)  # once, so that values and etag belong together
    config = resolve_config(config_path, layer)
    values, shipped, own = dict(flatten(config.document)), dict(flatten(read_shipped_config())), layer.values
    sources, overrides = list_sources(config_path, layer), list_overrides(config_path)
    is_signed = bool(config.signing.public_key)
    return HomeSettings(
        path=layer.path,
        etag=layer.etag,
        settings={
            key: HomeSetting(
                key=key,
                value=values[key],
                source=sources[key],
                default=shipped[key],
                in_home=key in own,
                home_value=own.get(key),
                overridden_by=overrides.get(key),
                locked=_find_lock(key) if is_signed else None,
                effect=_EFFECT_OF.get(key, "next_run"),
            )
            for key in EDITABLE
        },
    )


def change_home_settings(
    home: Home,
    changes: Mapping[str, object],
    *,
    etag: str | None,
    who: str | None,
    via: Via,
    at: datetime,
    config_path: str | None = None,
) -> HomeSettings:
    """Changes the settings file of a home: everything or nothing, once it is valid together with what overrides it.

    Args:
        home: the taskclf home.
        changes: values of editable keys, with dots or nested; None removes a key from the file, so that the shipped value holds.
        etag: that of the file as the caller has seen it; None changes whatever is there.
        who: the person, as far as known.
        via: the way.
        at: the time.
        config_path: as in `read_home_settings`.

    Returns:
        The settings after the change.

    Raises:
        HomeNotFoundError: the folder is no home.
        SettingsError: a key is not editable, or the configuration would not be valid; `invalid` names the keys. Nothing is written.
        StaleSettingsError: the file is not the one that the caller has seen.
        RegistryBusyError: another writer does not end.
    """
    home.require()
    wanted = dict(flatten(changes))
    _require_editable(home.settings_file, wanted)
    with _write_lock(home):
        layer = read_home_layer(home)
        if etag is not None and etag != layer.etag:
            raise StaleSettingsError(layer.path, layer.etag)
        new = _edit(home, layer, wanted)
        check_home_layer(new, config_path)
        recorded = read_changes(home)
        by_hand = find_unrecorded(recorded, layer.values)
        append_changes(home, by_hand, who=None, via="file", at=at)
        before, after = layer.values, new.values
        changed = {key: (before.get(key), after.get(key)) for key in wanted if before.get(key) != after.get(key)}
        append_changes(home, changed, who=who, via=via, at=at)
        if new.content != layer.content:
            write_atomic(layer.path, new.content)
    return read_home_settings(home, config_path)


def _edit(home: Home, layer: HomeLayer, wanted: Mapping[str, object]) -> HomeLayer:
    """Returns the file with the wanted values; a key that already has its value stays as it is written."""
    own = layer.values
    values = {key: value for key, value in wanted.items() if value is not None and (key not in own or not _same(own[key], value))}
    unset = [key for key, value in wanted.items() if value is None and key in own]
    if not values and not unset:
        return layer
    text = layer.content.decode("utf-8") or f"# Settings of this home; each key is explained in {DEFAULT_CONFIG_PATH.name}.\n"
    return parse_home_layer(home, edit_yaml(text, values, unset).encode())


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def _require_editable(path: Path, wanted: Mapping[str, object]) -> None:
    refused = [key for key in wanted if key not in EDITABLE]
    if refused:
        places = {key: INSTEAD if key.partition(".")[0] in PROTECTED else "the file itself" for key in refused}
        messages = {key: f"is not one of the keys that can be changed this way; write it into {place}" for key, place in places.items()}
        raise SettingsError(path, [InvalidSetting(key, "not_editable", message) for key, message in messages.items()])


def _find_lock(key: str) -> str | None:
    if key.partition(".")[0] in OPERATIONAL:
        return None
    return f"promotions of this home are signed, so what shapes them is set in {INSTEAD} only"


@contextmanager
def _write_lock(home: Home) -> Iterator[None]:
    """Holds the lock of the one writer of the file.

    Raises:
        SettingsError: the file is a link, which a change would replace.
    """
    path = home.settings_file
    if path.is_symlink():
        message = f"it is a link, and is not replaced; change {os.path.realpath(path)} instead"
        raise SettingsError(path, [InvalidSetting("", "link", message)])
    with file_system().lock(home.settings_lock):
        yield
