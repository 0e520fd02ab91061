"""Windows in parts by ranges of users: days that are too many for memory are sorted by user on disk, and read again part by part.

Daily files are read in `day_tables` and joined in `windows`.
"""

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from taskclf_dagster.domain.data.contract_checks import ContractViolation, RowLocator, find_bound_violations, find_time_violations
from taskclf_dagster.domain.data.feature_schema import FeatureSchema
from taskclf_dagster.domain.data.label_projection import TimeRange, time_range
from taskclf_dagster.domain.data.times import epoch_us
from taskclf_dagster.domain.storage.files import make_folders, remove_tree
from taskclf_dagster.domain.storage.filesystem import file_system

KEYS = ("user_id", "session_id", "bucket_start_ts")

_OF_DAY = "_of_day"


class DayRows(NamedTuple):
    """The rows in range of one daily file, their row numbers in the file, and if each is of the day of the folder."""

    name: str
    table: pa.Table
    rows: npt.NDArray[np.int64]
    of_day: npt.NDArray[np.bool_]


class SortedDay(NamedTuple):
    """The rows of one day that were written to disk, sorted by user.

    Attributes:
        path: the file; None if there are no rows.
        times: first and last start of the windows.
        users: the users who have rows, sorted.
        counts: number of rows of each, shape (users,).
        vocabularies: the values of each column of text.
        violations: of the data contract, found in the values.
    """

    path: Path | None
    times: TimeRange
    users: list[str]
    counts: npt.NDArray[np.int64]
    vocabularies: dict[str, list[str]]
    violations: list[ContractViolation]


@dataclass(frozen=True)
class _PlacedDay:
    """The rows of one day on disk, sorted by user.

    Attributes:
        path: the file.
        users: the number of each user who has rows, in the order of their names.
        begins: position of each user's first row, and the number of rows, shape (users + 1,).
        last: start of the last window [microseconds since 1970].
    """

    path: Path
    last: int
    users: npt.NDArray[np.int64]
    begins: npt.NDArray[np.int64]


def sort_day(day: DayRows, schema: FeatureSchema, folder: Path) -> SortedDay:
    """Checks the values of a day, and writes its rows to a new file of a folder that exists, sorted by user."""
    locator = RowLocator([(day.name, day.rows)])
    frame = day.table.to_pandas(split_blocks=True, use_threads=False)
    violations = [*find_time_violations(frame, locator), *find_bound_violations(frame, schema, locator)]
    if frame.empty:
        return SortedDay(None, TimeRange(0, 0), [], np.empty(0, dtype=np.int64), {}, violations)
    starts = epoch_us(frame["bucket_start_ts"])
    texts = [name for name in frame.columns if isinstance(frame[name].dtype, pd.CategoricalDtype)]
    codes, users = pd.factorize(frame["user_id"].astype(object), sort=True)
    table = day.table.drop_columns(["bucket_end_ts"]).append_column(_OF_DAY, pa.array(day.of_day)).take(np.argsort(codes, kind="stable"))
    path = folder / f"{uuid.uuid4().hex}.arrow"  # a worker that is late writes into no file of another
    file_system().create(path, lambda new: _write(new, table.combine_chunks()))
    return SortedDay(
        path,
        TimeRange(int(starts.min()), int(starts.max())),
        [str(user) for user in users],
        np.bincount(codes, minlength=len(users)),
        {name: list(frame[name].cat.remove_unused_categories().cat.categories) for name in texts},
        violations,
    )


@dataclass
class DaySpill:
    """Days on disk, sorted by user, once there are more windows than one part has.

    Attributes:
        folder: temporary; it is made when it is needed.
        part_windows: see `frame_parts.PART_WINDOWS`.
    """

    folder: Path
    part_windows: int
    _days: list[_PlacedDay] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)
    _counts: list[int] = field(default_factory=list)
    _vocabularies: dict[str, set[str]] = field(default_factory=dict)
    _violations: list[ContractViolation] = field(default_factory=list)
    _times: TimeRange | None = None

    @property
    def is_used(self) -> bool:
        """True if there are days on disk."""
        return bool(self._days)

    def take(self, days: list[DayRows], schema: FeatureSchema) -> None:
        """Moves days from a list to disk if they are too many for one part; their values are checked."""
        if sum(len(day.table) for day in days) >= 2 * self.part_windows:
            make_folders(self.folder)
            for day in days:
                self.add(sort_day(day, schema, self.folder))
            days.clear()

    def finish(self, schema: FeatureSchema) -> "WindowParts":
        """Returns the parts of all days."""
        users = sorted(self._numbers)
        counts = [self._counts[self._numbers[user]] for user in users]
        rank = np.empty(len(users), dtype=np.int64)
        rank[[self._numbers[user] for user in users]] = np.arange(len(users))
        days = [replace(day, users=rank[day.users]) for day in self._days]
        vocabularies = {name: sorted(values) for name, values in self._vocabularies.items()}
        violations = sorted(self._violations, key=lambda found: _order_of(found, schema))
        return WindowParts(schema, days, vocabularies, divide_users(counts, self.part_windows), self._times or TimeRange(0, 0), violations)

    def remove(self) -> None:
        """Removes the files."""
        with suppress(OSError):
            remove_tree(self.folder)

    def add(self, day: SortedDay) -> None:
        """Adds a day that is on disk; the days in the order of their dates."""
        self._violations += day.violations
        if day.path is None:
            return
        first, last = day.times if self._times is None else (min(day.times.first, self._times.first), max(day.times.last, self._times.last))
        self._times = TimeRange(first, last)
        for name, values in day.vocabularies.items():
            self._vocabularies.setdefault(name, set()).update(values)
        numbers = [self._numbers.setdefault(user, len(self._numbers)) for user in day.users]
        self._counts.extend([0] * (len(self._numbers) - len(self._counts)))
        for number, count in zip(numbers, day.counts.tolist(), strict=True):
            self._counts[number] += count
        self._days.append(_PlacedDay(day.path, day.times.last, np.array(numbers), np.concatenate([[0], np.cumsum(day.counts)])))


@dataclass(frozen=True)
class WindowParts:
    """Windows on disk, which are read part by part.

    Attributes:
        schema: of the windows.
        days: the files.
        vocabularies: the sorted values of each column of text, over all parts.
        bounds: first user of each part and, at the end, the number of users, as positions among the sorted users.
        times: from the first to the last start of all windows.
        violations: of the data contract, found in the values.
    """

    schema: FeatureSchema
    days: list[_PlacedDay]
    vocabularies: dict[str, list[str]]
    bounds: list[int]
    times: TimeRange
    violations: list[ContractViolation]

    def __len__(self) -> int:
        """The number of parts."""
        return len(self.bounds) - 1

    @property
    def users(self) -> list[str]:
        """The users, sorted."""
        return self.vocabularies["user_id"]

    def load(self, number: int, *, only_keys: bool = False, since: int | None = None) -> tuple[pd.DataFrame, int]:
        """Returns the windows of a part as `WindowReading.frame`, and the number of duplicates left out.

        Args:
            number: of the part.
            only_keys: True for the keys alone.
            since: windows that start earlier [microseconds since 1970] may be missing.
        """
        begin, end = self.bounds[number : number + 2]
        columns = list(dict.fromkeys((*KEYS, *(() if only_keys else self.schema.model_inputs))))
        slices = []
        for day in self.days:
            if since is not None and day.last < since:
                continue
            rows = day.begins[np.searchsorted(day.users, [begin, end])].tolist()
            with pa.memory_map(str(day.path)) as source, pa.ipc.open_file(source) as file:
                slices.append(file.read_all().select([*columns, _OF_DAY]).slice(rows[0], rows[1] - rows[0]))
        merged = pa.concat_tables(slices).unify_dictionaries()
        of_day = merged[_OF_DAY].to_numpy()
        frame = merged.select(columns).to_pandas(split_blocks=True, use_threads=False)
        del slices, merged
        for name in columns:
            if isinstance(frame[name].dtype, pd.CategoricalDtype):
                frame[name] = frame[name].cat.set_categories(self.vocabularies[name])
        kept = last_of_each_window(frame, of_day)
        return frame.take(kept).reset_index(drop=True), len(frame) - len(kept)


@dataclass(frozen=True)
class OneFrame:
    """Windows in memory as the only part."""

    frame: pd.DataFrame

    def __len__(self) -> int:
        """The number of parts."""
        return 1

    @property
    def users(self) -> list[str]:
        """The users, sorted."""
        return list(self.frame["user_id"].cat.categories)

    @property
    def times(self) -> TimeRange:
        """From the first to the last start."""
        return time_range(self.frame)

    def load(self, _number: int, *, only_keys: bool = False, since: int | None = None) -> tuple[pd.DataFrame, int]:
        """Returns the frame, or its keys alone, and 0, for duplicates were left out when it was made; `since` changes nothing."""
        return self.frame[list(KEYS)] if only_keys else self.frame, 0


def last_of_each_window(frame: pd.DataFrame, of_day: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Returns the positions of the last row of each (user_id, bucket_start_ts), in the order of this key.

    A row in the folder of another day is taken only if no other row has its key.
    """
    users, starts = frame["user_id"].cat.codes.to_numpy(), epoch_us(frame["bucket_start_ts"])
    order = np.lexsort((of_day, starts, users))
    users, starts = users[order], starts[order]
    is_last = np.ones(len(order), dtype=bool)
    is_last[:-1] = (users[1:] != users[:-1]) | (starts[1:] != starts[:-1])
    return order[is_last]


def divide_users(counts: Sequence[int], part_windows: int) -> list[int]:
    """Returns the position of the first user of each part, and the number of users: as many users as have at most `part_windows` windows.

    A user with more is a part of their own.

    Args:
        counts: number of windows of each user, at least one user.
        part_windows: see `frame_parts.PART_WINDOWS`.
    """
    bounds, windows = [0], 0
    for position, count in enumerate(counts):
        if windows and windows + count > part_windows:
            bounds.append(position)
            windows = 0
        windows += count
    return [*bounds, len(counts)]


def _order_of(violation: ContractViolation, schema: FeatureSchema) -> int:
    """Returns the rank of a violation's column: times first, then the model inputs, so that the order is that of one frame."""
    names = ("bucket_start_ts", "bucket_end_ts", *schema.model_inputs)
    return names.index(violation.column or "")


def _write(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
