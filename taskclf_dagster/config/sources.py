"""The sources of the configuration for pydantic-settings, which also report the keys that they set."""

from abc import abstractmethod
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from taskclf_dagster.config.yaml_files import flatten, read_mapping


class ConfigSource(PydanticBaseSettingsSource):
    """One source of values: flat keys of the file, with inner mappings nested."""

    @abstractmethod
    def describe(self, key: str) -> str | None:
        """Returns the name of the source if it sets a key (inner keys with dots), or else None."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # the base class asks for it
        """Returns the value of one field, its key, and False: nothing is left to parse."""
        return self().get(field_name), field_name, False


class DocumentSource(ConfigSource):
    """A document that was read from a YAML file."""

    def __init__(self, settings_cls: type[BaseSettings], document: dict[str, object], *, name: str) -> None:
        super().__init__(settings_cls)
        self.name = name
        self.document = document
        self.keys = frozenset(key for key, _ in flatten(document))

    def __call__(self) -> dict[str, object]:
        """Returns the contents of the file."""
        return self.document

    def describe(self, key: str) -> str | None:
        """Returns the name of the file if it has the key."""
        return self.name if key in self.keys else None


class YamlFileSource(DocumentSource):
    """A YAML file that is read strictly, without a key that has no say there; `left_out` is its value.

    Raises:
        SettingsError: the file is missing or cannot be used.
    """

    def __init__(self, settings_cls: type[BaseSettings], path: Path, *, name: str | None = None, without: str | None = None) -> None:
        document = read_mapping(path)
        self.left_out = document.pop(without, None) if without is not None else None
        super().__init__(settings_cls, document, name=name or str(path))
