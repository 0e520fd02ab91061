"""The JSON Lines sink on real files, and the sink that cannot be used."""

import json
from pathlib import Path

import pytest

from taskclf_dagster.domain.events.sinks import JsonLinesFile, UnusableSink
from taskclf_dagster.domain.storage.filesystem import use_file_system
from taskclf_dagster.errors import SinkUnavailableError
from taskclf_dagster_tests.receivers import NOON, an_event
from taskclf_dagster_tests.registry_scenario import Recording


def send(sink: JsonLinesFile, number: int = 1) -> None:
    sink.send(an_event(number), at=NOON, timeout=5.0)


@pytest.fixture
def lines(tmp_path: Path) -> JsonLinesFile:
    return JsonLinesFile("jsonl-1", tmp_path / "new" / "events.jsonl")


def ids(path: Path) -> list[str]:
    return [json.loads(line)["eventId"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_events_are_appended_one_a_line_in_a_folder_that_is_made(lines: JsonLinesFile) -> None:
    send(lines, 1)
    send(lines, 2)
    text = lines.path.read_text(encoding="utf-8")
    assert [json.loads(line) for line in text.splitlines()] == [an_event(1).document, an_event(2).document]
    assert text.endswith("}\n")


def test_a_line_and_the_name_of_a_new_file_survive_a_power_loss(lines: JsonLinesFile) -> None:
    recording = Recording()
    with use_file_system(recording):
        send(lines)
    assert recording.calls[-3:] == [("append", "events.jsonl"), ("sync_file", "events.jsonl"), ("sync_folder", "new")]


def test_after_half_a_line_of_a_process_that_died_the_next_event_is_whole(lines: JsonLinesFile) -> None:
    send(lines, 1)
    with lines.path.open("ab") as file:
        file.write(b'{"eventId": "eve')
    send(lines, 2)
    send(lines, 3)
    first, torn, *others = lines.path.read_text(encoding="utf-8").splitlines()
    assert torn == '{"eventId": "eve'
    assert [json.loads(line)["eventId"] for line in (first, *others)] == ["event-1", "event-2", "event-3"]


def test_a_full_file_becomes_the_older_one_and_there_are_never_more_than_two(tmp_path: Path) -> None:
    sink = JsonLinesFile("jsonl-1", tmp_path / "events.jsonl", rotate_bytes=700)
    for number in range(1, 8):
        send(sink, number)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events.1.jsonl", "events.jsonl"]
    assert ids(tmp_path / "events.1.jsonl") + ids(tmp_path / "events.jsonl") == ["event-5", "event-6", "event-7"]
    assert all(path.stat().st_size <= 700 for path in tmp_path.iterdir())


def test_a_file_is_full_at_ten_mebibytes(lines: JsonLinesFile) -> None:
    send(lines, 1)
    with lines.path.open("ab") as file:
        file.write(b"x" * (10 * 1024 * 1024 - lines.path.stat().st_size - 1) + b"\n")
    send(lines, 2)
    assert ids(lines.path) == ["event-2"]
    assert (lines.path.parent / "events.1.jsonl").stat().st_size == 10 * 1024 * 1024


def test_a_file_that_cannot_be_written_is_unavailable_and_named(lines: JsonLinesFile) -> None:
    lines.path.mkdir(parents=True)
    with pytest.raises(SinkUnavailableError) as caught:
        send(lines)
    assert caught.value.kind == "file"
    assert str(lines.path) in caught.value.reason


def test_a_sink_that_cannot_be_used_accepts_nothing() -> None:
    with pytest.raises(SinkUnavailableError) as caught:
        UnusableSink("webhook-1", "no secret").send(an_event(), at=NOON, timeout=1)
    assert (caught.value.kind, caught.value.reason) == ("settings", "no secret")
