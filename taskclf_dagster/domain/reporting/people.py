"""The ids of the people of a home, so that a text which leaves the machine does not name them."""

import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime

import pyarrow.parquet as pq

from taskclf_dagster.domain.data.day_folders import list_days
from taskclf_dagster.domain.data.feature_schema import SCHEMA_VERSIONS
from taskclf_dagster.domain.data.label_store import read_label_spans
from taskclf_dagster.domain.data.parquet_files import opening_parquet
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home

DAYS = 60
"""Newest days of each schema version whose people are known: messages are about what was read lately."""


SHORTEST_ID = 3
"""Characters of the shortest id that is replaced; shorter ones are words."""


_BEGIN, _END = datetime(1971, 1, 1, tzinfo=UTC), datetime(2261, 1, 1, tzinfo=UTC)


def list_people(home: Home) -> set[str]:
    """Returns the ids of everyone with labels, or with windows on the newest days; files that cannot be read name nobody.

    Raises:
        ObjectStoreUnavailableError: an object store does not answer, so that it is not known who is to be hidden.
    """
    people: set[str] = set()
    with suppress(UnreadableFileError):
        people.update(read_label_spans(home, start=_BEGIN, end=_END).spans["user_id"].dropna().astype(str))
    for version in SCHEMA_VERSIONS:
        with suppress(UnreadableFileError):
            for day in list(list_days(home, version).values())[-DAYS:]:
                with opening_parquet(day, fix="Export the day again") as source, pq.ParquetFile(source) as file:
                    if "user_id" in file.schema_arrow.names:
                        ids = file.read(columns=["user_id"], use_threads=False)["user_id"].unique().to_pylist()
                        people.update(str(name) for name in ids if name is not None)
    return people


def hide_people(text: str, people: Iterable[str]) -> str:
    """Returns a text with "one person" in place of each id of a person, where it stands as a word of its own."""
    known = sorted((name for name in people if len(name) >= SHORTEST_ID), key=len, reverse=True)
    if not known:
        return text
    return re.sub(rf"(?<!\w)'?(?:{'|'.join(map(re.escape, known))})'?(?!\w)", "one person", text)
