"""Changes single values of a YAML text, and leaves every other character as it is, comments included.

A change is made in the text, at the places that the parser names, and then read back. What cannot be changed so that exactly the asked-for
document is read (aliases, block texts) is written anew as a whole, without comments.
"""

import json
from collections.abc import Collection, Mapping

import yaml

from taskclf_dagster.config.yaml_files import compose_yaml, merge_mappings, nest, parse_yaml

_Path = list[tuple[yaml.MappingNode, int]]
"""The mappings that lead to a value, outermost first, each with the position of the key in it."""


def edit_yaml(text: str, values: Mapping[str, object], unset: Collection[str] = ()) -> str:
    """Returns the text with other values of some keys (inner keys with dots), and without the keys to unset.

    Args:
        text: YAML whose top level is a mapping, or that holds nothing.
        values: numbers, texts, flags or null by key.
        unset: keys that are removed; a mapping that becomes empty is removed, too.

    Raises:
        yaml.YAMLError: the text is not YAML.
    """
    document = _as_mapping(parse_yaml(text))
    for key, value in values.items():
        document = merge_mappings(document, nest(key, value))
    for key in unset:
        document = _without(document, key.split("."))
    edited = text
    try:
        for key in unset:
            edited = _remove(edited, key)
        for key, value in values.items():
            edited = _set(edited, key, value)
        same = _as_json(parse_yaml(edited)) == _as_json(document)
    except yaml.YAMLError:
        same = False
    return edited if same else yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def _set(text: str, key: str, value: object) -> str:
    root = compose_yaml(text)
    if not isinstance(root, yaml.MappingNode):
        return _append(text, "", key, value)
    path, rest = _find(root, key)
    parent, position = path[-1]
    if not rest:
        return _replace(text, parent.value[position][1], json.dumps(value, ensure_ascii=False))
    if position >= 0:  # a scalar where a mapping is needed
        return _replace(text, parent.value[position][1], json.dumps(nest(rest, value), ensure_ascii=False))
    if parent.flow_style or not parent.value:
        inner = merge_mappings(_as_mapping(parse_yaml(text[parent.start_mark.index : parent.end_mark.index])), nest(rest, value))
        return _replace(text, parent, json.dumps(inner, ensure_ascii=False))
    indent = " " * parent.value[0][0].start_mark.column
    if len(path) == 1:
        return _append(text, indent, rest, value)
    end = _end_of_line(text, _last_index(parent))
    return text[:end].rstrip("\n") + "\n" + _lines(indent, rest, value) + text[end:]


def _remove(text: str, key: str) -> str:
    root = compose_yaml(text)
    path, rest = _find(root, key) if isinstance(root, yaml.MappingNode) else ([], key)
    if rest:  # it is not there
        return text
    while len(path) > 1 and len(path[-1][0].value) == 1:
        path.pop()
    parent, position = path[-1]
    name, value = parent.value[position]
    if parent.flow_style:
        inner = _without(_as_mapping(parse_yaml(text[parent.start_mark.index : parent.end_mark.index])), [name.value])
        return _replace(text, parent, json.dumps(inner, ensure_ascii=False))
    start = text.rfind("\n", 0, name.start_mark.index) + 1
    return text[:start] + text[_end_of_line(text, _last_index(value)) :]


def _find(root: yaml.MappingNode, key: str) -> tuple[_Path, str]:
    """Returns the way to a key as far as it exists (position -1 where it ends), and the rest of the key."""
    path: _Path = []
    node: yaml.Node = root
    while isinstance(node, yaml.MappingNode):
        first, _, rest = key.partition(".")
        position = next((number for number, (name, _) in enumerate(node.value) if name.value == first), -1)
        path.append((node, position))
        if position < 0:
            return path, key
        key, node = rest, node.value[position][1]
        if not key:
            break
    return path, key


def _last_index(node: yaml.Node) -> int:
    """Returns where the last scalar of a node ends; marks of block mappings end behind the comments that follow."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_index(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _replace(text: str, node: yaml.Node, written: str) -> str:
    start, end = node.start_mark.index, node.end_mark.index
    space = " " if text[start - 1 : start] == ":" else ""
    return text[:start] + space + written + text[end:]


def _append(text: str, indent: str, key: str, value: object) -> str:
    return text + ("" if not text or text.endswith("\n") else "\n") + _lines(indent, key, value)


def _lines(indent: str, key: str, value: object) -> str:
    """Returns a line for a value, with a line above it for each mapping that it is in."""
    first, _, rest = key.partition(".")
    if rest:
        return f"{indent}{first}:\n" + _lines(f"{indent}  ", rest, value)
    return f"{indent}{first}: {json.dumps(value, ensure_ascii=False)}\n"


def _end_of_line(text: str, index: int) -> int:
    """Returns where the line of a place ends, behind its newline."""
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1


def _without(document: dict[str, object], parts: list[str]) -> dict[str, object]:
    inner = document.get(parts[0])
    if len(parts) == 1 or not isinstance(inner, dict):
        return {key: value for key, value in document.items() if key != parts[0] or len(parts) > 1}
    left = _without(inner, parts[1:])
    return {key: left if key == parts[0] else value for key, value in document.items() if key != parts[0] or left}


def _as_mapping(value: object) -> dict[str, object]:
    return dict(value) if isinstance(value, dict) else {}


def _as_json(value: object) -> str:
    """Returns JSON, in which true, 1 and 1.0 differ."""
    return json.dumps(value if value is not None else {}, sort_keys=True)
