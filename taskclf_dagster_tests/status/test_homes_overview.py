"""Many homes at a glance: each row says what matters most about its home, follows its files and runs, and disturbs no other."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.domain.registry.rollback import rollback
from taskclf_dagster.status import homes_overview
from taskclf_dagster.status.homes_overview import HomesReader
from taskclf_dagster.status.homes_records import HomeRow
from taskclf_dagster_tests.many_homes import fail, make_homes
from taskclf_dagster_tests.models import AT, MID, NEW
from taskclf_dagster_tests.runs import Status, add_run
from taskclf_dagster_tests.scenario import DAY

NOW = datetime.now(UTC)


@pytest.fixture
def directory(tmp_path: Path) -> HomeDirectory:
    return make_homes(tmp_path / "team", {"anna": "waiting", "ben": "fresh", "cora": "fine"})


def read(reader: HomesReader, instance: dg.DagsterInstance, directory: HomeDirectory, *, now: datetime | None = None) -> dict[str, HomeRow]:
    return {row.name: row for row in reader.read(instance, directory.list_homes(), now or datetime.now(UTC)).homes}


def test_a_change_of_the_registry_shows_at_the_next_reading(instance: dg.DagsterInstance, directory: HomeDirectory) -> None:
    reader, home = HomesReader(), directory.open("anna")
    before = read(reader, instance, directory)["anna"]
    assert (before.attention, before.active_model) == ("waiting", NEW)
    rollback(home, to=None, reason="worse", at=AT + 9 * DAY)
    after = read(reader, instance, directory)["anna"]
    assert (after.attention, after.active_model != NEW) == (None, True)
    home.active_pointer.write_text("{", encoding="utf-8")
    home.inference_policy.write_text("{", encoding="utf-8")
    broken = read(reader, instance, directory)["anna"]
    assert broken.attention == "broken"
    assert "active.json" in broken.sentence


def test_the_newest_retrain_counts_and_one_that_is_under_way_is_no_failure_any_more(
    instance: dg.DagsterInstance, directory: HomeDirectory
) -> None:
    reader, home = HomesReader(), directory.open("cora")
    assert read(reader, instance, directory)["cora"].state == "idle"
    fail(instance, home)
    failed = read(reader, instance, directory)["cora"]
    assert (failed.state, failed.attention, "disk is full" in failed.sentence) == ("failed", "failed", True)
    retry = add_run(instance, home, Status.STARTED)
    running = read(reader, instance, directory)["cora"]
    assert (running.state, running.attention, running.run_id, running.sentence[:20]) == (
        "running",
        None,
        retry.run_id,
        "A retrain is running",
    )
    instance.report_run_canceled(retry)
    add_run(instance, home, Status.SUCCESS)
    rows = read(reader, instance, directory)
    assert (rows["cora"].state, rows["cora"].attention, rows["ben"].state) == ("completed", None, "idle")


def test_a_home_has_the_schedule_of_its_own_settings_and_says_if_nothing_is_launched(
    instance: dg.DagsterInstance, directory: HomeDirectory
) -> None:
    directory.open("ben").settings_file.write_text("enabled: false\n", encoding="utf-8")
    directory.open("cora").settings_file.write_text("schedule: {cron: '30 4 * * *', timezone: UTC}\nmin_new_labels: 7\n", encoding="utf-8")
    reader, now = HomesReader(), datetime(2026, 3, 1, 4, 0, tzinfo=UTC)
    rows = read(reader, instance, directory, now=now)
    assert (rows["ben"].next_tick, rows["cora"].next_tick) == (None, datetime(2026, 3, 1, 4, 30, tzinfo=UTC))
    assert (rows["cora"].labels_since, rows["cora"].labels_needed) == (0, 7)
    later = read(reader, instance, directory, now=now + timedelta(hours=1))
    assert later["cora"].next_tick == datetime(2026, 3, 2, 4, 30, tzinfo=UTC)


def test_labels_and_settings_that_cannot_be_read_are_the_sentence_of_their_home(
    instance: dg.DagsterInstance, directory: HomeDirectory
) -> None:
    labels = directory.open("cora").labels
    labels.parent.mkdir(parents=True, exist_ok=True)
    labels.write_bytes(b"no parquet")
    directory.open("ben").settings_file.write_text("min_windows: many\n", encoding="utf-8")
    rows = read(HomesReader(), instance, directory)
    assert [rows[name].attention for name in ("ben", "cora", "anna")] == ["broken", "broken", "waiting"]
    assert "min_windows" in rows["ben"].sentence
    assert rows["cora"].sentence.startswith("The labels cannot be read")
    assert (rows["cora"].labels_since, rows["cora"].is_due, rows["cora"].due_reason) == (None, False, "It is not known.")
    assert rows["cora"].active_model == NEW


def test_a_defect_that_one_home_brings_out_is_the_row_of_this_home(
    instance: dg.DagsterInstance, directory: HomeDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_glance = homes_overview.read_glance

    def fails_for_ben(home: homes_overview.Home, environ: dict[str, str]) -> homes_overview.HomeGlance:
        if home.root.name == "ben":
            raise ZeroDivisionError("division by zero")
        return read_glance(home, environ)

    monkeypatch.setattr(homes_overview, "read_glance", fails_for_ben)
    rows = read(HomesReader(), instance, directory)
    assert (rows["ben"].attention, rows["anna"].attention, rows["cora"].active_model) == ("broken", "waiting", NEW)
    assert "Division by zero" in rows["ben"].sentence


def test_those_that_need_a_person_come_first_then_those_that_retrain(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    kinds = {"a": "fine", "b": "fine", "c": "waiting", "d": "fine", "e": "missing", "f": "fine"}
    directory = make_homes(tmp_path / "order", kinds)
    fail(instance, directory.open("d"))
    add_run(instance, directory.open("f"), Status.QUEUED)
    rows = read(HomesReader(), instance, directory)
    assert list(rows) == ["e", "d", "c", "f", "a", "b"]
    assert MID not in {row.active_model for row in rows.values()}
