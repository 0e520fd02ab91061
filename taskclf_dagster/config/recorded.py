"""Settings in a record: only the keys that shape a model or a decision, completed when they are read back."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.config.shipped import read_shipped_config
from taskclf_dagster.config.yaml_files import keep_known_keys


def complete_config(recorded: Mapping[str, object]) -> RetrainConfig:
    """Returns a configuration that this or an earlier version recorded; unknown keys are left out, missing ones get the shipped value.

    Raises:
        pydantic.ValidationError: a value is out of bounds.
    """
    return RetrainConfig.model_validate(keep_known_keys(recorded, read_shipped_config()))


RecordedConfig = Annotated[
    RetrainConfig,
    BeforeValidator(lambda value: complete_config(value) if isinstance(value, dict) else value),
    PlainSerializer(lambda config: config.policy),
]
"""A RetrainConfig that is written as its policy, and completed when it is read back."""
