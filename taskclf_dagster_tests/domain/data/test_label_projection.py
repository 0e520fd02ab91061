"""Which window gets which label: the rules one by one, then all of them against a slow and simple second implementation."""

import numpy as np
import pandas as pd
import pytest

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.label_projection import Projection, project_blocks_to_windows
from taskclf_dagster_tests.scenario import MINUTE, at, span, spans_frame, weak


def windows(*users: str, start: str = "09:00", n: int = 10) -> pd.DataFrame:
    """n windows in a row for each user, sorted as the reader gives them."""
    names = sorted(users or ("alice",))
    starts = pd.date_range(at(start), periods=n, freq="min").as_unit("us")
    return pd.DataFrame(
        {"user_id": pd.Categorical(np.repeat(names, n), categories=names), "bucket_start_ts": pd.DatetimeIndex(np.tile(starts, len(names)))}
    )


def project(rows: pd.DataFrame, *spans: dict[str, object]) -> Projection:
    return project_blocks_to_windows(rows, spans_frame(spans))


def labels_of(projection: Projection) -> list[str | None]:
    return [LABELS[label] if label >= 0 else None for label in projection.label]


def five(*spans: dict[str, object]) -> list[str | None]:
    """The labels of alice's windows from 09:00 to 09:05."""
    return labels_of(project(windows(n=5), *spans))


# --- One span -------------------------------------------------------------------------------------------------------------------


def test_windows_that_lie_wholly_in_a_span_get_its_label() -> None:
    assert five(span(at("09:01"), at("09:04"), "Debug")) == [None, "Debug", "Debug", "Debug", None]


def test_a_window_that_is_half_covered_is_not_labelled() -> None:
    projection = project(windows(n=5), span(at("09:00:30"), at("09:03:30"), "Debug"))
    assert labels_of(projection) == [None, "Debug", "Debug", None, None]
    assert projection.unlabeled == {"not_covered": 1, "partly_covered": 2, "several_spans": 0}


@pytest.mark.parametrize(
    ("start", "end", "labelled"),
    [
        ("09:01", "09:02", True),  # exactly the window
        ("09:01:00.000001", "09:02", False),  # a microsecond of it is missing
        ("09:01", "09:01:59.999999", False),
        ("09:00", "09:03", True),
    ],
)
def test_the_whole_interval_of_a_window_must_lie_in_the_span(start: str, end: str, *, labelled: bool) -> None:
    assert (five(span(at(start), at(end), "Build"))[1] == "Build") is labelled


def test_a_span_ends_before_its_end_so_the_window_that_starts_there_is_not_touched() -> None:
    projection = project(windows(n=3), span(at("09:00"), at("09:01"), "Build"))
    assert labels_of(projection) == ["Build", None, None]
    assert projection.unlabeled == {"not_covered": 2, "partly_covered": 0, "several_spans": 0}


def test_a_span_within_one_minute_labels_nothing() -> None:
    projection = project(windows(n=3), span(at("09:01:10"), at("09:01:50"), "Build"))
    assert labels_of(projection) == [None, None, None]
    assert projection.unlabeled["partly_covered"] == 1


def test_every_label_can_be_given() -> None:
    found = {label: five(span(at("09:00"), at("09:05"), label)) for label in LABELS}
    assert found == {label: [label] * 5 for label in LABELS}


def test_a_span_that_began_long_ago_and_ends_late_covers_everything() -> None:
    assert five(span(at("09:00", day=-40), at("09:00", day=40), "Write")) == ["Write"] * 5


def test_a_span_of_another_time_labels_nothing() -> None:
    assert five(span(at("08:00"), at("09:00"), "Write"), span(at("09:05"), at("10:00"), "Write")) == [None] * 5


# --- Several spans (D40) ----------------------------------------------------------------------------------------------------------


def test_a_window_on_the_seam_of_two_same_label_spans_is_labelled() -> None:
    assert five(span(at("09:00"), at("09:02:30"), "Build"), span(at("09:02:30"), at("09:05"), "Build")) == ["Build"] * 5


def test_a_window_on_the_seam_of_two_labels_is_dropped() -> None:
    projection = project(windows(n=5), span(at("09:00"), at("09:02:30"), "Build"), span(at("09:02:30"), at("09:05"), "Debug"))
    assert labels_of(projection) == ["Build", "Build", None, "Debug", "Debug"]
    assert projection.unlabeled == {"not_covered": 0, "partly_covered": 0, "several_spans": 1}


def test_a_window_in_a_gap_of_a_second_between_same_label_spans_is_dropped() -> None:
    assert five(span(at("09:00"), at("09:02:30"), "Build"), span(at("09:02:31"), at("09:05"), "Build"))[2] is None


def test_a_window_inside_one_span_and_half_inside_another_is_dropped() -> None:
    assert five(span(at("09:00"), at("09:05"), "Build"), span(at("09:02:30"), at("09:03"), "Debug")) == [
        "Build",
        "Build",
        None,
        "Build",
        "Build",
    ]


def test_windows_in_two_spans_of_different_labels_are_dropped() -> None:
    projection = project(windows(n=5), span(at("09:00"), at("09:04"), "Build"), span(at("09:02"), at("09:05"), "Debug"))
    assert labels_of(projection) == ["Build", "Build", None, None, "Debug"]
    assert projection.unlabeled["several_spans"] == 2


def test_overlapping_spans_of_the_same_label_are_one_span() -> None:
    spans = span(at("09:00"), at("09:03:20"), "Build"), span(at("09:01:40"), at("09:05"), "Build")
    projection = project(windows(n=5), *spans)
    assert labels_of(projection) == ["Build"] * 5
    assert len(set(projection.span.tolist())) == 1


def test_a_span_inside_a_longer_one_of_the_same_label_does_not_shorten_it() -> None:
    assert five(span(at("09:00"), at("09:05"), "Build"), span(at("09:01"), at("09:02"), "Build")) == ["Build"] * 5


def test_a_span_after_a_shorter_one_still_belongs_to_the_longer_one_around_both() -> None:
    spans = [span(at("09:00"), at("09:05"), "Build"), span(at("09:01"), at("09:02"), "Build"), span(at("09:03"), at("09:04"), "Build")]
    projection = project(windows(n=5), *spans)
    assert labels_of(projection) == ["Build"] * 5
    assert len(set(projection.span.tolist())) == 1


def test_the_same_span_twice_is_one_span() -> None:
    assert five(*[span(at("09:00"), at("09:05"), "Build")] * 2) == ["Build"] * 5


def test_spans_that_do_not_touch_have_numbers_of_their_own() -> None:
    projection = project(windows(n=5), span(at("09:00"), at("09:02"), "Build"), span(at("09:03"), at("09:05"), "Build"))
    first, second = projection.span[0], projection.span[3]
    assert projection.span.tolist() == [first, first, -1, second, second]
    assert first != second


def test_spans_of_gold_and_weak_labels_and_of_two_users_have_numbers_of_their_own() -> None:
    projection = project(
        windows("alice", "bob", n=4),
        span(at("09:00"), at("09:02"), "Build"),
        weak(at("09:02"), at("09:04"), "Build"),
        span(at("09:00"), at("09:04"), "Build", user="bob"),
    )
    numbers = projection.span.tolist()
    assert len({numbers[0], numbers[2], numbers[4]}) == 3
    assert numbers == [numbers[0]] * 2 + [numbers[2]] * 2 + [numbers[4]] * 4


# --- extend_forward (D41) ---------------------------------------------------------------------------------------------------------


def test_a_point_span_extends_to_the_start_of_the_next_span() -> None:
    assert five(span(at("09:00"), at("09:00"), "Build", extend_forward=True), span(at("09:03"), at("09:05"), "Debug")) == [
        "Build", "Build", "Build", "Debug", "Debug",
    ]  # fmt: skip


def test_a_point_span_without_a_next_span_labels_nothing() -> None:
    assert five(span(at("09:00"), at("09:00"), "Build", extend_forward=True)) == [None] * 5


def test_an_extended_span_without_a_next_span_ends_at_its_own_end() -> None:
    assert five(span(at("09:00"), at("09:02"), "Build", extend_forward=True)) == ["Build", "Build", None, None, None]


def test_an_extended_span_gives_way_to_a_next_span_that_starts_before_its_own_end() -> None:
    assert five(span(at("09:00"), at("09:04"), "Build", extend_forward=True), span(at("09:02"), at("09:03"), "Debug")) == [
        "Build", "Build", "Debug", None, None,
    ]  # fmt: skip


def test_a_span_that_does_not_extend_leaves_the_gap_to_the_next_one() -> None:
    assert five(span(at("09:00"), at("09:01"), "Build"), span(at("09:03"), at("09:05"), "Debug")) == ["Build", None, None, "Debug", "Debug"]


def test_the_next_span_of_another_user_does_not_count() -> None:
    spans = span(at("09:00"), at("09:01"), "Build", extend_forward=True), span(at("09:04"), at("09:05"), "Debug", user="bob")
    assert labels_of(project(windows("alice", "bob", n=5), *spans))[:5] == ["Build", None, None, None, None]


def test_the_next_span_may_be_one_of_everyone() -> None:
    assert five(span(at("09:00"), at("09:00"), "Build", extend_forward=True), span(at("09:04"), at("09:05"), "Meet", user=None)) == [
        "Build", "Build", "Build", "Build", "Meet",
    ]  # fmt: skip


def test_a_chain_of_point_spans_extends_from_one_to_the_next() -> None:
    points = [span(at(f"09:0{i}"), at(f"09:0{i}"), label, extend_forward=True) for i, label in ((0, "Build"), (2, "Debug"), (4, "Write"))]
    assert five(*points) == ["Build", "Build", "Debug", "Debug", None]


def test_a_gold_span_extends_over_weak_spans_to_the_next_gold_span() -> None:
    assert five(
        span(at("09:00"), at("09:00"), "Build", extend_forward=True),
        weak(at("09:02"), at("09:03"), "Write"),
        span(at("09:04"), at("09:05"), "Debug"),
    ) == ["Build", "Build", "Build", "Build", "Debug"]


def test_a_gold_span_with_only_weak_spans_after_it_ends_at_its_own_end() -> None:
    assert five(span(at("09:00"), at("09:01"), "Build", extend_forward=True), weak(at("09:03"), at("09:05"), "Write")) == [
        "Build", None, None, "Write", "Write",
    ]  # fmt: skip


def test_a_weak_span_extends_only_to_the_next_span_of_either_kind() -> None:
    assert five(
        weak(at("09:00"), at("09:00"), "Build", extend_forward=True),
        span(at("09:02"), at("09:03"), "Debug"),
        weak(at("09:04"), at("09:05"), "Write"),
    ) == ["Build", "Build", "Debug", None, "Write"]


# --- Gold before weak (D42) -------------------------------------------------------------------------------------------------------


def test_a_weak_span_labels_only_where_no_gold_span_touches_the_window() -> None:
    projection = project(windows(n=5), weak(at("09:00"), at("09:05"), "Write"), span(at("09:01"), at("09:03"), "Build"))
    assert labels_of(projection) == ["Write", "Build", "Build", "Write", "Write"]
    assert projection.gold.tolist() == [False, True, True, False, False]


def test_a_weak_span_does_not_rescue_a_window_that_gold_covers_by_half() -> None:
    projection = project(windows(n=3), weak(at("09:00"), at("09:03"), "Write"), span(at("09:01:30"), at("09:01:40"), "Build"))
    assert labels_of(projection) == ["Write", None, "Write"]
    assert projection.unlabeled == {"not_covered": 0, "partly_covered": 1, "several_spans": 0}


def test_a_weak_span_does_not_rescue_a_window_on_which_two_gold_spans_disagree() -> None:
    spans = span(at("09:00"), at("09:02"), "Build"), span(at("09:01"), at("09:03"), "Debug"), weak(at("09:00"), at("09:03"), "Build")
    projection = project(windows(n=3), *spans)
    assert labels_of(projection) == ["Build", None, "Debug"]
    assert projection.unlabeled["several_spans"] == 1


def test_a_weak_span_of_another_label_does_not_drop_a_gold_window() -> None:
    projection = project(windows(n=2), span(at("09:00"), at("09:02"), "Build"), weak(at("09:00"), at("09:02"), "Debug"))
    assert labels_of(projection) == ["Build", "Build"]
    assert projection.gold.tolist() == [True, True]


def test_two_weak_spans_that_disagree_label_nothing() -> None:
    projection = project(windows(n=5), weak(at("09:00"), at("09:03"), "Write"), weak(at("09:02"), at("09:05"), "Debug"))
    assert labels_of(projection) == ["Write", "Write", None, "Debug", "Debug"]
    assert projection.unlabeled["several_spans"] == 1


def test_a_weak_and_a_gold_span_of_one_label_do_not_merge_across_their_seam() -> None:
    projection = project(windows(n=3), span(at("09:00"), at("09:01:30"), "Build"), weak(at("09:01:30"), at("09:03"), "Build"))
    assert labels_of(projection) == ["Build", None, "Build"]
    assert projection.gold.tolist() == [True, False, False]


def test_synthetic_spans_are_weak() -> None:
    projection = project(
        windows(n=2), span(at("09:00"), at("09:02"), "Build", provenance="synthetic"), span(at("09:01"), at("09:02"), "Debug")
    )
    assert labels_of(projection) == ["Build", "Debug"]
    assert projection.gold.tolist() == [False, True]


# --- Users (D43) ------------------------------------------------------------------------------------------------------------------


def test_a_span_labels_only_windows_of_its_user() -> None:
    assert labels_of(project(windows("alice", "bob", n=2), span(at("09:00"), at("09:02"), "Build", user="bob"))) == [
        None,
        None,
        "Build",
        "Build",
    ]


def test_a_span_of_nobody_labels_the_windows_of_every_user() -> None:
    assert labels_of(project(windows("alice", "bob", n=2), span(at("09:00"), at("09:02"), "Meet", user=None))) == ["Meet"] * 4


def test_a_span_of_nobody_that_disagrees_with_a_users_own_span_drops_only_that_users_windows() -> None:
    projection = project(
        windows("alice", "bob", n=3),
        span(at("09:00"), at("09:03"), "Meet", user=None),
        span(at("09:01"), at("09:02"), "Build", user="alice"),
    )
    assert labels_of(projection) == ["Meet", None, "Meet", "Meet", "Meet", "Meet"]


def test_a_span_of_nobody_merges_with_a_users_own_span_of_its_label() -> None:
    spans = span(at("09:00"), at("09:01:30"), "Meet", user=None), span(at("09:01:30"), at("09:03"), "Meet", user="alice")
    assert labels_of(project(windows("alice", "bob", n=3), *spans)) == ["Meet", "Meet", "Meet", "Meet", None, None]


def test_users_with_spans_but_without_windows_are_named() -> None:
    spans = [span(at("09:00"), at("09:02"), "Build", user=user) for user in ("zoe", "alice", "carol")]
    projection = project(windows("alice", n=2), *spans, span(at("09:00"), at("09:01"), "Build", user=None))
    assert projection.users_without_windows == ["carol", "zoe"]
    assert labels_of(projection) == ["Build", "Build"]


# --- Nothing to do ----------------------------------------------------------------------------------------------------------------


def test_without_spans_no_window_is_covered() -> None:
    projection = project(windows(n=3))
    assert labels_of(projection) == [None] * 3
    assert projection.unlabeled == {"not_covered": 3, "partly_covered": 0, "several_spans": 0}
    assert projection.span.tolist() == [-1] * 3


def test_without_windows_there_is_nothing_to_label() -> None:
    projection = project(windows(n=0), span(at("09:00"), at("09:02"), "Build"))
    assert len(projection.label) == len(projection.gold) == len(projection.span) == 0


def test_spans_of_other_users_only_cover_nothing() -> None:
    projection = project(windows("alice", n=2), span(at("09:00"), at("09:02"), "Build", user="zoe"))
    assert labels_of(projection) == [None, None]


# --- All rules at once ------------------------------------------------------------------------------------------------------------

TICKS = 4  # a window of 60 s in ticks of 15 s, so that spans begin and end within minutes
TICK = MINUTE / TICKS


def paint(n: int, spans: list[dict[str, object]], *, weak_tier: bool) -> dict[str, list[bool]]:
    """For each label the ticks of n windows that one of the tier's spans covers: a merged span is a run of painted ticks."""
    canvas = {label: [False] * (n * TICKS) for label in LABELS}
    for s in spans:
        is_weak = s["provenance"] != "manual"
        if is_weak != weak_tier:
            continue
        later = [t["start_ts"] for t in spans if t["start_ts"] > s["start_ts"] and (is_weak or t["provenance"] == "manual")]
        end = min(later) if s["extend_forward"] and later else s["end_ts"]
        for tick in range(n * TICKS):
            if s["start_ts"] <= at("09:00") + tick * TICK < end:
                canvas[s["label"]][tick] = True
    return canvas


def verdict(canvas: dict[str, list[bool]], window: int) -> tuple[int, str | None]:
    """How many runs touch a window, and the label of the one that fills it alone."""
    touching, found = 0, None
    for label in LABELS:
        ticks = canvas[label][window * TICKS : (window + 1) * TICKS]
        touching += sum(here and not before for before, here in zip([False, *ticks], ticks, strict=False))
        found = label if all(ticks) else found
    return touching, found if touching == 1 else None


def slow_projection(user: str, n: int, spans: list[dict[str, object]]) -> list[tuple[str | None, bool]]:
    """(label, gold) of one user's windows."""
    mine = [s for s in spans if s["user_id"] in (None, user)]
    gold, weak_ones = paint(n, mine, weak_tier=False), paint(n, mine, weak_tier=True)
    result = []
    for window in range(n):
        touching, label = verdict(gold, window)
        result.append((label, label is not None) if touching else (verdict(weak_ones, window)[1], False))
    return result


def random_spans(rng: np.random.Generator, n: int) -> list[dict[str, object]]:
    spans = []
    for _ in range(rng.integers(1, 18)):
        start = int(rng.integers(-8, n * TICKS + 8))
        forward = bool(rng.random() < 0.3)
        length = int(rng.integers(0 if forward else 1, 32))
        user = [None, "alice", "alice", "bob", "carol"][rng.integers(0, 5)]
        spans.append(
            span(
                at("09:00") + start * TICK,
                at("09:00") + (start + length) * TICK,
                LABELS[rng.integers(0, 2)],
                user=user,
                provenance="manual" if rng.random() < 0.6 else "weak:app_category:chat",
                extend_forward=forward,
            )
        )
    return spans


@pytest.mark.parametrize("seed", range(3))
def test_the_projection_agrees_with_a_slow_and_simple_one_on_random_spans(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labelled = 0
    for _ in range(30):
        n = int(rng.integers(1, 16))
        spans = random_spans(rng, n)
        projection = project(windows("alice", "bob", n=n), *spans)
        expected = [*slow_projection("alice", n, spans), *slow_projection("bob", n, spans)]
        found = list(zip(labels_of(projection), projection.gold.tolist(), strict=True))
        assert found == expected, f"spans: {spans}"
        assert sum(projection.unlabeled.values()) == sum(label is None for label, _ in expected)
        labelled += sum(label is not None for label, _ in expected)
    assert labelled > 100  # the comparison is not about empty results


def test_the_order_of_spans_does_not_matter() -> None:
    rng = np.random.default_rng(99)
    for _ in range(20):
        spans = random_spans(rng, 15)
        rows = windows("alice", "bob", n=15)
        assert labels_of(project(rows, *spans)) == labels_of(project(rows, *[spans[i] for i in rng.permutation(len(spans))]))
