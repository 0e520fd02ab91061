"""A YAML file over a configuration that is there already, such as a policy of a replay over the present one."""

from pathlib import Path

from pydantic import ValidationError

from taskclf_dagster.config.setting_errors import describe_errors
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.config.yaml_files import read_mapping
from taskclf_dagster.errors import SettingsError


def read_overlay(path: Path, config: RetrainConfig) -> RetrainConfig:
    """Returns a configuration whose values are overridden by those of a file.

    Raises:
        SettingsError: the file is missing, is not a YAML mapping, or a key is unknown, of a wrong type or out of bounds.
    """
    document = read_mapping(path)
    try:
        return config.with_changes(**document)
    except ValidationError as error:
        raise SettingsError(path, describe_errors(error, (), blamed=path)) from None  # its text repeats every value
