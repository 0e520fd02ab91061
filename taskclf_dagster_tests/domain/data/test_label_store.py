"""Reading the label store: what a span means, which spans are refused with which words, and how a change of the store is counted."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.label_fingerprints import count_changed_spans, keep_fingerprints, watermark
from taskclf_dagster.domain.data.label_store import LabelReading, read_fingerprints, read_label_spans
from taskclf_dagster.errors import LabelColumnsError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.scenario import MINUTE, at, flip_bytes, labels_table, make_home, span, weak, write_labels

LABELS_FILE = "data/processed/labels_v1/labels.parquet"
GOOD = span(at("09:00"), at("10:00"), "Build")


def read(home: Home, start: datetime | None = None, end: datetime | None = None) -> LabelReading:
    return read_label_spans(home, start=start or at("00:00"), end=end or at("00:00", day=30))


def read_spans(tmp_path: Path, *spans: dict[str, object], **storage: object) -> LabelReading:
    home = make_home(tmp_path)
    write_labels(home, spans, **storage)
    return read(home)


# --- What a span is read as -------------------------------------------------------------------------------------------------------


def test_a_span_is_read_with_its_times_in_microseconds_and_its_label_as_class_index(tmp_path: Path) -> None:
    reading = read_spans(tmp_path, span(at("09:00"), at("10:00:30"), "Debug", confidence=0.9))
    [row] = reading.spans.to_dict("records")
    nine = 1_767_603_600_000_000  # 2026-01-05T09:00:00Z
    assert row == {
        "start_us": nine,
        "end_us": nine + 3_630_000_000,
        "label": LABELS.index("Debug"),
        "gold": True,
        "provenance": "manual",
        "user_id": "alice",
        "extend_forward": False,
    }
    assert reading.violations == []


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
@pytest.mark.parametrize("tz", ["UTC", None, "Europe/Vienna"])
def test_times_mean_the_same_in_every_unit_with_and_without_a_zone(tmp_path: Path, unit: str, tz: str | None) -> None:
    reading = read_spans(tmp_path, GOOD, unit=unit, tz=tz)
    assert reading.spans[["start_us", "end_us"]].to_numpy().tolist() == [[1_767_603_600_000_000, 1_767_607_200_000_000]]


@pytest.mark.parametrize(
    ("provenance", "gold"),
    [
        ("manual", True),
        ("manual:demo", True),
        ("import:toggl.csv", True),
        ("weakly sure", True),
        ("weak:app_id:com.apple.Notes", False),
        ("weak:", False),
        ("synthetic", False),
        ("synthetic-looking", True),
    ],
)
def test_every_provenance_but_weak_rules_and_synthetic_is_gold(tmp_path: Path, provenance: str, *, gold: bool) -> None:
    reading = read_spans(tmp_path, span(at("09:00"), at("10:00"), "Build", provenance=provenance))
    assert reading.spans["gold"].tolist() == [gold]
    assert reading.spans["provenance"].tolist() == [provenance]


@pytest.mark.parametrize(
    "prepare",
    [
        lambda home: None,
        lambda home: write_labels(home, pa.table({})),
        lambda home: write_labels(home, []),
    ],
    ids=["no file", "no columns", "no rows"],
)
def test_a_store_without_spans_means_no_labels(tmp_path: Path, prepare: Callable[[Home], object]) -> None:
    home = make_home(tmp_path)
    prepare(home)
    reading = read(home)
    assert len(reading.spans) == 0
    assert reading.violations == []
    assert len(reading.fingerprints) == len(read_fingerprints(home)) == 0
    assert {"start_us", "end_us", "label", "gold", "provenance", "user_id", "extend_forward"} <= set(reading.spans.columns)


def test_a_span_of_nobody_is_kept_as_a_span_of_everyone(tmp_path: Path) -> None:
    reading = read_spans(tmp_path, GOOD, span(at("11:00"), at("12:00"), "Meet", user=None))
    assert reading.spans["user_id"].isna().tolist() == [False, True]
    assert reading.violations == []


def test_columns_of_nothing_but_null_may_have_the_null_type(tmp_path: Path) -> None:
    table = labels_table([span(at("09:00"), at("10:00"), "Build", user=None, confidence=None)])
    assert {table.schema.field(name).type for name in ("user_id", "confidence")} == {pa.null()}
    home = make_home(tmp_path)
    write_labels(home, table)
    reading = read(home)
    assert reading.violations == []
    assert reading.spans["user_id"].isna().all()


@pytest.mark.parametrize("column", ["user_id", "confidence", "extend_forward"])
def test_an_optional_column_may_be_absent(tmp_path: Path, column: str) -> None:
    reading = read_spans(tmp_path, GOOD, without=[column])
    assert reading.violations == []
    assert len(reading.spans) == 1
    assert reading.spans["extend_forward"].tolist() == [False]
    assert reading.spans["user_id"].isna().tolist() == [column == "user_id"]


def test_an_unknown_extend_forward_is_no_extend_forward(tmp_path: Path) -> None:
    reading = read_spans(tmp_path, {**GOOD, "extend_forward": None}, span(at("11:00"), at("11:00"), "Meet", extend_forward=True))
    assert reading.spans["extend_forward"].tolist() == [False, True]


def test_spans_that_start_at_or_after_the_as_of_time_are_left_out(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_labels(
        home, [span(at("11:59"), at("14:00"), "Build"), span(at("12:00"), at("13:00"), "Meet"), span(at("15:00"), at("16:00"), "Write")]
    )
    assert read(home, end=at("12:00")).spans["label"].tolist() == [LABELS.index("Build")]


# --- Findings ---------------------------------------------------------------------------------------------------------------------

END_RULE = "must end after its start"

BAD_SPANS: dict[str, tuple[dict[str, object], str, str, tuple[str, ...]]] = {
    "an unknown label": (
        {**GOOD, "label": "Coding"},
        "labels_are_in_the_label_set", "label", ("is 'Coding'", "BreakIdle, Build, Communicate", "Relabel"),
    ),
    "the name of a rejected prediction": (
        {**GOOD, "label": "Mixed/Unknown"},
        "labels_are_in_the_label_set", "label", ("is 'Mixed/Unknown'", "must be one of"),
    ),
    "a label in the wrong case": ({**GOOD, "label": "build"}, "labels_are_in_the_label_set", "label", ("is 'build'",)),
    "an end before the start": (
        {**GOOD, "end_ts": at("08:59:59")},
        "spans_end_after_they_start", "end_ts", ("2026-01-05T08:59:59+00:00", END_RULE, "2026-01-05T09:00:00+00:00", "Correct or delete"),
    ),
    "an end before the start, extended forward": (
        {**GOOD, "end_ts": at("08:59:59"), "extend_forward": True},
        "spans_end_after_they_start", "end_ts", ("2026-01-05T08:59:59+00:00", END_RULE),
    ),
    "an end at the start": (
        {**GOOD, "end_ts": at("09:00")},
        "spans_end_after_they_start", "end_ts", ("2026-01-05T09:00:00+00:00", END_RULE, "only with extend_forward"),
    ),
    "a confidence above one": (
        {**GOOD, "confidence": 1.01},
        "values_are_in_bounds", "confidence", ("is 1.01", "null or in [0, 1]", "Correct"),
    ),
    "a negative confidence": ({**GOOD, "confidence": -0.01}, "values_are_in_bounds", "confidence", ("is -0.01", "[0, 1]")),
    "an infinite confidence": ({**GOOD, "confidence": np.inf}, "values_are_in_bounds", "confidence", ("is inf", "[0, 1]")),
    "no start": ({**GOOD, "start_ts": None}, "values_are_in_bounds", "start_ts", ("must not be null", "Delete or complete")),
    "no end": ({**GOOD, "end_ts": None}, "values_are_in_bounds", "start_ts", ("must not be null",)),
    "no label": ({**GOOD, "label": None}, "values_are_in_bounds", "start_ts", ("must not be null",)),
    "no provenance": ({**GOOD, "provenance": None}, "values_are_in_bounds", "start_ts", ("must not be null",)),
}  # fmt: skip


@pytest.mark.parametrize(("bad", "check", "column", "parts"), BAD_SPANS.values(), ids=BAD_SPANS)
def test_a_bad_span_is_a_violation_that_names_file_column_row_value_bound_and_fix(
    tmp_path: Path, bad: dict[str, object], check: str, column: str, parts: tuple[str, ...]
) -> None:
    reading = read_spans(tmp_path, span(at("07:00"), at("08:00"), "Write"), bad, span(at("20:00"), at("21:00"), "Write"))
    [violation] = reading.violations
    assert (violation.check, violation.file, violation.column, violation.row) == (check, LABELS_FILE, column, 1)
    for part in (LABELS_FILE, column, "row 1", *parts):
        assert part in str(violation)


def test_every_label_of_the_contract_is_accepted(tmp_path: Path) -> None:
    spans = [span(at(f"{9 + i:02d}:00"), at(f"{10 + i:02d}:00"), label) for i, label in enumerate(LABELS)]
    reading = read_spans(tmp_path, *spans)
    assert reading.violations == []
    assert reading.spans["label"].tolist() == list(range(8))


@pytest.mark.parametrize("confidence", [0.0, 1.0, None])
def test_a_confidence_at_its_bound_is_no_violation(tmp_path: Path, confidence: float | None) -> None:
    assert read_spans(tmp_path, {**GOOD, "confidence": confidence}, {**GOOD, "confidence": 0.5}).violations == []


def test_a_span_may_end_where_it_starts_if_it_extends_forward(tmp_path: Path) -> None:
    reading = read_spans(tmp_path, span(at("09:00"), at("09:00"), "Build", extend_forward=True))
    assert reading.violations == []
    assert len(reading.spans) == 1


def test_every_bad_span_has_its_own_violation(tmp_path: Path) -> None:
    reading = read_spans(tmp_path, {**GOOD, "label": "Coding"}, GOOD, {**GOOD, "label": "Rest", "confidence": 2.0})
    assert [(violation.row, violation.column) for violation in reading.violations] == [(0, "label"), (2, "label"), (2, "confidence")]


@pytest.mark.parametrize("name", [name for name in BAD_SPANS if name not in ("no start", "no end")])
def test_a_bad_span_outside_the_look_back_is_not_judged(tmp_path: Path, name: str) -> None:
    home = make_home(tmp_path)
    write_labels(home, [BAD_SPANS[name][0]])
    before = read(home, at("00:00", day=10), at("00:00", day=20))
    after = read(home, at("00:00", day=-20), at("00:00", day=-10))
    assert (before.violations, after.violations) == ([], [])


def test_a_bad_span_that_only_begins_before_the_look_back_is_judged(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_labels(home, [span(at("09:00"), at("09:00", day=2), "Coding")])
    assert len(read(home, at("00:00", day=1), at("00:00", day=20)).violations) == 1


BAD_STORES: dict[str, tuple[dict[str, object], str, tuple[str, ...]]] = {
    "no start": ({"without": ["start_ts"]}, "start_ts", ("is missing", "datetime", "Export the labels")),
    "no end": ({"without": ["end_ts"]}, "end_ts", ("is missing", "datetime")),
    "no label": ({"without": ["label"]}, "label", ("is missing", "str")),
    "no provenance": ({"without": ["provenance"]}, "provenance", ("is missing", "str")),
}


@pytest.mark.parametrize(("storage", "column", "parts"), BAD_STORES.values(), ids=BAD_STORES)
def test_a_missing_column_is_a_violation_and_leaves_no_spans(
    tmp_path: Path, storage: dict[str, object], column: str, parts: tuple[str, ...]
) -> None:
    reading = read_spans(tmp_path, GOOD, **storage)
    [violation] = reading.violations
    assert (violation.check, violation.file, violation.column, violation.row) == (
        "columns_are_complete_and_typed",
        LABELS_FILE,
        column,
        None,
    )
    for part in parts:
        assert part in violation.message
    assert len(reading.spans) == 0


@pytest.mark.parametrize(
    ("column", "values", "needed"),
    [
        ("start_ts", pa.array(["2026-01-05"]), "datetime"),
        ("end_ts", pa.array([1_767_607_200]), "datetime"),
        ("label", pa.array([1]), "str"),
        ("provenance", pa.array([True]), "str"),
        ("user_id", pa.array([7]), "str"),
        ("confidence", pa.array(["high"]), "float"),
        ("extend_forward", pa.array(["yes"]), "bool"),
    ],
)
def test_a_column_of_another_type_is_a_violation_and_leaves_no_spans(tmp_path: Path, column: str, values: pa.Array, needed: str) -> None:
    home = make_home(tmp_path)
    table = labels_table([GOOD])
    write_labels(home, table.set_column(table.column_names.index(column), column, values))
    reading = read(home)
    [violation] = reading.violations
    assert (violation.check, violation.column) == ("columns_are_complete_and_typed", column)
    assert (str(values.type) in violation.message, needed in violation.message) == (True, True)
    assert len(reading.spans) == 0
    with pytest.raises(LabelColumnsError, match=column):
        read_fingerprints(home)


@pytest.mark.parametrize("column", ["end_ts", "provenance", "user_id", "extend_forward"])
def test_a_column_that_occurs_twice_is_one_violation_that_says_so(tmp_path: Path, column: str) -> None:
    home, table = make_home(tmp_path), labels_table([GOOD])
    write_labels(home, table.append_column(column, table[column]))
    reading = read(home)
    (violation,) = reading.violations
    assert (violation.check, violation.column) == ("columns_are_complete_and_typed", column)
    assert "occurs 2 times" in violation.message
    assert (len(reading.spans), reading.damaged) == (0, True)
    with pytest.raises(LabelColumnsError, match=column):
        read_fingerprints(home)


def test_text_that_is_not_utf8_is_a_violation_of_its_row(tmp_path: Path) -> None:
    home, table = make_home(tmp_path), labels_table([GOOD, GOOD, GOOD])
    names = pa.array([b"alice", None, b"al\xffce"], pa.binary()).view(pa.string())
    write_labels(home, table.set_column(table.column_names.index("user_id"), "user_id", names))
    (violation,) = read(home).violations
    assert (violation.column, violation.row) == ("user_id", 2)
    assert r"b'al\xffce'" in violation.message


def test_spans_that_are_left_out_are_counted(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    bad = {**GOOD, "label": "Coding"}
    write_labels(home, [GOOD, bad, bad, span(at("09:00", day=40), at("10:00", day=40), "Build"), {**GOOD, "confidence": 2.0}])
    reading = read(home)
    assert (len(reading.spans), reading.invalid, reading.later) == (2, 2, 1)


@pytest.mark.parametrize("content", [b"not parquet at all", b""], ids=["garbage", "empty"])
def test_an_unreadable_store_is_an_error_that_names_file_and_fix(tmp_path: Path, content: bytes) -> None:
    home = make_home(tmp_path)
    write_labels(home, [GOOD]).write_bytes(content)
    for reader in (read, read_fingerprints):
        with pytest.raises(UnreadableFileError) as caught:
            reader(home)
        assert str(home.labels) in str(caught.value)


def test_a_truncated_store_is_an_error(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    path = write_labels(home, [GOOD])
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UnreadableFileError, match=r"labels\.parquet"):
        read(home)


def test_a_flipped_byte_is_no_error_or_one_of_ours(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    spans = [span(at("09:00") + i * MINUTE, at("09:01") + i * MINUTE, "Build", confidence=0.5) for i in range(30)]
    write_labels(home, [])
    pd.DataFrame(spans).to_parquet(home.labels, engine="pyarrow", index=False)  # with the metadata that taskclf's pandas writes
    refused = 0
    for _ in flip_bytes(home.labels):
        try:
            read(home)
        except UnreadableFileError:
            refused += 1
    assert refused > 20
    assert len(read(home).spans) == 30


# --- Changes of the store ---------------------------------------------------------------------------------------------------------

STORE = [
    span(at("09:00"), at("10:00"), "Build", confidence=0.5),
    span(at("10:00"), at("11:00"), "Debug"),
    weak(at("11:00"), at("12:00"), "Write"),
    span(at("12:00"), at("12:00"), "Meet", user=None, extend_forward=True),
]


def fingerprints_of(tmp_path: Path, spans: list[dict[str, object]], **storage: object) -> np.ndarray:
    home = make_home(tmp_path)
    write_labels(home, spans, **storage)
    return read_fingerprints(home)


def test_the_same_spans_have_the_same_fingerprints_in_any_order_and_layout(tmp_path: Path) -> None:
    expected = fingerprints_of(tmp_path, STORE)
    assert len(set(expected.tolist())) == 4
    for spans, storage in (
        (STORE[::-1], {}),
        (STORE, {"unit": "ns"}),
        (STORE, {"unit": "ms", "tz": None}),
        (STORE, {"types": {"label": pa.large_string(), "user_id": pa.large_string(), "provenance": pa.large_string()}}),
    ):
        assert fingerprints_of(tmp_path, spans, **storage).tolist() == expected.tolist()


def test_optional_columns_that_say_nothing_may_come_and_go_without_a_change(tmp_path: Path) -> None:
    plain = [span(at("09:00"), at("10:00"), "Build", user=None)]
    expected = fingerprints_of(tmp_path, plain)
    assert fingerprints_of(tmp_path, plain, without=["user_id", "confidence", "extend_forward"]).tolist() == expected.tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"start_ts": at("08:59")}, {"end_ts": at("10:01")}, {"label": "Debug"}, {"provenance": "synthetic"}, {"user_id": "bob"},
        {"user_id": None}, {"confidence": 0.6}, {"confidence": None}, {"extend_forward": True},
    ],
    ids=str,
)  # fmt: skip
def test_an_edited_span_counts_once_whatever_was_edited(tmp_path: Path, change: dict[str, object]) -> None:
    mark = keep_fingerprints(tmp_path, fingerprints_of(tmp_path, STORE))
    edited = fingerprints_of(tmp_path, [{**STORE[0], **change}, *STORE[1:]])
    assert count_changed_spans(tmp_path, mark, edited) == 1
    assert watermark(edited) != mark


@pytest.mark.parametrize(
    ("after", "changed"),
    [
        (STORE, 0),
        (STORE[::-1], 0),
        (STORE[1:], 1),  # one deleted
        (STORE[2:], 2),
        ([], 4),
        ([*STORE, GOOD], 1),  # one new
        ([{**STORE[0], "label": "Write"}, *STORE[2:]], 2),  # one edited, one deleted
        ([{**STORE[0], "label": "Write"}, *STORE[1:], GOOD], 2),  # one edited, one new
    ],
)
def test_changes_are_counted_span_by_span(tmp_path: Path, after: list[dict[str, object]], changed: int) -> None:
    mark = keep_fingerprints(tmp_path, fingerprints_of(tmp_path, STORE))
    assert count_changed_spans(tmp_path, mark, fingerprints_of(tmp_path, after)) == changed


def test_a_store_that_was_written_again_unchanged_has_the_same_watermark_and_counts_nothing(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_labels(home, STORE)
    mark = keep_fingerprints(home.decisions, read_fingerprints(home))
    pq.write_table(labels_table(STORE, unit="ns"), home.labels, compression="zstd")
    assert keep_fingerprints(home.decisions, read_fingerprints(home)) == mark
    assert count_changed_spans(home.decisions, mark, read_fingerprints(home)) == 0
    assert len(list(home.decisions.iterdir())) == 1


@pytest.mark.parametrize("mark", [None, "0123456789abcdef"])
def test_without_a_kept_watermark_every_span_is_new(tmp_path: Path, mark: str | None) -> None:
    assert count_changed_spans(tmp_path, mark, fingerprints_of(tmp_path, STORE)) == 4


def test_spans_outside_the_look_back_count_as_changes_of_the_store(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_labels(home, STORE)
    reading = read(home, at("00:00", day=10), at("00:00", day=20))
    assert reading.fingerprints.tolist() == read_fingerprints(home).tolist()
    assert len(reading.fingerprints) == 4


def test_a_kept_watermark_that_is_damaged_counts_as_none(tmp_path: Path) -> None:
    fingerprints = fingerprints_of(tmp_path, STORE)
    mark = keep_fingerprints(tmp_path, fingerprints)
    (tmp_path / f"labels_{mark}.npy").write_bytes(b"torn")
    assert count_changed_spans(tmp_path, mark, fingerprints) == len(fingerprints)
