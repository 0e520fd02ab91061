"""YAML files for tests of the configuration, and the errors of loading them."""

import traceback
from pathlib import Path

import pytest
import yaml

from taskclf_dagster.config.loading import load_retrain_config
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.config.yaml_files import flatten, nest
from taskclf_dagster.errors import SettingsError


def write(folder: Path, key: str, value: object) -> Path:
    """Writes a file that sets one key; inner keys with a dot."""
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(nest(key, value)), encoding="utf-8")
    return path


def get(config: RetrainConfig, key: str) -> object:
    """Returns the value of a flat key of the file; keys of inner mappings with dots."""
    return dict(flatten(config.document))[key]


def load_error(path: Path) -> SettingsError:
    """Returns the error that loading a file raises."""
    with pytest.raises(SettingsError) as caught:
        load_retrain_config(path)
    return caught.value


def kinds(error: SettingsError) -> list[tuple[str, str]]:
    """Returns key and kind of everything that is wrong."""
    return [(invalid.key, invalid.kind) for invalid in error.invalid]


def everything_printed(error: BaseException) -> str:
    """Returns message, causes and context, as a log shows them."""
    return "".join(traceback.format_exception(error))
