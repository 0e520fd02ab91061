"""The label-arrival sensor: one run for each content of the label store that has enough new spans."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.resources import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.domain.cadence import LastDecided, write_last_decided
from taskclf_dagster.domain.labels import keep_fingerprints, read_fingerprints
from taskclf_dagster.home import Home
from taskclf_dagster_tests.scenario import AS_OF, learnable_home, span

NOW = datetime(2026, 2, 4, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Tick:
    requests: Sequence[dg.RunRequest]
    skip: str | None
    cursor: str | None


def _tick(home: Home, cursor: str | None = None, *, config: Path | None = None) -> Tick:
    resources = {
        "home": HomeResource(root=str(home.root)),
        "run_settings": RunSettingsResource(config_path=None if config is None else str(config)),
        "clock": ClockResource(fixed=NOW.isoformat()),
    }
    definitions = build_definitions(home=resources["home"])
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(
            instance=instance, cursor=cursor, resources=resources, repository_def=definitions.get_repository_def()
        )
        data = definitions.resolve_sensor_def("label_arrival").evaluate_tick(context)
    for request in data.run_requests:
        dg.validate_run_config(definitions.resolve_job_def("retrain"), request.run_config)
    return Tick(data.run_requests, data.skip_message, data.cursor)


def _spans(home: Home) -> list[dict[str, object]]:
    return pq.read_table(home.labels).to_pylist()


def _store(home: Home, spans: list[dict[str, object]]) -> None:
    schema = pq.read_schema(home.labels)
    pq.write_table(pa.Table.from_pylist(spans, schema=schema), home.labels)


def _new_spans(n: int) -> list[dict[str, object]]:
    begin = AS_OF + timedelta(hours=9)
    return [span(begin + i * timedelta(minutes=2), begin + (i * 2 + 1) * timedelta(minutes=1), "Build", user="user-0") for i in range(n)]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home whose labels were all decided on a day ago, so that cadence asks for nothing."""
    home = learnable_home(tmp_path, users=1, days=3)
    _decide(home, at=NOW - timedelta(days=1))
    return home


def _decide(home: Home, *, at: datetime) -> None:
    mark = keep_fingerprints(home.decisions, read_fingerprints(home))
    facts = {"outcome": "REJECT", "decided_at": at, "as_of": at, "run_id": "r", "decision_id": "d", "dataset_hash": "0" * 16}
    write_last_decided(home, LastDecided(**facts, snapshot_path="artifacts/snapshots/0", label_watermark=mark))


def test_four_new_spans_are_too_few_and_the_words_count_them(home: Home) -> None:
    _store(home, _spans(home) + _new_spans(4))
    tick = _tick(home)
    assert tick.requests == []
    assert "4 label spans are new, changed or gone since the last decided run (min_new_labels is 5)" in tick.skip
    assert tick.cursor is None


def test_too_few_new_spans_are_named_as_the_reason_also_when_cadence_alone_would_launch(home: Home) -> None:
    _decide(home, at=NOW - timedelta(days=8))
    _store(home, _spans(home) + _new_spans(4))
    tick = _tick(home)
    assert tick.requests == []
    assert "4 label spans" in tick.skip
    assert "min_new_labels is 5" in tick.skip


def test_five_new_spans_launch_one_run_keyed_by_the_content_of_the_store(home: Home) -> None:
    _store(home, _spans(home) + _new_spans(5))
    tick = _tick(home)
    (request,) = tick.requests
    assert request.tags["taskclf/cause"] == "new_labels"
    assert request.run_key == f"labels-{tick.cursor}"
    assert len(tick.cursor) == 16


def test_the_same_content_is_asked_for_once(home: Home) -> None:
    _store(home, _spans(home) + _new_spans(5))
    cursor = _tick(home).cursor
    again = _tick(home, cursor)
    assert again.requests == []
    assert "5 label spans are new, changed or gone since the last decided run" in again.skip
    assert "these labels have been answered" in again.skip


def test_a_store_that_is_written_again_with_the_same_spans_is_the_same_content(home: Home) -> None:
    _store(home, _spans(home) + _new_spans(5))
    cursor = _tick(home).cursor
    spans = _spans(home)
    _store(home, spans[::-1])
    os.utime(home.labels, (1, 1))
    assert _tick(home, cursor).requests == []


def test_one_more_span_after_a_request_is_another_content_and_another_key(home: Home) -> None:
    _store(home, _spans(home) + _new_spans(5))
    first = _tick(home)
    _store(home, _spans(home) + _new_spans(6)[5:])
    second = _tick(home, first.cursor)
    assert second.requests[0].run_key not in {first.requests[0].run_key, None}


def test_edited_spans_count_once_each(home: Home) -> None:
    spans = _spans(home)
    for edited in spans[:4]:
        edited["label"] = "Write" if edited["label"] != "Write" else "Build"
    _store(home, spans)
    assert "4 label spans are new, changed or gone" in _tick(home).skip
    spans[4]["end_ts"] -= timedelta(minutes=1)
    _store(home, spans)
    assert len(_tick(home).requests) == 1


def test_deleted_spans_count(home: Home) -> None:
    _store(home, _spans(home)[:-4])
    assert "4 label spans are new, changed or gone" in _tick(home).skip
    _store(home, _spans(home)[:-1])
    assert len(_tick(home).requests) == 1


def test_the_number_of_new_spans_that_is_enough_comes_from_the_settings(home: Home, tmp_path: Path) -> None:
    config = tmp_path / "eager.yaml"
    config.write_text("min_new_labels: 1\n", encoding="utf-8")
    _store(home, _spans(home) + _new_spans(1))
    assert _tick(home).requests == []
    assert len(_tick(home, config=config).requests) == 1


def test_enough_new_spans_with_too_few_windows_skip_and_say_what_to_label(home: Home, tmp_path: Path) -> None:
    config = tmp_path / "picky.yaml"
    config.write_text("min_labels: 1000\n", encoding="utf-8")
    _store(home, _spans(home) + _new_spans(5))
    tick = _tick(home, config=config)
    assert tick.requests == []
    assert "480 windows are labelled by a person, but min_labels is 1000: label at least 520 more minutes" in tick.skip


def test_labels_that_could_not_be_learned_from_are_not_weighed_again_every_minute(home: Home, tmp_path: Path) -> None:
    config = tmp_path / "picky.yaml"
    config.write_text("min_labels: 1000\n", encoding="utf-8")
    _store(home, _spans(home) + _new_spans(5))
    again = _tick(home, _tick(home, config=config).cursor)
    assert again.requests == []
    assert "these labels have been answered" in again.skip


def test_an_unreadable_label_file_skips_with_file_and_fix_and_forgets_nothing(home: Home) -> None:
    home.labels.write_bytes(b"PAR1 torn")
    tick = _tick(home, "cursor")
    assert tick.requests == []
    assert f"{home.labels} cannot be read" in tick.skip
    assert "Restore the label store" in tick.skip
    assert tick.cursor in (None, "cursor")


def test_without_a_home_the_sensor_skips_and_says_how_to_get_one(tmp_path: Path) -> None:
    tick = _tick(Home(tmp_path / "none"))
    assert tick.requests == []
    assert "There is no taskclf home" in tick.skip
