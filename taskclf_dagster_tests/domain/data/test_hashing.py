"""A digest names the values of a frame and nothing else: what must not change it, and what must."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from taskclf_dagster.domain.data.hashing import frame_digest, hash_row_keys, hash_row_labels
from taskclf_dagster_tests.scenario import MINUTE, at

Change = Callable[[pd.DataFrame], pd.DataFrame]


def small_frame() -> pd.DataFrame:
    """Four rows of two users with every kind of column that a snapshot has."""
    return pd.DataFrame(
        {
            "user_id": pd.Categorical(["alice", "alice", "bob", "bob"]),
            "bucket_start_ts": pd.DatetimeIndex([at("09:00"), at("09:01"), at("09:00"), at("09:01")]).as_unit("us"),
            "app_id": pd.Categorical(["editor", "browser", None, "editor"]),
            "keys_per_min": [12.5, np.nan, 0.0, 3.0],
            "hour_of_day": [9.0, 9.0, 9.0, 9.0],
            "is_editor": [True, False, False, True],
            "label": pd.Categorical(["Build", "ReadResearch", "Meet", "Build"]),
            "split": pd.Categorical(["train", "train", "validation", "test"]),
        }
    )


def set_value(column: str, row: int, value: object) -> Change:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        values = frame[column].astype(object).tolist()
        values[row] = value
        return frame.assign(**{column: pd.Categorical(values) if frame[column].dtype == "category" else values})

    return change


SAME_VALUES: dict[str, Change] = {
    "rows in another order": lambda f: f.iloc[[2, 0, 3, 1]],
    "another index": lambda f: f.set_index(np.arange(1000, 1004)),
    "columns in another order": lambda f: f[f.columns[::-1]],
    "text as str": lambda f: f.assign(**{name: f[name].tolist() for name in ("app_id", "user_id", "label")}),
    "text as object": lambda f: f.astype({"user_id": object, "split": object}),
    "categories that do not occur": lambda f: f.assign(
        label=f["label"].cat.add_categories(["Write"]), user_id=f["user_id"].cat.set_categories(["aaron", "alice", "bob"])
    ),
    "categories in another order": lambda f: f.assign(app_id=f["app_id"].cat.set_categories(["editor", "browser"])),
    "whole numbers as int64": lambda f: f.astype({"hour_of_day": "int64"}),
    "whole numbers as int8": lambda f: f.astype({"hour_of_day": "int8"}),
    "numbers as float32": lambda f: f.astype({"keys_per_min": "float32"}),
    "minus zero": set_value("keys_per_min", 2, -0.0),
    "times in nanoseconds": lambda f: f.assign(bucket_start_ts=f["bucket_start_ts"].dt.as_unit("ns")),
    "times in milliseconds": lambda f: f.assign(bucket_start_ts=f["bucket_start_ts"].dt.as_unit("ms")),
    "times in another zone": lambda f: f.assign(bucket_start_ts=f["bucket_start_ts"].dt.tz_convert("Europe/Vienna")),
    "another NaN": lambda f: f.assign(keys_per_min=np.where(f["keys_per_min"].isna(), -np.float64("nan"), f["keys_per_min"])),
}  # fmt: skip

OTHER_VALUES: dict[str, Change] = {
    "one number": set_value("keys_per_min", 3, 3.0000000000000004),
    "one whole number": set_value("hour_of_day", 0, 10.0),
    "one flag": set_value("is_editor", 1, True),
    "one text": set_value("app_id", 1, "terminal"),
    "one null text": set_value("app_id", 0, None),
    "a NaN more": set_value("keys_per_min", 0, np.nan),
    "a NaN that became zero": set_value("keys_per_min", 1, 0.0),
    "a NaN that moved": lambda f: f.assign(keys_per_min=[np.nan, 12.5, 0.0, 3.0]),
    "one label": set_value("label", 0, "Debug"),
    "two labels swapped": lambda f: f.assign(label=pd.Categorical(["ReadResearch", "Build", "Meet", "Build"])),
    "one split": set_value("split", 1, "validation"),
    "one user": set_value("user_id", 3, "carol"),
    "one time": lambda f: f.assign(bucket_start_ts=f["bucket_start_ts"].where(f.index < 3, f["bucket_start_ts"] + MINUTE)),
    "a column name": lambda f: f.rename(columns={"keys_per_min": "clicks_per_min"}),
    "two column names swapped": lambda f: f.rename(columns={"keys_per_min": "hour_of_day", "hour_of_day": "keys_per_min"}),
    "a column more": lambda f: f.assign(is_browser=False),
    "a column less": lambda f: f.drop(columns="is_editor"),
    "a row less": lambda f: f.head(3),
    "a category renamed": lambda f: f.assign(app_id=f["app_id"].cat.rename_categories({"editor": "edit0r"})),
    "a flag stored as a number": lambda f: f.astype({"is_editor": "int64"}),
}


@pytest.mark.parametrize("change", SAME_VALUES.values(), ids=SAME_VALUES)
def test_the_digest_does_not_depend_on_how_values_are_stored(change: Change) -> None:
    assert frame_digest(change(small_frame())) == frame_digest(small_frame())


@pytest.mark.parametrize("change", OTHER_VALUES.values(), ids=OTHER_VALUES)
def test_the_digest_depends_on_every_value(change: Change) -> None:
    assert frame_digest(change(small_frame())) != frame_digest(small_frame())


def test_no_two_of_the_changes_have_the_same_digest() -> None:
    digests = [frame_digest(change(small_frame())) for change in OTHER_VALUES.values()]
    assert len(set(digests)) == len(digests)


def test_the_digest_of_a_fixed_frame_never_changes() -> None:
    # If this fails, every dataset hash of every home has changed: stored snapshots no longer match what they are named after.
    assert frame_digest(small_frame()) == "b3250bb9e80acb966ad9bfa2d1a89e70b630f2957ddfcfdaaa9db53af4ba0f0e"


def test_the_digest_leaves_the_frame_as_it_was() -> None:
    frame = small_frame().iloc[::-1]
    before = frame.copy(deep=True)
    frame_digest(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_an_empty_frame_has_a_digest_of_its_own() -> None:
    assert frame_digest(small_frame().head(0)) == frame_digest(small_frame().iloc[[]].astype({"hour_of_day": "int64"}))
    assert frame_digest(small_frame().head(0)) != frame_digest(small_frame().head(1))


# --- Hashes of rows ---------------------------------------------------------------------------------------------------------------


def test_a_row_key_names_user_and_time_only() -> None:
    frame = small_frame()
    changed = frame.assign(keys_per_min=0.0, label=pd.Categorical(["Write"] * 4), split=pd.Categorical(["test"] * 4))
    assert hash_row_keys(changed).tolist() == hash_row_keys(frame).tolist()
    assert len(set(hash_row_keys(frame).tolist())) == 4


def test_a_row_key_stays_with_its_row_whatever_the_order_and_storage() -> None:
    frame = small_frame()
    other = frame.iloc[::-1].astype({"user_id": "str"}).assign(bucket_start_ts=frame["bucket_start_ts"].dt.as_unit("ns"))
    assert hash_row_keys(other).tolist() == hash_row_keys(frame)[::-1].tolist()


def test_a_row_label_hash_changes_with_the_label_and_with_nothing_else() -> None:
    frame = small_frame()
    relabelled = set_value("label", 1, "Write")(frame)
    assert (hash_row_labels(relabelled) != hash_row_labels(frame)).tolist() == [False, True, False, False]
    moved = frame.assign(split=pd.Categorical(["test"] * 4), keys_per_min=1.0)
    assert hash_row_labels(moved).tolist() == hash_row_labels(frame).tolist()


def test_the_hash_of_a_fixed_row_never_changes() -> None:
    # Bundles carry these hashes of their training rows: another value would hide that a champion has seen a test window.
    assert hash_row_keys(small_frame())[0] == 5_219_303_365_138_417_024
    assert hash_row_labels(small_frame())[0] == 4_126_555_090_887_907_375
