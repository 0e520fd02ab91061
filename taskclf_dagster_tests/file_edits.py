"""Edits of single values in the content of a file of a home, by the kind of file: JSON, JSON lines, parquet, arrow, npy, csv, model.txt.

An edit is a plausible value, not damage: the file is written by the same library and can be read. Damage is in `hostile` and `scenario`.
"""

import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from taskclf_dagster.domain.storage.records import json_hash
from taskclf_dagster_tests.hostile import places, put
from taskclf_dagster_tests.models import with_a_leaf_changed

OPPOSITES = {
    "PASS": "FAIL",
    "FAIL": "PASS",
    "INCONCLUSIVE": "PASS",
    "NOT_APPLICABLE": "PASS",
    "PROMOTE": "REJECT",
    "REJECT": "PROMOTE",
    "ok": "none",
    "none": "ok",
    "pointer": "policy",
    "policy": "best_by_rank",
    "v1": "v2",
    "candidate": "comparative",
    "point": "hold",
}
"""Other values of texts that are one of a few."""

MONTHS = timedelta(days=70)
"""Longer than a model stays an anchor, and than the look-back of the tests."""

SEALS = ("record_hash", "checksum")
"""Keys under which a JSON file has the hash of its other keys."""

ROWS_CHANGED = 5
"""Rows of a table in which an edit changes a column."""


@dataclass(frozen=True)
class Edit:
    """One value of a file changed.

    Attributes:
        what: the place and the change.
        make: returns the content of the whole file afterwards; called when it is asked for, because most edits of a large file never are.
        is_sealed: whether the hash that the file has of its own contents fits again.
    """

    what: str
    make: Callable[[], bytes] = field(repr=False)
    is_sealed: bool = False

    @property
    def content(self) -> bytes:
        return self.make()


def edits_of(name: str, content: bytes, *, thorough: bool = True) -> Iterator[Edit]:
    """Yields edits of a file, each of one value.

    Args:
        name: the file; its ending tells the format.
        content: its bytes.
        thorough: every change of each value; else one of each in turn.
    """
    kind = name.rpartition(".")[2]
    if kind == "json":
        yield from _json_edits(json.loads(content), thorough)
    elif kind == "jsonl":
        yield from _line_edits(content, thorough)
    elif kind in ("parquet", "arrow"):
        yield from table_edits(kind, content)
    elif kind == "npy":
        yield from _array_edits(content)
    elif kind == "txt":
        yield Edit("a leaf value", lambda: with_a_leaf_changed(content.decode()).encode())
        yield Edit("one tree fewer", lambda: _without_the_last_tree(content.decode()).encode())
    elif kind == "csv":
        yield Edit("a count", lambda: re.sub(rb",(\d+)", lambda found: b",%d" % (int(found[1]) + 1), content, count=1))
    else:
        yield Edit("a text in it", lambda: content + b"edited")


# --- JSON -------------------------------------------------------------------------------------------------------------------------


def _json_edits(document: dict[str, Any], thorough: bool) -> Iterator[Edit]:
    """Yields each value changed; where the file has the hash of its contents, also with a hash that fits again."""
    for number, path in enumerate(places(document)):
        if not path:
            continue
        for change, value in _turn(list(_other_values(_at(document, path))), number, thorough):
            edit = partial(_put, document, path, value)
            what = f"{'.'.join(map(str, path))}: {change}"
            yield Edit(what, lambda edit=edit: dumped(edit()))
            for key in SEALS:
                if key in document and path != (key,):
                    yield Edit(f"{what}, sealed again", lambda edit=edit, key=key: dumped(_sealed(edit(), key)), is_sealed=True)


def _put(document: dict[str, Any], path: tuple[Any, ...], value: object) -> Any:
    return put(document, path, lambda _: value)


def _line_edits(content: bytes, thorough: bool) -> Iterator[Edit]:
    """Yields each value of each line changed, and each line left out."""
    lines = content.splitlines()
    for number, line in enumerate(lines):
        yield Edit(f"line {number + 1} left out", partial(_lines, [*lines[:number], *lines[number + 1 :]]))
        for edit in _json_edits(json.loads(line), thorough):
            yield Edit(f"line {number + 1}: {edit.what}", partial(_with_line, lines, number, edit), edit.is_sealed)


def _with_line(lines: list[bytes], number: int, edit: Edit) -> bytes:
    edited = json.dumps(json.loads(edit.content), separators=(",", ":")).encode()
    return _lines([*lines[:number], edited, *lines[number + 1 :]])


def _lines(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def dumped(document: object) -> bytes:
    """JSON as the project writes it."""
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _sealed(document: dict[str, Any], key: str) -> dict[str, Any]:
    rest = {name: value for name, value in document.items() if name != key}
    return {**rest, key: json_hash(rest)}


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _turn(changes: list[tuple[str, Any]], number: int, thorough: bool) -> list[tuple[str, Any]]:
    """All changes of a value, or the one whose turn it is."""
    return changes if thorough or not changes else [changes[number % len(changes)]]


def _other_values(value: Any) -> Iterator[tuple[str, Any]]:
    """Yields other plausible values in place of one, each with a name."""
    if isinstance(value, bool):
        yield "flipped", not value
    elif isinstance(value, int | float):
        yield from ((f"{value} becomes {other}", other) for other in _other_numbers(value) if other != value)
    elif isinstance(value, str):
        yield "another text", _other_text(value)
        if _as_time(value) is not None:
            yield "earlier", _shifted(value, -MONTHS)
    elif isinstance(value, list | dict):
        if value:
            yield "emptied", type(value)()
        return
    yield "null", None


def _other_numbers(value: float) -> list[float]:
    if isinstance(value, int):
        return [value + 1, 0]
    return [1.0, 0.0] if 0 <= value <= 1 else [value * 2]


def _other_text(text: str) -> str:
    """Another text of the same kind: one of a few values, a later time, another hash or id, or a longer text."""
    if text in OPPOSITES:
        return OPPOSITES[text]
    if _as_time(text) is not None:
        return _shifted(text, MONTHS)
    if text and text[-1] in "0123456789abcdef":
        return text[:-1] + ("0" if text[-1] != "0" else "1")
    return text + "x"


def _as_time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if "-" in text else None
    except ValueError:
        return None


def _shifted(text: str, by: timedelta) -> str:
    moment = datetime.fromisoformat(text) + by
    return moment.date().isoformat() if len(text) == 10 else moment.isoformat()


# --- Tables and arrays ------------------------------------------------------------------------------------------------------------


def table_edits(kind: str, content: bytes) -> Iterator[Edit]:
    """Yields a parquet or an arrow file with a few values of one column changed, for each column; and without its last rows."""
    table = _read_table(kind, content)
    for name in table.schema.names:
        edited = _other_column(table[name].to_pandas())
        if edited is not None:
            yield Edit(f"{ROWS_CHANGED} rows of {name}", partial(with_column, kind, content, name, edited))
    yield Edit("without the last rows", lambda: _write_table(kind, table.slice(0, table.num_rows - ROWS_CHANGED)))


def with_column(kind: str, content: bytes, name: str, values: pd.Series) -> bytes:
    """The file with the values of one column replaced."""
    table = _read_table(kind, content)
    field = table.schema.field(name)
    plain = pa.array(values.astype(object) if isinstance(values.dtype, pd.CategoricalDtype) else values, from_pandas=True)
    array = plain.dictionary_encode().cast(field.type) if pa.types.is_dictionary(field.type) else plain.cast(field.type)
    return _write_table(kind, table.set_column(table.schema.get_field_index(name), field, array))


def _other_column(column: pd.Series) -> pd.Series | None:
    """A column with other values in its first rows: of each row the next value that the column has, or one more; None if it has none."""
    first, values = column.iloc[:ROWS_CHANGED], column.copy()
    if pd.api.types.is_bool_dtype(column.dtype):
        values.iloc[:ROWS_CHANGED] = ~first
    elif pd.api.types.is_numeric_dtype(column.dtype):
        values.iloc[:ROWS_CHANGED] = (first.fillna(0) + 1).astype(column.dtype)
    elif pd.api.types.is_datetime64_any_dtype(column.dtype):
        values.iloc[:ROWS_CHANGED] = first + timedelta(days=1)
    else:
        known = [value for value in column.astype(object).drop_duplicates() if isinstance(value, str)]
        if not known:
            return None
        following = dict(zip(known, [*known[1:], known[0] if len(known) > 1 else f"{known[0]}x"], strict=True))
        values = values.astype(object)
        values.iloc[:ROWS_CHANGED] = [following.get(value, known[0]) for value in first]
    return values


def _read_table(kind: str, content: bytes) -> pa.Table:
    source = pa.BufferReader(content)
    return pq.read_table(source) if kind == "parquet" else pa.ipc.open_file(source).read_all()


def _write_table(kind: str, table: pa.Table) -> bytes:
    sink = io.BytesIO()
    if kind == "parquet":
        pq.write_table(table, sink, write_page_checksum=True)
    else:
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()


def _array_edits(content: bytes) -> Iterator[Edit]:
    """Yields an array with its first value changed, and without all of its values."""
    array = np.load(io.BytesIO(content))
    changes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "the first value": lambda values: np.concatenate([values[:1] ^ 1, values[1:]]),
        "half of the values": lambda values: values[: len(values) // 2],
        "no value left": lambda values: values[:0],
    }
    yield from (Edit(what, lambda change=change: _saved(change(array))) for what, change in changes.items())


def _saved(array: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array)
    return sink.getvalue()


def _without_the_last_tree(text: str) -> str:
    start, end = text.rindex("\nTree="), text.index("\nend of trees")
    sizes = re.search(r"tree_sizes=([\d ]+)", text)
    assert sizes is not None
    shorter = text[: sizes.start(1)] + " ".join(sizes[1].split()[:-1]) + text[sizes.end(1) :]
    cut = len(text) - len(shorter)
    return shorter[: start - cut + 1] + shorter[end - cut :]
