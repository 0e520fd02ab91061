"""Loads the configuration: default file, settings file of the home, a file of your own, environment; each overrides those before it.

pydantic-settings merges them in this order; the sources are in `sources`, `home_layer` and `environment`.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from taskclf_dagster.config.environment import EnvironmentSource
from taskclf_dagster.config.home_layer import HomeLayer, read_home_layer, require_unsigned
from taskclf_dagster.config.setting_errors import describe_errors, find_origin
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.config.shipped import DEFAULT_CONFIG_PATH
from taskclf_dagster.config.signing_settings import SigningSettings
from taskclf_dagster.config.sources import ConfigSource, DocumentSource, YamlFileSource
from taskclf_dagster.config.yaml_files import flatten
from taskclf_dagster.entry_paths import CONFIG_VARIABLE, make_absolute
from taskclf_dagster.errors import InvalidSetting, SettingsError
from taskclf_dagster.home import Home

ONLY_IN_HOME = (
    "says where windows and snapshots of one home are, and is set in the settings file of that home only, taskclf_dagster.yaml in its "
    "folder: every run, page and tick on the home must find the same data"
)


_Loaded = TypeVar("_Loaded", bound=BaseSettings)


class _LoadedConfig(RetrainConfig, BaseSettings):
    """A RetrainConfig whose values come from `ConfigSource`s."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", strict=True)


class _LoadedSigning(BaseSettings):
    """The signing settings alone; the other keys of the sources are not looked at."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", strict=True)

    signing: SigningSettings


def load_retrain_config(
    path: Path | None = None, environ: Mapping[str, str] | None = None, *, layer: HomeLayer | None = None
) -> RetrainConfig:
    """Reads a retrain configuration.

    Args:
        path: a YAML file whose keys override those of `configs/retrain.yaml` and of the home; None for no such file.
        environ: the environment with the variables of ENVIRONMENT, which override all files; None for no environment.
        layer: the settings file of the home; None for no home.

    Raises:
        SettingsError: a file is missing, is not a YAML mapping, or a key is unknown, of a wrong type or out of bounds; or the home sets
            what it may not.
    """
    config = RetrainConfig.model_construct(**dict(_load(_LoadedConfig, path, layer, environ or {})))
    if layer is not None:
        require_unsigned(layer, config)
    return config


def _load(model: type[_Loaded], path: Path | None, layer: HomeLayer | None, environ: Mapping[str, str]) -> _Loaded:
    sources = _open_sources(path, layer, environ)
    if model is _LoadedConfig:
        _require_locations_in_home(sources)
    try:
        return model(_build_sources=(sources, {}))
    except ValidationError as error:
        blamed = find_origin(error, sources[1:]) or path or (DEFAULT_CONFIG_PATH if layer is None else layer.path)
        invalid = describe_errors(error, sources, blamed=blamed)
        raise SettingsError(Path(blamed), invalid) from None  # its text repeats every value, also secrets


def resolve_config(chosen: str | None, home: Home | HomeLayer | None, environ: Mapping[str, str] = os.environ) -> RetrainConfig:
    """Reads the configuration in effect: the default file, the home's, the chosen one, and the environment; each overrides those before it.

    Args:
        chosen: a YAML file; None for the one that TASKCLF_DAGSTER_CONFIG names, if it does.
        home: the home whose settings file counts, or that file as it was read; None for none.
        environ: the environment.

    Raises:
        SettingsError: as `load_retrain_config`.
    """
    return load_retrain_config(find_config_file(chosen, environ), environ, layer=_read_layer(home))


def check_home_layer(layer: HomeLayer, chosen: str | None, environ: Mapping[str, str] = os.environ) -> RetrainConfig:
    """Returns the configuration with this settings file of the home, after checking it also without what overrides it.

    Raises:
        SettingsError: it is not valid in one of the two ways.
    """
    load_retrain_config(layer=layer)
    return load_retrain_config(find_config_file(chosen, environ), environ, layer=layer)


def resolve_signing(chosen: str | None, environ: Mapping[str, str] = os.environ) -> SigningSettings:
    """Reads only the signing settings of the chosen configuration, so that an invalid value elsewhere cannot stop a rollback or a repair.

    The settings file of a home has no part in them, and is not read.

    Raises:
        SettingsError: a file is missing or is not a YAML mapping, or a signing key is invalid.
    """
    return _load(_LoadedSigning, find_config_file(chosen, environ), None, environ).signing


def find_config_file(chosen: str | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Returns the file that overrides default and home: the chosen one, or else that of TASKCLF_DAGSTER_CONFIG; None if there is neither.

    Relative paths start at the working directory, whichever way they are given.

    Raises:
        PathError: the path cannot be made absolute.
    """
    if chosen:
        return make_absolute(chosen, "--config")
    return make_absolute(environ[CONFIG_VARIABLE], CONFIG_VARIABLE) if environ.get(CONFIG_VARIABLE) else None


def list_sources(chosen: str | None, home: Home | HomeLayer | None, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Returns the source of each key (inner keys with dots): the name of a file, or `environment NAME`.

    Raises:
        SettingsError: a file is missing or cannot be used.
    """
    sources = _open_sources(find_config_file(chosen, environ), _read_layer(home), environ)
    keys = [key for key, _ in flatten(sources[-1]())]
    return {key: next(name for source in sources if (name := source.describe(key)) is not None) for key in keys}


def list_overrides(chosen: str | None, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Returns the source of each key that overrides the home: a file of your own, or `environment NAME`.

    Raises:
        SettingsError: the file is missing or cannot be used.
    """
    sources = _open_sources(find_config_file(chosen, environ), None, environ)
    found = {key: [name for source in sources[:-1] if (name := source.describe(key)) is not None] for key, _ in flatten(sources[-1]())}
    return {key: names[0] for key, names in found.items() if names}


def _read_layer(home: Home | HomeLayer | None) -> HomeLayer | None:
    return read_home_layer(home) if isinstance(home, Home) else home


def _open_sources(path: Path | None, layer: HomeLayer | None, environ: Mapping[str, str]) -> tuple[ConfigSource, ...]:
    """Returns the sources, highest precedence first; the environment is the first, the default file the last."""
    sources: list[ConfigSource] = [EnvironmentSource(_LoadedConfig, environ)]
    if path is not None and os.path.realpath(path) != str(DEFAULT_CONFIG_PATH):
        sources.append(YamlFileSource(_LoadedConfig, path, without="home"))
    if layer is not None:
        sources.append(DocumentSource(_LoadedConfig, layer.document, name=str(layer.path)))
    return (*sources, YamlFileSource(_LoadedConfig, DEFAULT_CONFIG_PATH, name=DEFAULT_CONFIG_PATH.name))


def _require_locations_in_home(sources: Sequence[ConfigSource]) -> None:
    """Checks that only the settings file of the home says where its windows and snapshots are.

    Raises:
        SettingsError: another file does; the message repeats no value.
    """
    default = sources[-1]
    outside = {source.name: source.left_out for source in sources if isinstance(source, YamlFileSource) and source is not default}
    for name, given in {**outside, str(DEFAULT_CONFIG_PATH): default().get("home")}.items():
        if given is not None and any(value is not None for _, value in flatten({"home": given})):
            raise SettingsError(Path(name), [InvalidSetting("home", "home_only", ONLY_IN_HOME)])
