"""YAML files as nested mappings: strict reading, merging, and access by keys with dots.

Plain values have the types of the core schema of YAML 1.2 (chapter 10.3): 0200 is 200 and no octal number, and 1:30, yes, on and 2026-01-05
are texts, which YAML 1.1 would take for 90, True, True and a date. The meaning of the keys is in `settings`.
"""

import copy
import re
from collections.abc import Hashable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import yaml

from taskclf_dagster.errors import InvalidSetting, SettingsError
from taskclf_dagster.shown_text import reason_of

MAX_BYTES = 256 * 1024


MAX_DEPTH = 32
"""Mappings and lists within each other."""


MAX_NODES = 10_000
"""Values of a file; one that an alias repeats counts again, with everything in it."""


MAX_DIGITS = 100
"""Characters of a number."""


_NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}


class _StrictLoader(yaml.SafeLoader):
    """A SafeLoader with limits on depth, expanded aliases and digits, which refuses some of what YAML allows.

    Refused are a repeated key, of which YAML would silently take the last, a key that is no text, and a value that contains itself.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012  # pyyaml declares it; those of YAML 1.1 are not inherited
    bool_values: ClassVar[dict[str, bool]] = {"true": True, "false": False}

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth, self._nodes = 0, 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node | None:
        event, before = self.peek_event(), self._nodes  # type: ignore[no-untyped-call]
        self._depth += 1
        self._nodes += 1
        if self._depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, f"it is nested deeper than {MAX_DEPTH} levels", event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)  # type: ignore[arg-type]
        if not isinstance(event, yaml.AliasEvent):
            self._sizes[id(node)] = self._nodes - before
        elif id(node) not in self._sizes:
            raise yaml.composer.ComposerError(None, None, f"alias {event.anchor} is within what it names", None)
        else:
            self._nodes += self._sizes[id(node)]
        if self._nodes > MAX_NODES:
            raise yaml.composer.ComposerError(None, None, f"it has more than {MAX_NODES} values, aliases expanded", event.start_mark)
        self._depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        if node.tag in _NUMBERS and len(node.value) > MAX_DIGITS:
            raise yaml.constructor.ConstructorError(None, None, f"a number has more than {MAX_DIGITS} digits", node.start_mark)
        try:
            return super().construct_object(node, deep=deep)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # its text may quote a secret
            problem = f"a value is none of the type {node.tag.rpartition(':')[2]} that its tag names"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} must be a text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key} is written twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_core_int(self, node: yaml.ScalarNode) -> int:
        """Returns an integer; without 0o or 0x before it, it is decimal."""
        text = node.value
        return int(text[2:], {"0o": 8, "0x": 16}[text[:2]]) if text[:2] in ("0o", "0x") else int(text)

    def construct_core_float(self, node: yaml.ScalarNode) -> float:
        """Returns a decimal number, an infinity or NaN."""
        return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))


_CORE_SCHEMA = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
}
"""The plain forms of each type with their first characters. Integers come before floats."""


for _tag, (_form, _first) in _CORE_SCHEMA.items():
    _StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_form})\Z"), _first)
_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_core_int)
_StrictLoader.add_constructor("tag:yaml.org,2002:float", _StrictLoader.construct_core_float)


def nest(key: str, value: object) -> dict[str, object]:
    """Returns nested mappings for a value under a key with dots."""
    first, _, rest = key.partition(".")
    return {first: nest(rest, value) if rest else value}


def read_mapping(path: Path) -> dict[str, object]:
    """Reads a YAML file whose top level is a mapping; an empty file gives an empty mapping.

    Raises:
        SettingsError: the file is missing, is beyond a limit of this module, is not YAML or not a mapping, or has a key twice or one that
            is no text.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = "it does not exist" if isinstance(error, FileNotFoundError) else reason_of(error)
        raise SettingsError(path, [InvalidSetting("", "file", reason)]) from error
    return parse_mapping(path, content)


def parse_mapping(path: Path, written: bytes) -> dict[str, object]:
    """Parses the bytes of a file, of which no more than one beyond MAX_BYTES have to be given, under the rules of `read_mapping`.

    Raises:
        SettingsError: as there.
    """
    try:
        content = copy.deepcopy(parse_yaml(_decode(written)))
    except yaml.MarkedYAMLError as error:  # its own text quotes the line, which may hold a secret
        where = "" if error.problem_mark is None else f" in line {error.problem_mark.line + 1}"
        raise SettingsError(path, [InvalidSetting("", "yaml", f"cannot be read as YAML: {error.problem}{where}")]) from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(path, [InvalidSetting("", "yaml", f"cannot be read as YAML: {error}")]) from error
    except (ArithmeticError, ValueError) as error:  # of a character's number; its text may quote a secret
        message = f"cannot be read as YAML: a character is written by a number that is none ({type(error).__name__})"
        raise SettingsError(path, [InvalidSetting("", "yaml", message)]) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        message = f"must be a mapping of keys to values, but is a {type(content).__name__}"
        raise SettingsError(path, [InvalidSetting("", "mapping", message)])
    return content


@lru_cache(maxsize=8)
def parse_yaml(text: str) -> object:
    """Parses YAML, each text once: sensors read the same configuration every few seconds. The value is shared: copy it to change it.

    Raises:
        yaml.YAMLError: it is not YAML, or beyond a limit of this module.
    """
    return yaml.load(text, Loader=_StrictLoader)  # noqa: S506  # a SafeLoader


def compose_yaml(text: str) -> yaml.Node | None:
    """Returns the nodes of a YAML text with their places in it; None if it holds nothing.

    Raises:
        yaml.YAMLError: it is not YAML, or beyond a limit of this module.
    """
    return yaml.compose(text, Loader=_StrictLoader)


def _decode(content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise yaml.YAMLError(f"it has more than {MAX_BYTES} bytes")
    return content.decode("utf-8")


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
