"""Pictures of a record: they have ink, they differ where the figures do, and they are small, because they lie in the event log."""

import base64
import io
import re
from collections.abc import Callable
from dataclasses import dataclass

import dagster as dg
import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from taskclf_dagster.defs.display.pictures import calibration_picture, confusion_picture, importance_picture, interval_picture
from taskclf_dagster.domain.evaluation.comparison import Comparison
from taskclf_dagster.domain.evaluation.metrics import EvaluationReport, evaluate
from taskclf_dagster.domain.evaluation.resampling import bootstrap_distribution
from taskclf_dagster_tests.models import beside_champion, duel_rows, named, some

DATA_URL = re.compile(r"^!\[(?P<name>[^\]]+)\]\(data:image/png;base64,(?P<content>[A-Za-z0-9+/=]+)\)$")
LARGEST = 50_000
BLUE, RED = (31, 78, 140), (176, 48, 48)
"""What the interval and the bound are drawn in."""


# --- Inputs -----------------------------------------------------------------------------------------------------------------------


def _report(*, right: float = 0.75, n: int = 40) -> EvaluationReport:
    """n windows of each label; the model is right on the first share of each, and takes the rest for the next label."""
    true = np.repeat(np.arange(8), n)
    rank = np.tile(np.arange(n), 8)
    said = np.where(rank < right * n, true, (true + 1) % 8)
    probabilities = np.full((len(true), 8), 0.2 / 7)
    probabilities[np.arange(len(true)), said] = 0.8
    return _evaluate(true, probabilities)


def _believable_report() -> EvaluationReport:
    """Eight labels with curves that wiggle over all ten bins, as every real model has them."""
    rng = np.random.default_rng(1)
    true = np.repeat(np.arange(8), 100)
    scores = rng.normal(size=(len(true), 8))
    scores[np.arange(len(true)), true] += 2.0
    probabilities = np.exp(1.5 * scores) / np.exp(1.5 * scores).sum(axis=1, keepdims=True)
    return _evaluate(true, probabilities)


def _evaluate(true: np.ndarray, probabilities: np.ndarray) -> EvaluationReport:
    n = len(true)
    rows = pd.DataFrame(
        {
            "user_id": pd.Categorical(["alice"] * n),
            "session_id": pd.Categorical(["s"] * n),
            "bucket_start_ts": pd.date_range("2026-01-05", periods=n, freq="min", tz="UTC"),
        }
    )
    judging = {"reject_threshold": 0.5, "min_class_windows": 30, "unseen_users": []}
    return evaluate(rows, true, probabilities, model_id="m-1", schema_version="v1", **judging)[0]


def _interval(comparison: Comparison, *, bound: float) -> dg.MetadataValue:
    resampled = bootstrap_distribution(comparison.sums, judged_labels=comparison.judged_labels, significance=0.05, seed=7, replicates=500)
    return interval_picture(comparison.evidence, resampled, bound=bound)


def _compared(*, challenger_wrong: float = 0.1, champion_wrong: float = 0.3, days: int = 6) -> Comparison:
    """Two models that are wrong about these shares of the windows, not quite the same share every day."""
    rows = duel_rows({"ann": 5, "bob": 4}, days=days)
    odd = rows["bucket_start_ts"].dt.day % 2 == 1
    ours = some(rows, challenger_wrong, among=odd) | some(rows, challenger_wrong / 2, among=~odd)
    theirs = some(rows, champion_wrong, after=challenger_wrong)
    return beside_champion(rows, named(rows, wrong=ours), named(rows, wrong=theirs))


BETTER = {"challenger_wrong": 0.02, "champion_wrong": 0.5}
WORSE = {"challenger_wrong": 0.8, "champion_wrong": 0.02}


# --- Looking at a picture ---------------------------------------------------------------------------------------------------------


def _png(value: dg.MetadataValue) -> bytes:
    assert isinstance(value, dg.MarkdownMetadataValue)
    found = DATA_URL.match(value.md_str or "")
    assert found, f"not a markdown image: {str(value.md_str)[:90]}"
    return base64.b64decode(found["content"])


def _pixels(value: dg.MetadataValue) -> np.ndarray:
    """Red, green and blue from 0 to 255, shape (height, width, 3)."""
    image = matplotlib.image.imread(io.BytesIO(_png(value)), format="png")
    return np.round(image[..., :3] * 255).astype(int)


def _has_ink(value: dg.MetadataValue) -> bool:
    pixels = _pixels(value)
    return min(pixels.shape[:2]) > 200 and pixels.std() > 12


@dataclass(frozen=True)
class Seen:
    """Where the interval and the bound were drawn, in columns of pixels."""

    left: int
    right: int
    bound: int


def _look(value: dg.MetadataValue) -> Seen:
    """Finds the longest horizontal line in the interval's colour, and the column with most of the bound's."""
    pixels = _pixels(value)
    blue, red = (np.abs(pixels - np.array(colour)).sum(axis=2) < 60 for colour in (BLUE, RED))
    row = blue[int(blue.sum(axis=1).argmax())]
    columns = np.flatnonzero(row)
    return Seen(int(columns.min()), int(columns.max()), int(red.sum(axis=0).argmax()))


# --- How sure a difference is -----------------------------------------------------------------------------------------------------


def test_the_interval_is_a_picture_with_ink() -> None:
    assert _has_ink(_interval(_compared(), bound=-0.02))


def test_another_interval_is_another_picture_and_the_same_one_the_same_bytes() -> None:
    one, again, other = (_interval(_compared(**shares), bound=-0.02) for shares in ({}, {}, BETTER))
    assert _png(one) == _png(again) != _png(other)


def test_another_bound_is_another_picture() -> None:
    assert _png(_interval(_compared(), bound=-0.02)) != _png(_interval(_compared(), bound=-0.2))


def test_an_interval_above_the_bound_is_drawn_to_the_right_of_it_and_one_below_to_the_left() -> None:
    better, worse = (_look(_interval(_compared(**shares), bound=-0.02)) for shares in (BETTER, WORSE))
    assert better.bound < better.left < better.right
    assert worse.left < worse.right < worse.bound


def test_the_bound_is_drawn_within_an_interval_that_reaches_both_sides_of_it() -> None:
    compared = _compared()
    assert compared.evidence.interval is not None
    seen = _look(_interval(compared, bound=sum(compared.evidence.interval) / 2))
    assert seen.left < seen.bound < seen.right


def test_a_difference_without_an_interval_is_drawn_without_one() -> None:
    single = beside_champion(*_one_day())
    assert single.evidence.difference is not None
    assert single.evidence.interval is None
    picture = _interval(single, bound=-0.02)
    assert _has_ink(picture)
    blue = np.abs(_pixels(picture) - np.array(BLUE)).sum(axis=2) < 60
    assert not blue.any()


def _one_day() -> tuple[pd.DataFrame, object, object]:
    rows = duel_rows({"ann": 40}, days=1)
    return rows, named(rows), named(rows, wrong=some(rows, 0.2))


def test_nothing_to_compare_on_is_drawn_all_the_same() -> None:
    rows = duel_rows().head(0)
    nothing = beside_champion(rows, named(rows), named(rows))
    assert (nothing.windows, nothing.evidence.difference) == (0, None)
    assert _has_ink(_interval(nothing, bound=0.0))


def test_two_models_that_say_the_same_are_drawn_as_one_bar_at_zero() -> None:
    rows = duel_rows()
    same = beside_champion(rows, named(rows), named(rows))
    assert same.evidence.interval == (0.0, 0.0)
    assert _has_ink(_interval(same, bound=-0.02))


# --- Confusion, calibration, importance -------------------------------------------------------------------------------------------


def test_the_confusion_matrix_is_a_picture_with_ink() -> None:
    assert _has_ink(confusion_picture(_report()))


def test_another_confusion_matrix_is_another_picture() -> None:
    assert _png(confusion_picture(_report())) != _png(confusion_picture(_report(right=0.25)))


def test_a_model_that_is_always_right_is_dark_on_the_diagonal_only() -> None:
    pixels = _pixels(confusion_picture(_report(right=1.0))).sum(axis=2)
    dark = pixels < 300
    rows, columns = np.nonzero(dark)
    high, low = rows < np.median(rows), rows >= np.median(rows)
    assert columns[high].mean() < columns[low].mean() - 50


def test_the_calibration_curves_are_a_picture() -> None:
    assert _has_ink(calibration_picture(_report()))
    assert _png(calibration_picture(_report())) != _png(calibration_picture(_believable_report()))


def test_the_importance_of_the_inputs_is_a_picture_with_the_longest_bar_for_the_most_important() -> None:
    picture = importance_picture([("keys_per_min", 0.6), ("clicks_per_min", 0.3), ("app_id", 0.1)])
    assert _has_ink(picture)
    blue = np.abs(_pixels(picture) - np.array((68, 120, 184))).sum(axis=2) < 60
    bars = [int(row.sum()) for row in blue if row.sum() > 20]
    assert bars[0] > 1.8 * bars[len(bars) // 2] > 1.8 * bars[-1]


def test_a_model_without_any_importance_is_a_picture_all_the_same() -> None:
    assert _pixels(importance_picture([])).shape[0] > 200


@pytest.mark.parametrize(
    "draw",
    [
        lambda: confusion_picture(_believable_report()),
        lambda: calibration_picture(_believable_report()),
        lambda: _interval(_compared(days=30), bound=-0.02),
        lambda: importance_picture([(f"a_rather_long_name_of_an_input_{i}", 1 / (i + 2)) for i in range(15)]),
    ],
    ids=["confusion", "calibration", "interval", "importance"],
)
def test_a_picture_of_a_believable_model_stays_small(draw: Callable[[], dg.MetadataValue]) -> None:
    assert 1000 < len(_png(draw())) <= LARGEST
