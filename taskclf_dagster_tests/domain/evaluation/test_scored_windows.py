"""The predictions of a model with their distance from its training windows: matched, taken apart, written and read back."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.evaluation.confusion import REJECTED
from taskclf_dagster.domain.evaluation.leakage import measure_training_distance
from taskclf_dagster.domain.evaluation.predictions import Predictions
from taskclf_dagster.domain.evaluation.scored_windows import (
    ScoredWindows,
    add_training_distance,
    load_scored_windows,
    save_scored_windows,
)
from taskclf_dagster.domain.models.bundle import parse_bundle
from taskclf_dagster.domain.models.bundle_files import TRAINING_ROWS
from taskclf_dagster.domain.storage.files import hash_file
from taskclf_dagster.domain.storage.stored_files import StoredFile
from taskclf_dagster.errors import SnapshotError, UnreadableFileError
from taskclf_dagster_tests.models import MID, duel_rows, named, sliced, write_tiny_bundle

ROWS = duel_rows()
"""400 windows; the bundle below was trained on the first 30 of them."""


@pytest.fixture
def scored(tmp_path: Path) -> ScoredWindows:
    folder = write_tiny_bundle(tmp_path / MID)
    np.save(folder / TRAINING_ROWS, np.sort(hash_row_keys(ROWS.head(30))))
    return add_training_distance(ROWS, named(ROWS), parse_bundle(folder))


def test_the_distance_is_that_of_each_predicted_window_whatever_the_order_of_the_predictions(tmp_path: Path, scored: ScoredWindows) -> None:
    order = np.random.default_rng(1).permutation(len(ROWS))[:250]
    said = named(ROWS)
    some = Predictions(said.key[order], said.true[order], said.predicted[order])
    found = add_training_distance(ROWS, some, parse_bundle(tmp_path / MID))
    expected = measure_training_distance(ROWS, parse_bundle(tmp_path / MID)).minutes[order]
    assert found.distance.minutes.tolist() == expected.tolist()
    assert {0, 61} <= set(expected.tolist())
    again = scored.in_order(some.key)
    assert (again.key.tolist(), again.distance.minutes.tolist()) == (some.key.tolist(), expected.tolist())


@pytest.mark.parametrize("with_hashes", [True, False])
def test_scored_windows_are_read_back_as_they_were(tmp_path: Path, scored: ScoredWindows, with_hashes: bool) -> None:
    if not with_hashes:
        (tmp_path / MID / TRAINING_ROWS).unlink()
        scored = add_training_distance(ROWS, scored.predictions, parse_bundle(tmp_path / MID))
    said = replace(scored.predictions, predicted=np.where(scored.predictions.true == 0, REJECTED, scored.predictions.true))
    scored = ScoredWindows(said, scored.distance)
    stored = save_scored_windows(tmp_path, tmp_path / "predictions" / "model.parquet", scored, ROWS.sample(frac=1, random_state=1))
    found, rows = load_scored_windows(tmp_path, stored)
    assert hash_row_keys(rows).tolist() == said.key.tolist()
    for name in ("key", "true", "predicted"):
        column, expected = getattr(found.predictions, name), getattr(said, name)
        assert (column.dtype, column.tolist()) == (expected.dtype, expected.tolist())
    assert found.distance.report() == scored.distance.report()
    assert found.distance.report().basis == ("row_hashes" if with_hashes else "training_dates")
    assert found.distance.minutes.tolist() == scored.distance.minutes.tolist()


def test_what_windows_are_sliced_by_is_read_back_and_may_lack_in_files_of_earlier_versions(tmp_path: Path, scored: ScoredWindows) -> None:
    rows = sliced(ROWS, category=np.where(ROWS.index % 2, "editor", "browser"), after_idle=ROWS.index % 5 == 0)
    knows = ROWS.index.to_numpy() % 3 == 0
    scored = replace(scored, knows=knows)
    stored = save_scored_windows(tmp_path, tmp_path / "model.parquet", scored, rows.sample(frac=1, random_state=1))
    found, described = load_scored_windows(tmp_path, stored)
    columns = ["app_category", "hour_of_day", "schema_version", "idle_return_indicator"]
    assert described[columns].to_numpy().tolist() == rows[columns].to_numpy().tolist()
    assert found.knows is not None
    assert found.knows.tolist() == knows.tolist()
    some = found.take(np.arange(400) % 4 == 0).knows
    assert some is not None
    assert some.tolist() == knows[::4].tolist()
    bare, without = load_scored_windows(
        tmp_path, save_scored_windows(tmp_path, tmp_path / "bare.parquet", replace(scored, knows=None), ROWS)
    )
    assert (bare.knows, list(without.columns)) == (None, ["user_id", "bucket_start_ts"])


def test_a_model_without_any_window_is_read_back_too(tmp_path: Path, scored: ScoredWindows) -> None:
    nothing = scored.take(np.zeros(len(ROWS), dtype=bool))
    found, _ = load_scored_windows(tmp_path, save_scored_windows(tmp_path, tmp_path / "model.parquet", nothing, ROWS))
    assert (len(found.key), found.distance.report().windows, found.distance.model_id) == (0, 0, MID)


def _without_source(path: Path) -> None:
    empty = np.array([], dtype=np.int8)
    pd.DataFrame({"key": empty, "true": empty, "predicted": empty, "minutes_to_training": empty}).to_parquet(path)


def _with_another_basis(path: Path) -> None:
    source = {"model_id": MID, "basis": "guesses", "trained_from": "2026-01-05", "trained_to": "2026-01-06"}
    _without_source(path)
    pq.write_table(pq.read_table(path).replace_schema_metadata({"trained_on": json.dumps(source)}), path)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"PAR1 no parquet"),
        _without_source,
        _with_another_basis,
    ],
    ids=["empty", "torn", "without the model", "with a basis that nobody knows"],
)
def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path, write: object) -> None:
    path = tmp_path / "model.parquet"
    write(path)  # type: ignore[operator]
    with pytest.raises(SnapshotError, match=r"model\.parquet"):
        load_scored_windows(tmp_path, StoredFile(path=path.name, sha256=hash_file(path)))


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(path.read_bytes() + b" ")], ids=["gone", "changed"])
def test_a_file_that_was_changed_after_it_was_written_is_refused_by_name(tmp_path: Path, scored: ScoredWindows, change: object) -> None:
    stored = save_scored_windows(tmp_path, tmp_path / "model.parquet", scored, ROWS)
    change(tmp_path / "model.parquet")  # type: ignore[operator]
    with pytest.raises(UnreadableFileError, match=r"model\.parquet"):
        load_scored_windows(tmp_path, stored)


def test_labels_fit_into_the_file() -> None:
    assert len(LABELS) <= REJECTED < 128
