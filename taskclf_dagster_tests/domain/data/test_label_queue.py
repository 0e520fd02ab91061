"""taskclf's labelling queue: what is in it stays as it is, and nothing is asked twice."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from taskclf_dagster.domain.data.label_queue import ATTEMPTS, LabelRequest, add_to_label_queue
from taskclf_dagster.domain.storage.filesystem import FileSystem, use_file_system
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.scenario import MINUTE, at, make_home

OF_TASKCLF: list[dict[str, object]] = [
    {
        "request_id": "1",
        "user_id": "alice",
        "bucket_start_ts": "2026-01-05T09:00:00Z",
        "bucket_end_ts": "2026-01-05T09:01:00Z",
        "reason": "drift",
        "confidence": None,
        "predicted_label": "Write",
        "created_at": "2026-01-05T10:00:00Z",
        "status": "pending",
        "asked_by": "a newer taskclf \u00e4",
    },
    {
        "request_id": "2",
        "user_id": "alice",
        "bucket_start_ts": "2026-01-05T11:00:00",
        "bucket_end_ts": "2026-01-05T11:10:00",
        "status": "skipped",
        "confidence": float("nan"),
    },
    {"note": "an entry of another kind"},
]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def request(clock: str, *, user: str = "alice", minutes: int = 10) -> LabelRequest:
    start = at(clock)
    return LabelRequest(
        user_id=user,
        bucket_start_ts=start,
        bucket_end_ts=start + minutes * MINUTE,
        confidence=0.4,
        predicted_label="Meet",
        created_at=at("12:00"),
    )


def write(home: Home, entries: object) -> bytes:
    home.label_queue.parent.mkdir(parents=True, exist_ok=True)
    home.label_queue.write_text(json.dumps(entries), encoding="utf-8")
    return home.label_queue.read_bytes()


def read(home: Home) -> list[dict[str, object]]:
    return json.loads(home.label_queue.read_text(encoding="utf-8"))


def test_a_home_without_a_queue_gets_one_with_the_keys_that_taskclf_reads(home: Home) -> None:
    assert len(add_to_label_queue(home, [request("09:00")])) == 1
    (entry,) = read(home)
    assert len(str(entry.pop("request_id"))) == 36
    assert entry == {
        "user_id": "alice",
        "bucket_start_ts": "2026-01-05T09:00:00Z",
        "bucket_end_ts": "2026-01-05T09:10:00Z",
        "reason": "low_confidence",
        "confidence": 0.4,
        "predicted_label": "Meet",
        "created_at": "2026-01-05T12:00:00Z",
        "status": "pending",
    }


def test_what_is_there_stays_as_it_is_and_comes_first(home: Home) -> None:
    write(home, OF_TASKCLF)
    add_to_label_queue(home, [request("13:00")])
    found = read(home)
    assert json.dumps(found[:3]) == json.dumps(OF_TASKCLF)
    assert len(found) == 4


def test_nothing_is_added_about_time_that_an_entry_of_the_same_user_is_about(home: Home) -> None:
    write(home, OF_TASKCLF)
    asked = [request("08:55"), request("11:09"), request("09:01"), request("10:50"), request("09:00", user="bob")]
    assert [(each.user_id, each.bucket_start_ts) for each in add_to_label_queue(home, asked)] == [
        ("alice", at("09:01")),
        ("alice", at("10:50")),
        ("bob", at("09:00")),
    ]


def test_a_second_call_adds_nothing_and_leaves_the_file_as_it_is(home: Home) -> None:
    add_to_label_queue(home, [request("09:00"), request("10:00")])
    before = home.label_queue.stat()
    assert add_to_label_queue(home, [request("09:00"), request("10:00")]) == []
    assert home.label_queue.stat() == before


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"items": []}', b"[1]", b'[{"a": 1, "a": 2}]', b"[" * 100 + b"]" * 100, b'["\xff"]'],
    ids=["empty", "torn", "object", "numbers", "twice", "deep", "not UTF-8"],
)
def test_a_damaged_queue_is_an_error_that_names_it_and_stays_as_it_is(home: Home, content: bytes) -> None:
    write(home, [])
    home.label_queue.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"queue\.json cannot be read"):
        add_to_label_queue(home, [request("09:00")])
    assert home.label_queue.read_bytes() == content
    assert list(home.label_queue.parent.iterdir()) == [home.label_queue]


def test_calls_at_once_lose_nothing(home: Home) -> None:
    clocks = [f"{hour:02}:00" for hour in range(12)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda clock: add_to_label_queue(home, [request(clock)]), clocks))
    assert sorted(str(entry["bucket_start_ts"])[11:16] for entry in read(home)) == clocks


class _TaskclfWrites(FileSystem):
    """Before a file is written, taskclf replaces the queue, so many times."""

    def __init__(self, home: Home, times: int) -> None:
        self.home, self.times = home, times

    def create(self, path: Path, content: bytes | Callable[[Path], object]) -> None:
        if self.times:
            self.times -= 1
            other = self.home.label_queue.with_name("of taskclf")
            other.write_text(json.dumps([*OF_TASKCLF, {"times": self.times}]), encoding="utf-8")
            os.replace(other, self.home.label_queue)  # noqa: PTH105  # as taskclf does it
        super().create(path, content)


def test_entries_that_taskclf_writes_meanwhile_are_kept(home: Home) -> None:
    write(home, [])
    with use_file_system(_TaskclfWrites(home, 2)):
        assert len(add_to_label_queue(home, [request("13:00")])) == 1
    assert [entry.get("times") for entry in read(home)] == [None, None, None, 0, None]


def test_a_queue_that_never_stays_the_same_is_left_to_the_other_program(home: Home) -> None:
    write(home, [])
    with use_file_system(_TaskclfWrites(home, ATTEMPTS)), pytest.raises(UnreadableFileError, match="keeps changing it"):
        add_to_label_queue(home, [request("13:00")])
    assert len(read(home)) == len(OF_TASKCLF) + 1
    assert list(home.label_queue.parent.iterdir()) == [home.label_queue]
