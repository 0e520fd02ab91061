"""The predictions that a bundle keeps: a table that people can read, the same when it is read back, and clear words if it is damaged."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.models.bundle_files import OUT_OF_FOLD, read_bundle_files
from taskclf_dagster.domain.models.out_of_fold import OutOfFold, read_out_of_fold
from taskclf_dagster.errors import BundleError


def some_predictions() -> OutOfFold:
    """Five windows of two users around midnight."""
    starts = pd.to_datetime(["2026-01-05 23:58", "2026-01-05 23:59", "2026-01-06 00:00", "2026-01-05 23:59", "2026-01-07 09:00"], utc=True)
    rows = pd.DataFrame(
        {"user_id": pd.Categorical(["zoe", "zoe", "zoe", "ann", "ann"]), "bucket_start_ts": starts, "label": pd.Categorical(["Build"] * 5)}
    )
    return OutOfFold.of(rows, np.random.default_rng(1).dirichlet(np.ones(8), size=5))


def test_predictions_are_read_as_they_were_written(tmp_path: Path) -> None:
    (tmp_path / OUT_OF_FOLD).write_bytes((predictions := some_predictions()).to_bytes())
    assert read_out_of_fold(read_bundle_files(tmp_path)).is_same_as(predictions)
    table = pd.read_parquet(tmp_path / OUT_OF_FOLD)
    assert list(table.columns) == ["user_id", "bucket_start_ts", "label", *LABELS]
    assert table["label"].tolist() == ["Build"] * 5
    assert table["user_id"].tolist() == ["zoe", "zoe", "zoe", "ann", "ann"]


def test_days_are_those_of_utc_and_user_days_those_of_each_user() -> None:
    predictions = some_predictions()
    assert (predictions.day - predictions.day.min()).tolist() == [0, 0, 1, 0, 2]
    assert predictions.user_day.tolist() == [2, 2, 3, 0, 1]


@pytest.mark.parametrize("content", [None, b"", b"PAR1", pd.DataFrame({"user_id": ["a"]}).to_parquet()])
def test_predictions_that_are_missing_or_damaged_are_an_error_that_names_the_file(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / OUT_OF_FOLD).write_bytes(content)
    with pytest.raises(BundleError, match=OUT_OF_FOLD):
        read_out_of_fold(read_bundle_files(tmp_path))
