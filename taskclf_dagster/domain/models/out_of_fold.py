"""Predictions of labeled windows by models that have not learned from them. They choose the reject threshold; the bundle keeps them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.data.snapshot_rows import label_codes
from taskclf_dagster.domain.data.times import DAY_US, epoch_us
from taskclf_dagster.domain.models.bundle_files import OUT_OF_FOLD, BundleFiles
from taskclf_dagster.domain.storage.stored_files import to_parquet
from taskclf_dagster.errors import BundleError
from taskclf_dagster.shown_text import reason_of

_Int = npt.NDArray[np.int64]


_KEYS = ["user_id", "bucket_start_ts"]


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of windows by models that have not learned from them.

    Attributes:
        rows: user_id (category) and bucket_start_ts (UTC) of each window, numbered from 0.
        true: its class index, shape (n,).
        probabilities: as float32, shape (n, 8), columns in the order of LABELS.
    """

    rows: pd.DataFrame
    true: _Int
    probabilities: npt.NDArray[np.float32]

    @classmethod
    def of(cls, rows: pd.DataFrame, probabilities: npt.NDArray[np.float64]) -> "OutOfFold":
        """Takes labeled rows as `build_snapshot` describes them, and their probabilities, shape (rows, 8)."""
        return cls(rows[_KEYS].reset_index(drop=True), label_codes(rows).astype(np.int64), probabilities.astype(np.float32))

    @property
    def confidence(self) -> npt.NDArray[np.float64]:
        """The largest probability of each window, shape (n,)."""
        return self.probabilities.max(axis=1).astype(np.float64)

    @property
    def predicted(self) -> _Int:
        """The class index of the largest probability, shape (n,)."""
        return self.probabilities.argmax(axis=1)

    @cached_property
    def day(self) -> _Int:
        """The UTC day of each window, in days since 1970, shape (n,)."""
        return epoch_us(self.rows["bucket_start_ts"]) // DAY_US

    @cached_property
    def user_day(self) -> _Int:
        """The number of the user-day of each window, from 0, shape (n,)."""
        users = self.rows["user_id"].cat.codes.to_numpy().astype(np.int64)
        return np.unique(users * (self.day.max(initial=0) + 1) + self.day, return_inverse=True)[1]

    def is_same_as(self, other: "OutOfFold") -> bool:
        """Returns True if windows, labels and probabilities are equal, to the last bit."""
        return (
            np.array_equal(hash_row_keys(self.rows), hash_row_keys(other.rows))
            and np.array_equal(self.true, other.true)
            and np.array_equal(self.probabilities, other.probabilities)
        )

    def to_bytes(self) -> bytes:
        """Returns parquet with user_id, bucket_start_ts, label, and the probability of each label in a column of its name."""
        columns = {"label": pd.Categorical.from_codes(self.true, list(LABELS)), **dict(zip(LABELS, self.probabilities.T, strict=True))}
        return to_parquet(pa.Table.from_pandas(self.rows.assign(**columns), preserve_index=False))


def read_out_of_fold(files: BundleFiles) -> OutOfFold:
    """Reads the predictions that a bundle keeps.

    Raises:
        BundleError: the bundle has none, as those of other programs, or they cannot be read.
    """
    try:
        rows = pq.read_table(pa.BufferReader(files.content(OUT_OF_FOLD)), use_threads=False).to_pandas()
        return OutOfFold.of(rows.astype({"user_id": "category"}), rows[list(LABELS)].to_numpy(dtype=np.float64))
    except (pa.ArrowException, OSError, LookupError, TypeError, ValueError) as error:
        raise BundleError(files.folder, "predictions", f"invalid: {OUT_OF_FOLD} cannot be read: {reason_of(error)}") from error
