"""YAML files as nested mappings: read strictly, laid over each other, taken apart by key.

What the keys mean is in `settings`.
"""

from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path

import yaml

from taskclf_dagster.errors import SettingsError


class _UniqueKeyLoader(yaml.SafeLoader):
    """A SafeLoader that refuses a key that is written twice, where YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = sorted({str(key) for key in keys if keys.count(key) > 1})
        if repeated:
            raise yaml.constructor.ConstructorError(None, None, f"key {', '.join(repeated)} is written twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


def nested(key: str, value: object) -> dict[str, object]:
    """A value under a key with dots, as mappings within mappings."""
    first, _, rest = key.partition(".")
    return {first: nested(rest, value) if rest else value}


def read_mapping(path: Path) -> dict[str, object]:
    """Reads a file whose top level is a mapping; an empty file is an empty one.

    Raises:
        SettingsError: the file is missing, is not YAML, is no mapping, or has a key twice.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506  # a SafeLoader
    except yaml.MarkedYAMLError as error:  # its own text quotes the line, which may hold a secret
        where = "" if error.problem_mark is None else f" in line {error.problem_mark.line + 1}"
        raise SettingsError(path, [f"cannot be read as YAML: {error.problem}{where}"]) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(path, [f"cannot be read as YAML: {error}"]) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(path, [f"must be a mapping of keys to values, but is a {type(content).__name__}"])
    return content


def merge_mappings(base: dict[str, object], top: dict[str, object]) -> dict[str, object]:
    """A mapping with the keys of another over its own; mappings within are laid over each other likewise."""
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        merged[key] = merge_mappings(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def flatten(content: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every key of a nested mapping with its value; keys of inner mappings with dots."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def keep_known_keys(recorded: Mapping[str, object], known: Mapping[str, object]) -> dict[str, object]:
    """A mapping without the keys that another one does not have; mappings within likewise."""
    kept: dict[str, object] = {}
    for key, value in recorded.items():
        below = known.get(key)
        if key in known:
            kept[key] = keep_known_keys(value, below) if isinstance(value, dict) and isinstance(below, dict) else value
    return kept
