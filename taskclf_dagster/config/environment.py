"""The environment variables that override keys of the configuration, converted to the values that YAML would give.

`loading` chooses the files. URLs and secrets of event sinks are read in `defs/events/event_sinks`.
"""

import re
from collections.abc import Mapping

from pydantic_settings import BaseSettings

from taskclf_dagster.config.sources import ConfigSource
from taskclf_dagster.config.yaml_files import merge_mappings, nest

ENVIRONMENT = {
    "RETRAIN_SCHEDULE": "schedule.cron",
    "RETRAIN_ENABLED": "enabled",
    "RETRAIN_TIMEOUT_MINUTES": "timeout_minutes",
    "RETRAIN_MIN_LABELS": "min_new_labels",
    "RETRAIN_AUTO_PROMOTE": "auto_promote",
}
"""The key that each variable overrides; an empty variable overrides nothing."""


_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


_FLAG_KEYS = frozenset({"enabled", "auto_promote"})


_TEXT_KEYS = frozenset({"schedule.cron"})


class EnvironmentSource(ConfigSource):
    """The variables of ENVIRONMENT that are set."""

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self.overrides = find_overrides(environ)

    def __call__(self) -> dict[str, object]:
        """Returns the overridden keys, nested as in a file."""
        document: dict[str, object] = {}
        for key, (_, value) in self.overrides.items():
            document = merge_mappings(document, nest(key, value))
        return document

    def describe(self, key: str) -> str | None:
        """Returns `environment NAME` for a key that a variable overrides; None for another."""
        return f"environment {self.overrides[key][0]}" if key in self.overrides else None


def find_overrides(environ: Mapping[str, str]) -> dict[str, tuple[str, object]]:
    """Returns the variable and the value of each key that the environment overrides."""
    given = {name: environ.get(name, "").strip() for name in ENVIRONMENT}
    return {ENVIRONMENT[name]: (name, _read_value(ENVIRONMENT[name], text)) for name, text in given.items() if text}


def _read_value(key: str, text: str) -> object:
    """Returns a flag or a decimal number where the key needs one; other text as it is, which validation refuses."""
    if key in _FLAG_KEYS:
        return _FLAGS.get(text.lower(), text)
    return int(text) if key not in _TEXT_KEYS and re.fullmatch(r"[+-]?[0-9]{1,18}", text) else text
