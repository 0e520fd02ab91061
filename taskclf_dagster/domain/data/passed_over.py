"""Folders and files beside the daily files that are not read: the record of one folder or file, and the message about all of them."""

from collections.abc import Sequence
from typing import Literal

from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.shown_text import counted

WINDOWS_OF_DAY = "features.parquet"

MAX_NAMED = 10
"""Number of entries that a message names; the others are counted."""

TABLE_SUFFIXES = frozenset({".parquet", ".parq", ".pq", ".arrow", ".feather", ".orc", ".csv"})
"""Ends of names of files that may hold windows."""

PassedOverKind = Literal["not_a_day", "another_file", "another_version", "unreadable_folder"]
"""A folder or file that is not in the folder of a day; a second file or folder in it; a folder of an unknown schema version; a folder that
cannot be listed."""


class PassedOver(Record):
    """A folder or file beside the daily files that may hold windows and is not read.

    Attributes:
        path: relative to the home; the whole path or URL of what is elsewhere.
        kind: the reason why it is not read.
        files: number of files in it that may hold windows; 1 for a file, 0 for a folder that cannot be listed.
        rows: number of rows in those whose parquet footer can be read; None if that is none of them.
    """

    path: str
    kind: PassedOverKind
    files: int
    rows: int | None


def count_passed_over(found: Sequence[PassedOver]) -> int:
    """Returns the number of rows in what was passed over, as far as they could be counted."""
    return sum(entry.rows or 0 for entry in found)


def describe_passed_over(found: Sequence[PassedOver]) -> str:
    """Returns a message that counts and names what was passed over; empty if that is nothing."""
    if not found:
        return ""
    named = ", ".join(
        f"{entry.path} ({'rows unknown' if entry.rows is None else counted(entry.rows, 'row')})" for entry in found[:MAX_NAMED]
    )
    more = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    is_elsewhere = any(entry.path.startswith("/") or "://" in entry.path for entry in found)
    where = "beside the daily files" if is_elsewhere else "in data/processed"
    entries, are = ("1 folder or file", "is") if len(found) == 1 else (f"{len(found)} folders or files", "are")
    return (
        f"{entries} {where} that may hold windows, {counted(count_passed_over(found), 'row')}, {are} not read: "
        f"{named}{more}. Only "
        f"date=YYYY-MM-DD/{WINDOWS_OF_DAY} is read: let taskclf write the day again, or move what is not needed out of the folder"
    )
