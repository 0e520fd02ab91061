"""Loads the configuration: the default file, overridden by a file of your own, overridden by the environment.

pydantic-settings merges them in this order; the sources are in `sources` and `environment`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from taskclf_dagster.config.environment import EnvironmentSource
from taskclf_dagster.config.setting_errors import describe_errors
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.config.shipped import DEFAULT_CONFIG_PATH
from taskclf_dagster.config.signing_settings import SigningSettings
from taskclf_dagster.config.sources import ConfigSource, YamlFileSource
from taskclf_dagster.config.yaml_files import flatten
from taskclf_dagster.entry_paths import CONFIG_VARIABLE, make_absolute
from taskclf_dagster.errors import SettingsError

_Loaded = TypeVar("_Loaded", bound=BaseSettings)


class _LoadedConfig(RetrainConfig, BaseSettings):
    """A RetrainConfig whose values come from `ConfigSource`s."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", strict=True)


class _LoadedSigning(BaseSettings):
    """The signing settings alone; the other keys of the sources are not looked at."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", strict=True)

    signing: SigningSettings


def load_retrain_config(path: Path | None = None, environ: Mapping[str, str] | None = None) -> RetrainConfig:
    """Reads a retrain configuration.

    Args:
        path: a YAML file whose keys override those of `configs/retrain.yaml`; None for that file alone.
        environ: the environment with the variables of ENVIRONMENT, which override both files; None for no environment.

    Raises:
        SettingsError: the file is missing, is not a YAML mapping, or a key is unknown, of a wrong type or out of bounds.
    """
    return RetrainConfig.model_construct(**dict(_load(_LoadedConfig, path, environ or {})))


def _load(model: type[_Loaded], path: Path | None, environ: Mapping[str, str]) -> _Loaded:
    try:
        return model(_build_sources=(_open_sources(path, environ), {}))
    except ValidationError as error:
        invalid = describe_errors(error, environ)
        raise SettingsError(path or DEFAULT_CONFIG_PATH, invalid) from None  # its text repeats every value, also secrets


def resolve_config(chosen: str | None, environ: Mapping[str, str] = os.environ) -> RetrainConfig:
    """Reads the chosen configuration file, or else the one of TASKCLF_DAGSTER_CONFIG, or else the default; the environment overrides it.

    Raises:
        SettingsError: as `load_retrain_config`.
    """
    return load_retrain_config(find_config_file(chosen, environ), environ)


def resolve_signing(chosen: str | None, environ: Mapping[str, str] = os.environ) -> SigningSettings:
    """Reads only the signing settings of the chosen configuration, so that an invalid value elsewhere cannot stop a rollback or a repair.

    Raises:
        SettingsError: a file is missing or is not a YAML mapping, or a signing key is invalid.
    """
    return _load(_LoadedSigning, find_config_file(chosen, environ), environ).signing


def find_config_file(chosen: str | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Returns the file that overrides the default: the chosen one, or else that of TASKCLF_DAGSTER_CONFIG; None if there is neither.

    Relative paths start at the working directory, whichever way they are given.

    Raises:
        PathError: the path cannot be made absolute.
    """
    if chosen:
        return make_absolute(chosen, "--config")
    return make_absolute(environ[CONFIG_VARIABLE], CONFIG_VARIABLE) if environ.get(CONFIG_VARIABLE) else None


def list_sources(chosen: str | None, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Returns the source of each key (inner keys with dots): the name of a file, or `environment NAME`.

    Raises:
        SettingsError: a file is missing or cannot be used.
    """
    sources = _open_sources(find_config_file(chosen, environ), environ)
    keys = [key for key, _ in flatten(sources[-1]())]
    return {key: next(name for source in sources if (name := source.describe(key)) is not None) for key in keys}


def _open_sources(path: Path | None, environ: Mapping[str, str]) -> tuple[ConfigSource, ...]:
    """Returns the sources, highest precedence first; the default file is the last."""
    sources: list[ConfigSource] = [EnvironmentSource(_LoadedConfig, environ)]
    if path is not None and os.path.realpath(path) != str(DEFAULT_CONFIG_PATH):
        sources.append(YamlFileSource(_LoadedConfig, path))
    return (*sources, YamlFileSource(_LoadedConfig, DEFAULT_CONFIG_PATH, name=DEFAULT_CONFIG_PATH.name))
