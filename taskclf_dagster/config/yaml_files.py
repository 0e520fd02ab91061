"""YAML files as nested mappings: strict reading, merging, and access by keys with dots.

The meaning of the keys is in `settings`.
"""

from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path

import yaml

from taskclf_dagster.errors import InvalidSetting, SettingsError


class _UniqueKeyLoader(yaml.SafeLoader):
    """A SafeLoader that refuses a repeated key, of which YAML would silently take the last, and a key that is no text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        others = [repr(key) for key in keys if not isinstance(key, str)]
        if others:
            raise yaml.constructor.ConstructorError(None, None, f"key {', '.join(others)} must be a text", node.start_mark)
        repeated = sorted({key for key in keys if keys.count(key) > 1})
        if repeated:
            raise yaml.constructor.ConstructorError(None, None, f"key {', '.join(repeated)} is written twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


def nest(key: str, value: object) -> dict[str, object]:
    """Returns nested mappings for a value under a key with dots."""
    first, _, rest = key.partition(".")
    return {first: nest(rest, value) if rest else value}


def read_mapping(path: Path) -> dict[str, object]:
    """Reads a YAML file whose top level is a mapping; an empty file gives an empty mapping.

    Raises:
        SettingsError: the file is missing, is not YAML or not a mapping, or has a key twice or one that is no text.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506  # a SafeLoader
    except yaml.MarkedYAMLError as error:  # its own text quotes the line, which may hold a secret
        where = "" if error.problem_mark is None else f" in line {error.problem_mark.line + 1}"
        raise SettingsError(path, [InvalidSetting("", "yaml", f"cannot be read as YAML: {error.problem}{where}")]) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(path, [InvalidSetting("", "yaml", f"cannot be read as YAML: {error}")]) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        message = f"must be a mapping of keys to values, but is a {type(content).__name__}"
        raise SettingsError(path, [InvalidSetting("", "mapping", message)])
    return content


def merge_mappings(base: dict[str, object], top: dict[str, object]) -> dict[str, object]:
    """Returns a mapping whose values are overridden by those of another; inner mappings are merged likewise."""
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        merged[key] = merge_mappings(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def flatten(content: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yields every key of a nested mapping with its value; keys of inner mappings with dots."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def keep_known_keys(recorded: Mapping[str, object], known: Mapping[str, object]) -> dict[str, object]:
    """Returns a mapping without the keys that another one does not have; inner mappings likewise."""
    kept: dict[str, object] = {}
    for key, value in recorded.items():
        below = known.get(key)
        if key in known:
            kept[key] = keep_known_keys(value, below) if isinstance(value, dict) and isinstance(below, dict) else value
    return kept
