"""The label store as it was at an earlier time.

The store does not say when a label was given: a label counts as known from the end of its span.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from taskclf_dagster.domain.data.parquet_files import reading_parquet
from taskclf_dagster.domain.data.times import read_epoch_times, to_epoch_us
from taskclf_dagster.domain.storage.files import write_atomic
from taskclf_dagster.errors import LabelColumnsError
from taskclf_dagster.home import Home

_FIX = "Export the labels from taskclf again"


class KnownLabels:
    """The label spans of a home, and the time from which each is known.

    Args:
        home: the taskclf home; its label store is read once.

    Raises:
        LabelColumnsError: the label store has no usable column end_ts.
        UnreadableFileError: the label store cannot be read.
    """

    def __init__(self, home: Home) -> None:
        self._table: pa.Table | None = None
        self._known = np.empty(0, dtype=np.int64)
        if not home.labels.exists():
            return
        with reading_parquet(home.labels, fix="Restore the label store from taskclf or a backup"):
            self._table = pq.read_table(home.labels)
        if "end_ts" not in self._table.column_names or not pa.types.is_timestamp(self._table.schema.field("end_ts").type):
            raise LabelColumnsError(home.labels, "its column end_ts is missing, or holds no times", _FIX)
        self._known = read_epoch_times(self._table["end_ts"]).us

    @property
    def count(self) -> int:
        """Number of spans in the label store."""
        return len(self._known)

    def write(self, home: Home, now: datetime) -> None:
        """Writes the spans that are known by a time into the label store of another home, unless it holds them already."""
        if self._table is None:
            return
        mask = self._known <= to_epoch_us(now)
        known = self._table.filter(pa.array(mask))
        if not home.labels.exists() or pq.read_metadata(home.labels).num_rows != known.num_rows:
            write_atomic(home.labels, partial(pq.write_table, known))

    def list_ends(self, first: datetime, last: datetime) -> Sequence[datetime]:
        """Returns the times within a range at which a label becomes known, sorted, each once."""
        low, high = to_epoch_us(first), to_epoch_us(last)
        ends = np.unique(self._known[(self._known >= low) & (self._known <= high)])
        return [datetime.fromtimestamp(end / 1e6, UTC) for end in ends.tolist()]
