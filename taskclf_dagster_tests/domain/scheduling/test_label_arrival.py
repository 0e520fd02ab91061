"""When labels count as arrived: what is known of the store by its content, the pause after labelling, and what a look costs."""

import json
import os
import shutil
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.label_fingerprints import keep_fingerprints
from taskclf_dagster.domain.data.label_store import read_fingerprints
from taskclf_dagster.domain.decision.last_decided import LastDecided
from taskclf_dagster.domain.scheduling.label_arrival import LabelStoreState, check_label_arrival, check_label_store, read_label_store_state
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import contents
from taskclf_dagster_tests.scenario import DAY, MINUTE, at, make_home, retrain_config, span, write_labels

NOW = at("12:00", day=1)
WRITTEN = at("11:00", day=1)
CONFIG = retrain_config()
Spans = list[dict[str, object]]


def spans(n: int, *, label: str = "Build") -> Spans:
    return [span(at("09:00") + 2 * i * MINUTE, at("09:00") + (2 * i + 1) * MINUTE, label) for i in range(n)]


def store(home: Home, rows: Spans, *, written: datetime = WRITTEN) -> None:
    write_labels(home, rows)
    os.utime(home.labels, (written.timestamp(), written.timestamp()))


def decide(home: Home, *, outcome: str = "REJECT") -> LastDecided:
    """A run that decided on the store as it is."""
    mark = keep_fingerprints(home.decisions, read_fingerprints(home))
    facts = {"outcome": outcome, "decided_at": WRITTEN, "as_of": WRITTEN, "run_id": "r", "decision_id": None, "dataset_hash": "0" * 16}
    return LastDecided.model_validate({**facts, "snapshot_path": "s", "label_watermark": mark})


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = make_home(tmp_path)
    store(home, spans(10))
    return home


def arrived(watch: LabelStoreState, *, now: datetime = NOW) -> bool:
    return check_label_arrival(watch, settings=CONFIG.scheduling, now=now) is None


# --- What is known of the store -----------------------------------------------------------------------------------------------------


def test_without_a_decision_every_span_is_new(home: Home) -> None:
    watch = check_label_store(home, None, None, now=NOW)
    assert (watch.changed_spans, watch.decided, watch.changed_at) == (10, None, WRITTEN)


def test_without_a_store_there_are_no_labels(tmp_path: Path) -> None:
    watch = check_label_store(make_home(tmp_path), None, None, now=NOW)
    assert (watch.changed_spans, watch.signature, watch.changed_at) == (0, "", NOW)
    assert not arrived(watch)


def test_what_the_last_decided_run_saw_is_not_new(home: Home) -> None:
    assert check_label_store(home, None, decide(home), now=NOW).changed_spans == 0


def _added(rows: Spans) -> Spans:
    return [*rows, *spans(15)[10:]]


def _edited(rows: Spans) -> Spans:
    return [*spans(5, label="Write"), *rows[5:]]


def _deleted(rows: Spans) -> Spans:
    return rows[:5]


@pytest.mark.parametrize("change", [_added, _edited, _deleted], ids=["added", "edited", "deleted"])
def test_spans_that_were_added_edited_or_deleted_count_once_each_and_arrive(home: Home, change: Callable[[Spans], Spans]) -> None:
    last = decide(home)
    before = check_label_store(home, None, last, now=NOW)
    assert not arrived(before)
    store(home, change(spans(10)), written=NOW)
    watch = check_label_store(home, before, last, now=NOW)
    assert watch.changed_spans == 5
    assert watch.watermark != before.watermark
    assert arrived(watch, now=NOW + 10 * MINUTE)


def test_a_store_that_was_written_again_with_the_same_spans_is_the_same_content_and_still_as_quiet(home: Home) -> None:
    before = check_label_store(home, None, None, now=NOW)
    write_labels(home, spans(10)[::-1], unit="ns")
    os.utime(home.labels, (NOW.timestamp(), NOW.timestamp()))
    watch = check_label_store(home, before, None, now=NOW)
    assert watch.signature != before.signature
    assert (watch.watermark, watch.changed_at) == (before.watermark, WRITTEN)


def test_a_store_that_is_gone_has_lost_all_its_spans(home: Home) -> None:
    last = decide(home)
    before = check_label_store(home, None, last, now=WRITTEN)
    home.labels.unlink()
    watch = check_label_store(home, before, last, now=NOW)
    assert (watch.changed_spans, watch.changed_at) == (10, NOW)


def test_a_file_that_was_not_touched_is_not_read(home: Home) -> None:
    before = check_label_store(home, None, None, now=NOW)
    status = home.labels.stat()
    home.labels.write_bytes(b"x" * status.st_size)
    os.utime(home.labels, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert check_label_store(home, before, None, now=NOW + MINUTE) == before
    with pytest.raises(UnreadableFileError):
        check_label_store(home, None, None, now=NOW)


def test_a_decision_on_this_content_makes_it_old_although_the_file_was_not_touched(home: Home) -> None:
    before = check_label_store(home, None, None, now=NOW)
    assert arrived(before)
    watch = check_label_store(home, before, decide(home), now=NOW)
    assert (watch.changed_spans, watch.changed_at) == (0, before.changed_at)


def test_what_was_kept_of_the_last_decided_run_is_damaged_and_every_span_counts(home: Home) -> None:
    last = decide(home)
    next(home.decisions.glob("labels_*.npy")).write_bytes(b"torn")
    assert check_label_store(home, None, last, now=NOW).changed_spans == 10


def test_what_was_weighed_is_kept_for_the_same_content_only(home: Home) -> None:
    weighed = check_label_store(home, None, None, now=NOW).model_copy(update={"blockers": ("too few",), "assessed_on": "2026-01-06"})
    same = check_label_store(home, weighed, decide(home), now=NOW)
    assert (same.blockers, same.assessed_on) == (("too few",), "2026-01-06")
    store(home, spans(11))
    other = check_label_store(home, weighed, None, now=NOW)
    assert (other.blockers, other.assessed_on) == ((), None)


def test_looking_writes_nothing(home: Home) -> None:
    last = decide(home)
    before = contents(home.root)
    check_label_store(home, None, last, now=NOW)
    assert contents(home.root) == before


@pytest.mark.parametrize("damage", ["torn", "a folder"])
def test_a_store_that_cannot_be_read_is_an_error_that_names_it(home: Home, damage: str) -> None:
    home.labels.unlink()
    if damage == "torn":
        home.labels.write_bytes(b"PAR1 torn")
    else:
        home.labels.mkdir()
    with pytest.raises(UnreadableFileError, match="Restore the label store"):
        check_label_store(home, None, None, now=NOW)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "0" * 16, '{"signature": "1"}'])
def test_a_cursor_of_another_version_is_as_none(text: str | None) -> None:
    assert read_label_store_state(text) is None


def test_a_cursor_is_read_back_as_it_was(home: Home) -> None:
    watch = check_label_store(home, None, decide(home), now=NOW)
    assert read_label_store_state(watch.model_dump_json()) == watch
    assert len(watch.model_dump_json()) < 500
    assert "labels" not in json.loads(watch.model_dump_json())


# --- The pause after labelling --------------------------------------------------------------------------------------------------------


def test_labels_arrive_when_nobody_has_labelled_for_ten_minutes(home: Home, snapshot: SnapshotAssertion) -> None:
    store(home, spans(10), written=NOW)
    watch = check_label_store(home, None, None, now=NOW)
    almost = NOW + timedelta(minutes=10) - timedelta(microseconds=1)
    waiting = check_label_arrival(watch, settings=CONFIG.scheduling, now=almost)
    assert waiting is not None
    assert waiting.kind == "labeling"
    assert waiting.message == snapshot
    assert arrived(watch, now=NOW + timedelta(minutes=10))


def test_every_further_label_makes_the_wait_begin_again(home: Home) -> None:
    watch = check_label_store(home, None, None, now=NOW)
    for minute in range(9, 60, 9):
        moment = NOW + minute * MINUTE
        store(home, spans(10 + minute), written=moment)
        watch = check_label_store(home, watch, None, now=moment)
        assert not arrived(watch, now=moment + 9 * MINUTE)
    assert arrived(watch, now=NOW + 64 * MINUTE)


def test_a_file_that_was_written_while_nobody_looked_counts_from_then(home: Home) -> None:
    last = decide(home)
    before = check_label_store(home, None, last, now=WRITTEN)
    store(home, spans(20), written=NOW - 11 * MINUTE)
    watch = check_label_store(home, before, last, now=NOW)
    assert watch.changed_at == NOW - 11 * MINUTE
    assert arrived(watch)


def test_a_file_from_the_future_counts_from_now_and_does_not_wait_for_ever(home: Home) -> None:
    store(home, spans(10), written=NOW + 300 * DAY)
    watch = check_label_store(home, None, None, now=NOW)
    assert watch.changed_at == NOW
    assert arrived(check_label_store(home, watch, None, now=NOW + 10 * MINUTE), now=NOW + 10 * MINUTE)


def test_a_clock_that_went_back_does_not_make_labels_wait_for_ever(home: Home) -> None:
    store(home, spans(10), written=NOW)
    watch = check_label_store(home, None, None, now=NOW)
    earlier = NOW - 300 * DAY
    watch = check_label_store(home, watch, None, now=earlier)
    assert watch.changed_at == earlier
    assert arrived(check_label_store(home, watch, None, now=earlier + 10 * MINUTE), now=earlier + 10 * MINUTE)


def test_too_few_labels_do_not_arrive_however_long_ago(home: Home, snapshot: SnapshotAssertion) -> None:
    store(home, spans(4))
    watch = check_label_store(home, None, None, now=NOW)
    few = check_label_arrival(watch, settings=CONFIG.scheduling, now=NOW + 300 * DAY)
    assert few is not None
    assert few.kind == "few_labels"
    assert few.message == snapshot
    assert check_label_arrival(watch, settings=retrain_config(min_new_labels=4).scheduling, now=NOW) is None


# --- What a look costs ----------------------------------------------------------------------------------------------------------------


def _million(home: Home) -> None:
    n = 1_000_000
    begin = np.arange(n) * 60_000_000 + 1_600_000_000_000_000
    moments = pa.timestamp("us", tz="UTC")
    columns = {
        "start_ts": pa.array(begin, moments),
        "end_ts": pa.array(begin + 50_000_000, moments),
        "label": pa.array(np.array(LABELS)[np.arange(n) % len(LABELS)]),
        "provenance": pa.array(np.where(np.arange(n) % 3, "manual", "weak:app_id:com.apple.Notes")),
        "user_id": pa.array([f"user-{i % 20}" for i in range(n)]),
        "confidence": pa.array([None] * n, pa.float64()),
        "extend_forward": pa.array([False] * n),
    }
    home.labels.parent.mkdir(parents=True)
    pq.write_table(pa.table(columns), home.labels)


def test_a_million_spans_are_looked_at_in_a_second_and_not_again_unless_the_file_was_touched(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    _million(home)
    last, reads, looks = decide(home), [], []
    for turn in range(3):
        os.utime(home.labels, (turn, turn))
        begin = time.process_time()
        watch = check_label_store(home, None, last, now=NOW)
        middle = time.process_time()
        assert check_label_store(home, watch, last, now=NOW) == watch
        reads.append(middle - begin)
        looks.append(time.process_time() - middle)
    assert watch.changed_spans == 0
    assert median(reads) < 3.0  # 0.3 s on the machine that this was written on, a busy one is slower
    assert median(looks) < 0.2


def test_one_edited_span_of_a_million_is_found(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    _million(home)
    last = decide(home)
    table = pq.read_table(home.labels)
    labels = table["label"].to_pylist()
    labels[777_777] = "Meet" if labels[777_777] != "Meet" else "Build"
    shutil.move(home.labels, home.labels.with_suffix(".old"))
    pq.write_table(table.set_column(table.column_names.index("label"), "label", pa.array(labels)), home.labels)
    assert check_label_store(home, None, last, now=NOW).changed_spans == 1
