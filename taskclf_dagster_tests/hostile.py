"""Hostile JSON: contents that a broken or malicious program might leave in any file of a home."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

LONG = "x" * 5_000
EXTREMES: list[Any] = [
    None,
    True,
    -1,
    0,
    2**52,
    2**53 + 1,
    -(2**63),
    10**300,
    10**999,
    1e308,
    float("nan"),
    float("-inf"),
    "",
    "\ud800",
    "\udcff/x",
    "a\0b",
    "..",
    "../../outside",
    "/etc/passwd",
    "models/..",
    "models",
    LONG,
    f"models/{LONG}",
    "\x1b[2J\u202e\x9b",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "2026-01-01T00:00:00",
    [],
    {},
    [[[]]],
    ["a", 1, None],
    {"a": {"b": 1}},
]
"""Values of every type, each hostile to some reader: as a number, as a text, as a path, as a time."""


def nested(depth: int, *, inside: str = "0", opening: str = "[") -> bytes:
    """A value within this many arrays, or objects."""
    closing = "]" if opening == "[" else "}"
    return (opening * depth + inside + closing * depth).encode()


def dumped(value: object) -> bytes:
    """JSON as a careless program writes it: NaN, Infinity and half characters included."""
    return json.dumps(value).encode()


def places(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, from the top."""
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value[:3]):
            yield from places(item, (*path, index))


def put(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    """A copy of a JSON value with one place changed."""
    if not path:
        return change(value)
    changed = copy.copy(value)
    changed[path[0]] = put(changed[path[0]], path[1:], change)
    return changed


def _with_key(key: str) -> Callable[[Any], Any]:
    return lambda value: {**value, key: 1} if isinstance(value, dict) else {key: value}


def hostile_contents(document: object) -> st.SearchStrategy[bytes]:
    """Contents that were this document, or never were JSON."""
    whole = dumped(document)
    depths = st.integers(1, 2000)
    changes: st.SearchStrategy[Callable[[Any], Any]] = st.one_of(
        st.sampled_from(EXTREMES).map(lambda extreme: lambda _: extreme),
        st.sampled_from(["\ud800", "\udfff", "k" * 5_000, "k" * 100_000, "\0", "\x1b[31m"]).map(_with_key),
        depths.map(lambda depth: lambda _: json.loads(nested(min(depth, 400)))),
        st.integers(1, 6000).map(lambda length: lambda _: "y" * length * 300),
    )
    edits = st.lists(st.tuples(st.sampled_from(list(places(document))), changes), min_size=1, max_size=1)
    mutated = edits.map(lambda pairs: dumped(put(document, *pairs[0])))
    deep = st.builds(lambda depth, opening: nested(depth, opening=opening), depths, st.sampled_from(["[", '{"a":']))
    grafted = depths.map(lambda depth: whole.rstrip()[:-1] + b', "deep": ' + nested(depth) + b"}")
    digits = st.integers(900, 6000).map(lambda count: whole.rstrip()[:-1] + b', "n": ' + b"9" * count + b"}")
    twice = whole.rstrip()[:-1] + b"," + whole.lstrip()[1:]
    raw = st.sampled_from(
        [b"", b"\0" * 64, b"\xff\xfe{", b"\xef\xbb\xbf" + whole, whole.decode().encode("utf-16"), twice, b"[]", b'"x"', b"NaN"]
    )
    torn = st.integers(0, max(0, len(whole) - 1)).map(lambda size: whole[:size])
    return st.one_of(mutated, mutated, deep, grafted, digits, raw, torn, st.binary(max_size=50))
