"""The catalogue of damaged parquet files: ways in which another program leaves windows or labels, with what must become of each.

A damage changes the file at a path, which is a whole one that taskclf could have written. All of them are tried with every reader
and tick in `cycle/test_damaged_inputs.py`, and some of each kind with commands.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

Outcome = Literal["violation", "unreadable", "harmless"]
Damage = Callable[[Path], object]


@dataclass(frozen=True)
class Columns:
    """A required column of each kind."""

    text: str
    number: str
    moment: str
    flag: str


LABELS = Columns("label", "confidence", "start_ts", "extend_forward")
WINDOWS = Columns("session_id", "keys_per_min", "bucket_start_ts", "is_terminal")

LARGEST = 2**63 - 1


def _change(change: Callable[[pa.Table], pa.Table]) -> Damage:
    return lambda path: pq.write_table(change(pq.ParquetFile(path).read()), path)


def _put(column: str, make: Callable[[int], pa.Array]) -> Damage:
    """Replaces a column by one of as many rows."""

    def change(table: pa.Table) -> pa.Table:
        return table.set_column(table.column_names.index(column), column, make(len(table)))

    return _change(change)


def _fill(value: object, kind: pa.DataType) -> Callable[[int], pa.Array]:
    return lambda rows: pa.array([value] * rows, kind)


def _repeat(column: str, times: int = 1) -> Damage:
    def change(table: pa.Table) -> pa.Table:
        values = table[column]
        for _ in range(times):
            table = table.append_column(column, values)
        return table

    return _change(change)


def _drop(column: str) -> Damage:
    return _change(lambda table: table.drop_columns([column]))


def _not_utf8(column: str) -> Damage:
    return _put(column, lambda rows: pa.array([b"good", *[b"caf\xe9"] * (rows - 1)], pa.binary()).view(pa.string()))


def _name_is_not_utf8(path: Path) -> None:
    _change(lambda table: table.append_column("mood_of_day", pa.nulls(len(table), pa.string())))(path)
    path.write_bytes(path.read_bytes().replace(b"mood_of_day", b"mood_of_d\xe4y"))


def _nest(table: pa.Table) -> pa.Table:
    return pa.table({"row": table.to_struct_array()})


def _twice_unknown(table: pa.Table) -> pa.Table:
    return table.append_column("mood", pa.nulls(len(table))).append_column("mood", pa.nulls(len(table)))


def _cut(share: float) -> Damage:
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def _patch_end(count: int, by: bytes) -> Damage:
    """Replaces bytes so many before the end."""

    def damage(path: Path) -> None:
        whole = path.read_bytes()
        path.write_bytes(whole[:-count] + by + whole[len(whole) - count + len(by) :])

    return damage


def _replace(make: Damage) -> Damage:
    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


def damages(columns: Columns) -> dict[str, tuple[Outcome, Damage]]:
    """Returns every damage by name, with its outcome for a file that has these columns."""
    text, number, moment, flag = columns.text, columns.number, columns.moment, columns.flag
    labels = columns is LABELS
    types = {
        f"{text} is a number": _put(text, _fill(7, pa.int64())),
        f"{text} is a list": _put(text, _fill(["x"], pa.list_(pa.string()))),
        f"{text} is bytes": _put(text, _fill(b"Build", pa.binary())),
        f"{text} is a uuid": _put(text, _fill(b"0" * 16, pa.uuid())),
        f"{number} is text": _put(number, _fill("1.0", pa.string())),
        f"{number} is a decimal": _put(number, _fill(Decimal("0.50"), pa.decimal128(5, 2))),
        f"{number} is nested": _put(number, _fill({"value": 0.5}, pa.struct([("value", pa.float64())]))),
        f"{moment} is a date": _put(moment, _fill(20_000, pa.date32())),
        f"{moment} is text": _put(moment, _fill("2026-01-05T09:00:00Z", pa.string())),
        f"{moment} is a whole number": _put(moment, _fill(1_767_603_600, pa.int64())),
        f"{moment} has the null type": _put(moment, pa.nulls),
        f"{flag} is text": _put(flag, _fill("yes", pa.string())),
    }
    values = {
        f"{text} is null": _put(text, _fill(None, pa.string())),
        f"{text} has the null type": _put(text, pa.nulls),
        f"{text} is not UTF-8": _not_utf8(text),
        f"{moment} is null": _put(moment, _fill(None, pa.timestamp("us", "UTC"))),
        f"{moment} is beyond every calendar in us": _put(moment, _fill(LARGEST, pa.timestamp("us", "UTC"))),
        f"{moment} is beyond every calendar in ms": _put(moment, _fill(-LARGEST, pa.timestamp("ms"))),
    }
    shapes = {
        **{f"{column} occurs twice": _repeat(column) for column in (text, number, moment, flag)},
        f"{text} occurs four times": _repeat(text, 3),
        f"{text} is missing": _drop(text),
        f"{moment} is missing": _drop(moment),
        "every column is in one struct": _change(_nest),
    }
    files = {
        "not parquet": lambda path: path.write_text("user_id,label\n", encoding="utf-8"),
        "an empty file": lambda path: path.write_bytes(b""),
        "half of the file": _cut(0.5),
        "all but the last bytes": _cut(0.99),
        "a footer longer than the file": _patch_end(8, b"\xff\xff\xff\x7f"),
        "a footer of zeros": _patch_end(600, bytes(400)),
        "a name that is not UTF-8": _name_is_not_utf8,
        "a folder": _replace(Path.mkdir),
        "a pipe": _replace(os.mkfifo),
        "a link to nothing": _replace(lambda path: path.symlink_to(path.with_name("nowhere.parquet"))),
    }
    fine = {
        "an unknown column occurs twice": _change(_twice_unknown),
        "no rows": _change(lambda table: table.slice(0, 0)),
        f"{number} is half a float": _put(number, lambda rows: pa.array([0.5] * rows, pa.float64()).cast(pa.float16())),
        f"{moment} is of a zone that does not exist": _change(
            lambda table: table.set_column(
                table.column_names.index(moment), moment, table[moment].cast(pa.int64()).cast(pa.timestamp("us", "Mars/Olympus"))
            )
        ),
    }
    largest = _put(number, _fill(2**64 - 1, pa.uint64()))
    nothing = _change(lambda table: table.select([]))
    return {
        **{name: ("violation", damage) for name, damage in {**types, **values, **shapes}.items()},
        **{name: ("unreadable", damage) for name, damage in files.items()},
        **{name: ("harmless", damage) for name, damage in fine.items()},
        f"{number} is the largest whole number": ("violation" if labels else "harmless", largest),
        "no columns": ("harmless" if labels else "violation", nothing),
        f"{number} is missing": ("harmless" if labels else "violation", _drop(number)),
        f"{number} has the null type": ("harmless", _put(number, pa.nulls)),
        f"{flag} has the null type": ("harmless" if labels else "violation", _put(flag, pa.nulls)),
    }
