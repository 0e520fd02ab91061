"""The sensors that launch: labels that arrived, once for each content; drift reports, once for each report; a failed run another day."""

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.automation.sensors import evaluate_drift_report, evaluate_label_arrival
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.domain.data.label_fingerprints import keep_fingerprints
from taskclf_dagster.domain.data.label_store import read_fingerprints
from taskclf_dagster.domain.decision.last_decided import LAST_DECIDED, LastDecided, read_last_decided, write_last_decided
from taskclf_dagster.domain.scheduling.label_arrival import read_label_store_state
from taskclf_dagster.domain.scheduling.skip_reasons import SkipKind
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import contents
from taskclf_dagster_tests.runs import Status, add_run, forget_home
from taskclf_dagster_tests.scenario import AS_OF, DAY, MINUTE, a_drift_report, learnable_home, span
from taskclf_dagster_tests.ticks import tick_definitions

NOW = datetime(2026, 2, 4, 12, tzinfo=UTC)
QUIET = NOW - timedelta(hours=1)
"""When the label store of these tests was last written."""


@dataclass(frozen=True)
class Tick:
    requests: Sequence[dg.RunRequest]
    skip: str
    kind: SkipKind | None
    cursor: str | None

    @property
    def changed_spans(self) -> int:
        state = read_label_store_state(self.cursor)
        assert state is not None
        return state.changed_spans

    @property
    def request(self) -> dg.RunRequest:
        (only,) = self.requests
        return only


@dataclass
class Office:
    """A home, the instance in which its runs are recorded, and settings laid over the default."""

    home: Home
    instance: dg.DagsterInstance
    settings: dict[str, object] = field(default_factory=dict)

    def tick(self, sensor: str = "label_arrival", cursor: str | None = None, *, now: datetime = NOW) -> Tick:
        config = self.home.root.parent / "settings.yaml"
        config.write_text(json.dumps(self.settings), encoding="utf-8")
        resources = {
            "home": HomeResource(root=str(self.home.root)),
            "run_settings": RunSettingsResource(config_path=str(config)),
            "clock": ClockResource(fixed=now.isoformat()),
        }
        definitions = tick_definitions()
        context = dg.build_sensor_context(
            instance=self.instance, cursor=cursor, resources=resources, repository_def=definitions.get_repository_def()
        )
        data = definitions.resolve_sensor_def(sensor).evaluate_tick(context)
        for request in data.run_requests or []:
            dg.validate_run_config(definitions.resolve_job_def("retrain"), request.run_config)
        kind = None if data.skip_message is None else self._find_kind(sensor, cursor, data.skip_message, now)
        return Tick(data.run_requests or [], data.skip_message or "", kind, data.cursor)

    def _find_kind(self, sensor: str, cursor: str | None, message: str, now: datetime) -> SkipKind | None:
        """The kind of the reason that the sensor shows as a message."""
        settings = RunSettingsResource(config_path=str(self.home.root.parent / "settings.yaml"))
        if sensor == "drift_report":
            answer = evaluate_drift_report(self.instance, self.home, settings, now=now)
        else:
            answer = evaluate_label_arrival(self.instance, self.home, settings, cursor=cursor, now=now)
        assert (answer.skip and answer.skip.message) == message
        return answer.skip and answer.skip.kind

    def record(self, request: dg.RunRequest, status: Status, *, at: datetime = NOW, **tags: str) -> dg.DagsterRun:
        """The run that a tick asked for, as it came to this state."""
        config = request.run_config
        return add_run(self.instance, self.home, status, tags={**request.tags, **tags}, run_config=config, at=at)

    def drift(self, now: datetime = NOW) -> Tick:
        return self.tick("drift_report", now=now)


def _spans(home: Home) -> list[dict[str, object]]:
    return pq.read_table(home.labels).to_pylist()


def _store(home: Home, spans: list[dict[str, object]], *, written: datetime = QUIET) -> None:
    schema = pq.read_schema(home.labels)
    pq.write_table(pa.Table.from_pylist(spans, schema=schema), home.labels)
    os.utime(home.labels, (written.timestamp(), written.timestamp()))


def _new_spans(n: int) -> list[dict[str, object]]:
    begin = AS_OF + timedelta(hours=9)
    return [span(begin + i * timedelta(minutes=2), begin + (i * 2 + 1) * timedelta(minutes=1), "Build", user="user-0") for i in range(n)]


def _label(office: Office, n: int, *, written: datetime = QUIET) -> None:
    _store(office.home, _spans(office.home) + _new_spans(n), written=written)


def _decide(home: Home, *, at: datetime, trained: datetime | None = None) -> None:
    mark = keep_fingerprints(home.decisions, read_fingerprints(home))
    facts = {"outcome": "REJECT", "decided_at": at, "as_of": at, "run_id": "r", "decision_id": "d", "dataset_hash": "0" * 16}
    seen = {"snapshot_path": "artifacts/snapshots/0", "label_watermark": mark, "trained_at": trained or at}
    write_last_decided(home, LastDecided.model_validate({**facts, **seen}))


@pytest.fixture(scope="module")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return learnable_home(tmp_path_factory.mktemp("sensors"), users=1, days=3)


@pytest.fixture
def office(_home: Home, instance: dg.DagsterInstance, tmp_path: Path) -> Office:
    """A home whose labels were all decided on a day ago, so that cadence asks for nothing."""
    shutil.copytree(_home.root, tmp_path / "home")
    home = Home(tmp_path / "home")
    _store(home, _spans(home))
    _decide(home, at=NOW - DAY)
    return Office(home, instance)


# --- Labels: how many ---------------------------------------------------------------------------------------------------------------


def test_four_new_spans_are_too_few_and_the_words_count_them(office: Office) -> None:
    _label(office, 4)
    tick = office.tick()
    assert list(tick.requests) == []
    assert (tick.kind, tick.changed_spans) == ("few_labels", 4)


def test_too_few_new_spans_are_the_reason_also_when_cadence_alone_would_launch(office: Office) -> None:
    _decide(office.home, at=NOW - 8 * DAY)
    _label(office, 4)
    assert office.tick().kind == "few_labels"


def test_five_new_spans_launch_one_run_that_says_why_and_is_keyed_by_the_content_of_the_store(office: Office) -> None:
    _label(office, 5)
    tick = office.tick()
    watch = read_label_store_state(tick.cursor)
    assert watch is not None
    tags = {".dagster/taskclf_home": str(office.home.root), "taskclf/cause": "new_labels"}
    tags |= {".dagster/taskclf_demand": f"labels-{watch.watermark}", ".dagster/taskclf_attempt": "1"}
    assert tick.request.tags.items() >= tags.items()
    assert re.fullmatch(rf"labels-{watch.watermark}-[0-9a-f]{{8}}-1", tick.request.run_key)
    assert (tick.request.job_name, tick.request.run_config) == ("retrain", {})


def test_edited_spans_count_once_each(office: Office) -> None:
    spans = _spans(office.home)
    for edited in spans[:4]:
        edited["label"] = "Write" if edited["label"] != "Write" else "Build"
    _store(office.home, spans)
    assert (office.tick().kind, office.tick().changed_spans) == ("few_labels", 4)
    spans[4]["end_ts"] -= timedelta(minutes=1)  # type: ignore[operator]
    _store(office.home, spans)
    assert len(office.tick().requests) == 1


def test_deleted_spans_count(office: Office) -> None:
    spans = _spans(office.home)
    _store(office.home, spans[:-4])
    assert (office.tick().kind, office.tick().changed_spans) == ("few_labels", 4)
    _store(office.home, spans[:-5])
    assert len(office.tick().requests) == 1


def test_the_number_of_new_spans_that_is_enough_comes_from_the_settings(office: Office) -> None:
    _label(office, 1)
    assert list(office.tick().requests) == []
    office.settings["min_new_labels"] = 1
    assert len(office.tick().requests) == 1


# --- Labels: when -------------------------------------------------------------------------------------------------------------------


def test_a_person_who_is_labelling_is_not_interrupted(office: Office) -> None:
    _label(office, 5, written=NOW)
    tick = office.tick()
    assert tick.kind == "labeling"
    assert office.tick(cursor=tick.cursor, now=NOW + 9 * MINUTE).kind == "labeling"
    assert len(office.tick(cursor=tick.cursor, now=NOW + 10 * MINUTE).requests) == 1


def test_the_pause_comes_from_the_settings(office: Office) -> None:
    _label(office, 5, written=NOW)
    office.settings["label_quiet_minutes"] = 0
    assert len(office.tick().requests) == 1


def test_a_store_written_again_with_the_same_spans_during_the_pause_does_not_prolong_it(office: Office) -> None:
    _label(office, 5, written=NOW - 9 * MINUTE)
    tick = office.tick()
    assert tick.kind == "labeling"
    _store(office.home, _spans(office.home)[::-1], written=NOW + MINUTE)
    assert len(office.tick(cursor=tick.cursor, now=NOW + 2 * MINUTE).requests) == 1


def test_labels_that_were_written_while_nobody_looked_count_from_then(office: Office) -> None:
    cursor = office.tick(now=NOW - DAY).cursor
    _label(office, 5, written=NOW - 11 * MINUTE)
    assert len(office.tick(cursor=cursor).requests) == 1


def test_a_cursor_of_an_earlier_version_is_looked_past(office: Office) -> None:
    _label(office, 5)
    assert len(office.tick(cursor="0123456789abcdef").requests) == 1


def test_at_the_first_start_on_a_home_with_labels_it_explains_instead_of_launching(office: Office) -> None:
    (office.home.decisions / LAST_DECIDED).unlink()
    tick = office.tick()
    assert list(tick.requests) == []
    assert tick.kind == "first_start"


# --- Labels: once, and again if the run failed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.QUEUED, Status.STARTED])
def test_while_a_retrain_is_under_way_the_labels_wait_and_the_words_name_it(office: Office, status: Status) -> None:
    _label(office, 5)
    run = office.record(office.tick().request, status)
    tick = office.tick()
    assert list(tick.requests) == []
    assert tick.kind == "running"
    assert run.run_id in tick.skip


def test_once_a_run_has_decided_on_these_labels_they_are_answered(office: Office) -> None:
    _label(office, 5)
    tick = office.tick()
    office.record(tick.request, Status.SUCCESS)
    _decide(office.home, at=NOW)
    again = office.tick(cursor=tick.cursor, now=NOW + MINUTE)
    assert (again.kind, again.changed_spans) == ("few_labels", 0)


def test_labels_that_a_run_did_not_decide_on_are_not_answered_by_its_request(office: Office) -> None:
    _label(office, 5)
    first = office.tick()
    office.record(first.request, Status.SUCCESS)  # say, its decision could not be kept
    second = office.tick(cursor=first.cursor)
    assert second.request.run_key != first.request.run_key


def test_one_more_span_is_another_content_and_another_key(office: Office) -> None:
    _label(office, 5)
    first = office.tick()
    _store(office.home, _spans(office.home) + _new_spans(6)[5:])
    second = office.tick(cursor=first.cursor)
    assert second.request.run_key != first.request.run_key


def test_a_failed_run_is_tried_again_a_day_later_under_another_key_until_it_was_tried_often_enough(office: Office) -> None:
    office.settings["max_attempts"] = 2
    _label(office, 5)
    first = office.tick()
    office.record(first.request, Status.FAILURE)
    assert office.tick(cursor=first.cursor, now=NOW + DAY - MINUTE).kind == "next_day"
    second = office.tick(cursor=first.cursor, now=NOW + DAY)
    assert second.request.tags[".dagster/taskclf_demand"] == first.request.tags[".dagster/taskclf_demand"]
    assert second.request.tags[".dagster/taskclf_attempt"] == "2"
    assert second.request.run_key != first.request.run_key
    office.record(second.request, Status.FAILURE, at=NOW + DAY)
    assert office.tick(cursor=first.cursor, now=NOW + 20 * DAY).kind == "attempts_exhausted"
    office.settings["max_attempts"] = 3
    assert len(office.tick(cursor=first.cursor, now=NOW + 20 * DAY).requests) == 1


def test_further_labels_after_a_failed_run_are_a_new_demand(office: Office) -> None:
    _label(office, 5)
    first = office.tick()
    office.record(first.request, Status.FAILURE)
    _store(office.home, _spans(office.home) + _new_spans(6)[5:])
    assert office.tick(cursor=first.cursor).request.tags[".dagster/taskclf_attempt"] == "1"


def test_the_retries_of_a_passing_failure_are_no_attempts_of_their_own(office: Office) -> None:
    _label(office, 5)
    first = office.tick()
    run = office.record(first.request, Status.FAILURE)
    office.record(first.request, Status.FAILURE, **{".dagster/taskclf_retry_of": run.run_id, ".dagster/taskclf_retry": "1"})
    assert office.tick(cursor=first.cursor, now=NOW + DAY).request.tags[".dagster/taskclf_attempt"] == "2"


def test_a_run_that_was_canceled_is_tried_again_a_day_later_and_its_key_was_used(office: Office) -> None:
    _label(office, 5)
    first = office.tick()
    office.record(first.request, Status.CANCELED)
    assert office.tick().kind == "next_day"
    assert office.tick(now=NOW + DAY).request.run_key != first.request.run_key


def test_labels_that_changed_and_changed_back_are_asked_for_under_a_key_that_was_not_used(office: Office) -> None:
    original = _spans(office.home)
    _label(office, 5)
    first = office.tick()
    office.record(first.request, Status.SUCCESS)
    _decide(office.home, at=NOW)
    _store(office.home, original)
    second = office.tick()
    office.record(second.request, Status.SUCCESS)
    _decide(office.home, at=NOW)
    _label(office, 5)
    third = office.tick()
    assert third.request.tags[".dagster/taskclf_demand"] == first.request.tags[".dagster/taskclf_demand"]
    assert len({tick.request.run_key for tick in (first, second, third)}) == 3


# --- Labels: nothing to learn from, unreadable, switched off ------------------------------------------------------------------------


def test_enough_new_spans_with_too_few_windows_skip_and_say_what_to_label(office: Office) -> None:
    office.settings["min_labels"] = 1000
    _label(office, 5)
    tick = office.tick()
    assert list(tick.requests) == []
    assert tick.kind == "nothing_to_learn_from"


def test_labels_that_could_not_be_learned_from_are_weighed_again_the_next_day_and_not_every_minute(office: Office) -> None:
    office.settings["min_labels"] = 1000
    _label(office, 5)
    cursor = office.tick().cursor
    office.settings["min_labels"] = 200
    assert office.tick(cursor=cursor, now=NOW + timedelta(hours=11)).kind == "nothing_to_learn_from"
    assert len(office.tick(cursor=cursor, now=NOW + timedelta(hours=12)).requests) == 1


@pytest.mark.parametrize("damage", ["torn", "a folder", "a column"])
def test_an_unreadable_label_store_skips_with_file_and_fix_and_forgets_nothing(office: Office, damage: str) -> None:
    _label(office, 5)
    cursor = office.tick().cursor
    before = office.home.labels.read_bytes()
    table = pq.read_table(office.home.labels).drop_columns(["label"])
    office.home.labels.unlink()
    if damage == "a folder":
        office.home.labels.mkdir()
    elif damage == "a column":
        pq.write_table(table, office.home.labels)
    else:
        office.home.labels.write_bytes(b"PAR1 torn")
    tick = office.tick(cursor=cursor)
    assert list(tick.requests) == []
    assert tick.kind == "error"
    assert str(office.home.labels) in tick.skip
    assert tick.cursor in (None, cursor)
    shutil.rmtree(office.home.labels) if damage == "a folder" else office.home.labels.unlink()
    office.home.labels.write_bytes(before)
    os.utime(office.home.labels, (QUIET.timestamp(), QUIET.timestamp()))
    assert len(office.tick(cursor=cursor).requests) == 1


@pytest.mark.parametrize("sensor", ["label_arrival", "drift_report"])
def test_without_a_home_the_sensor_skips_and_says_how_to_get_one(instance: dg.DagsterInstance, tmp_path: Path, sensor: str) -> None:
    tick = Office(Home(tmp_path / "none"), instance).tick(sensor)
    assert list(tick.requests) == []
    assert tick.kind == "error"
    assert str(tmp_path / "none") in tick.skip


@pytest.mark.parametrize("sensor", ["label_arrival", "drift_report"])
def test_a_wrong_configuration_skips_with_the_finding(office: Office, sensor: str) -> None:
    office.settings["min_labels"] = 0
    tick = office.tick(sensor)
    assert tick.kind == "error"
    assert "min_labels" in tick.skip


@pytest.mark.parametrize("sensor", ["label_arrival", "drift_report"])
def test_where_enabled_is_false_a_tick_skips_and_says_who_says_so(office: Office, sensor: str) -> None:
    _label(office, 5)
    _report(office)
    assert len(office.tick(sensor).requests) == 1
    office.settings["enabled"] = False
    tick = office.tick(sensor)
    assert (list(tick.requests), tick.kind) == ([], "disabled")


@pytest.mark.parametrize("sensor", ["label_arrival", "drift_report"])
def test_the_environment_turns_the_sensors_off(office: Office, sensor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _label(office, 5)
    _report(office)
    monkeypatch.setenv("RETRAIN_ENABLED", "off")
    assert office.tick(sensor).kind == "disabled"


@pytest.mark.parametrize("sensor", ["label_arrival", "drift_report"])
def test_a_tick_writes_nothing_into_the_home(office: Office, sensor: str) -> None:
    _label(office, 5)
    _report(office)
    before = contents(office.home.root)
    assert len(office.tick(sensor).requests) == 1
    assert contents(office.home.root) == before


def test_a_run_that_was_asked_for_really_answers_the_labels(office: Office) -> None:
    _label(office, 5)
    tick = office.tick()
    home, clock = HomeResource(root=str(office.home.root)), ClockResource(fixed=NOW.isoformat())
    settings = office.home.root.parent / "fast.yaml"
    settings.write_text("train_params: {num_boost_round: 3}\nsearch: off\n", encoding="utf-8")
    job = build_definitions(home=home, clock=clock).resolve_job_def("retrain")
    form = {**tick.request.run_config, "config_path": str(settings)}
    result = job.execute_in_process(run_config=form, tags=tick.request.tags, instance=office.instance)
    last = read_last_decided(office.home)
    assert result.success
    assert last is not None
    assert last.run_id == result.run_id
    assert office.tick(cursor=tick.cursor, now=NOW + MINUTE).changed_spans == 0


# --- Drift ----------------------------------------------------------------------------------------------------------------------------


MADE = NOW - timedelta(hours=2)


def _report(office: Office, *, critical: int = 1, warnings: int = 0, made: datetime = MADE, text: str | None = None) -> None:
    path = office.home.drift_report
    path.write_text(text or json.dumps(a_drift_report(made, critical=critical, warnings=warnings)), encoding="utf-8")


def test_without_a_report_drift_asks_for_nothing(office: Office) -> None:
    assert office.drift().kind == "no_report"


def test_a_critical_report_launches_one_forced_run_that_says_why(office: Office) -> None:
    _report(office, critical=1, warnings=2)
    request = office.drift().request
    assert request.run_config == {"force": True}
    assert request.tags["taskclf/cause"] == "drift"
    assert "artifacts/drift_report.json" in request.tags["taskclf/reason"]
    assert re.fullmatch(rf"{request.tags['.dagster/taskclf_demand']}-[0-9a-f]{{8}}-1", request.run_key)


@pytest.mark.parametrize(
    ("trigger", "critical", "skips"), [("critical", 0, "no_report"), ("warning", 0, None), ("critical", 1, None), ("never", 1, "disabled")]
)
def test_how_grave_an_alert_must_be_comes_from_the_settings(office: Office, trigger: str, critical: int, skips: SkipKind | None) -> None:
    office.settings["drift_trigger"] = trigger
    _report(office, critical=critical, warnings=3)
    tick = office.drift()
    assert (len(tick.requests), tick.kind) == (int(skips is None), skips)


def test_a_report_is_answered_once_also_when_its_run_found_nothing_better(office: Office) -> None:
    _report(office)
    run = office.record(office.drift().request, Status.SUCCESS)
    tick = office.drift(NOW + 300 * DAY)
    assert tick.kind == "answered"
    assert run.run_id in tick.skip


def test_a_report_of_the_future_triggers_one_run_and_not_another_for_each_tick(office: Office) -> None:
    _report(office, made=NOW + 300 * DAY)
    request = office.drift().request
    assert "in the future" in request.tags["taskclf/reason"]
    office.record(request, Status.SUCCESS)
    assert [office.drift(NOW + days * DAY).kind for days in (0, 1, 299)] == ["answered"] * 3


def test_a_retry_that_succeeds_answers_the_report_that_the_failed_run_was_for(office: Office) -> None:
    _report(office)
    request = office.drift().request
    failed = office.record(request, Status.FAILURE)
    retry = office.record(request, Status.SUCCESS, **{".dagster/taskclf_retry_of": failed.run_id, ".dagster/taskclf_retry": "1"})
    tick = office.drift(NOW + 2 * DAY)
    assert tick.kind == "answered"
    assert retry.run_id in tick.skip


def test_a_dry_run_does_not_answer_a_report(office: Office) -> None:
    _report(office)
    request = office.drift().request
    add_run(office.instance, office.home, Status.SUCCESS, tags=request.tags, run_config={"dry_run": True})
    assert office.drift().request.run_key != request.run_key


def test_the_same_report_written_again_is_the_same_and_another_is_another(office: Office) -> None:
    _report(office)
    request = office.drift().request
    office.record(request, Status.SUCCESS)
    _report(office)
    assert office.drift().kind == "answered"
    _report(office, critical=2)
    assert office.drift().request.tags[".dagster/taskclf_demand"] != request.tags[".dagster/taskclf_demand"]


def test_a_report_older_than_the_last_challenger_asks_for_nothing(office: Office) -> None:
    _decide(office.home, at=NOW, trained=MADE + MINUTE)
    _report(office)
    assert office.drift().kind == "answered"
    _report(office, made=MADE + 2 * MINUTE)
    assert len(office.drift().requests) == 1


def test_a_run_that_trained_nothing_does_not_answer_for_a_report_made_before_it(office: Office) -> None:
    _decide(office.home, at=NOW, trained=MADE - DAY)
    _report(office)
    assert len(office.drift().requests) == 1


def test_while_a_retrain_is_under_way_a_report_waits(office: Office) -> None:
    _report(office)
    run = add_run(office.instance, office.home, Status.STARTED)
    tick = office.drift()
    assert tick.kind == "running"
    assert run.run_id in tick.skip


def test_a_failed_run_for_a_report_is_tried_again_a_day_later_and_not_for_ever(office: Office) -> None:
    office.settings["max_attempts"] = 2
    _report(office)
    office.record(office.drift().request, Status.FAILURE)
    assert office.drift().kind == "next_day"
    second = office.drift(NOW + DAY).request
    assert (second.tags[".dagster/taskclf_attempt"], second.run_config) == ("2", {"force": True})
    office.record(second, Status.FAILURE, at=NOW + DAY)
    assert office.drift(NOW + 30 * DAY).kind == "attempts_exhausted"


def test_a_newest_report_that_cannot_be_read_skips_with_the_file(office: Office) -> None:
    _report(office, text="{")
    tick = office.drift()
    assert list(tick.requests) == []
    assert tick.kind == "error"
    assert str(office.home.drift_report) in tick.skip


def test_equal_labels_in_another_home_are_another_demand(office: Office, tmp_path: Path) -> None:
    _label(office, 5)
    first = office.tick().request
    copy = Home(tmp_path / "copy")
    shutil.copytree(office.home.root, copy.root)
    forget_home(Path(office.instance.root_directory))
    second = replace(office, home=copy).tick().request
    assert first.tags[".dagster/taskclf_demand"] == second.tags[".dagster/taskclf_demand"]
    assert first.run_key != second.run_key


# --- Wording --------------------------------------------------------------------------------------------------------------------------


def test_every_skip_names_the_bound_and_what_comes_next(office: Office, snapshot: SnapshotAssertion) -> None:
    found = {}
    _label(office, 4)
    found["few labels"] = office.tick().skip
    _store(office.home, _spans(office.home) + _new_spans(5)[4:], written=NOW)
    found["labeling"] = office.tick().skip
    found["enough"] = office.tick(now=NOW + DAY).request.tags["taskclf/reason"]
    office.settings["min_labels"] = 1000
    found["nothing to learn from"] = office.tick(now=NOW + DAY).skip
    office.settings["enabled"] = False
    found["disabled"] = office.tick().skip
    office.settings = {"drift_trigger": "never"}
    found["never"] = office.drift().skip
    office.settings = {}
    found["no report"] = office.drift().skip
    _report(office, critical=1, warnings=2)
    found["a report"] = office.drift().request.tags["taskclf/reason"]
    asked = office.drift().request
    office.record(asked, Status.FAILURE)
    found["next day"] = office.drift().skip
    office.settings = {"max_attempts": 1}
    found["attempts exhausted"] = office.drift().skip
    office.record(asked, Status.SUCCESS)
    found["answered by a run"] = office.drift().skip
    _decide(office.home, at=NOW, trained=MADE + MINUTE)
    found["answered by a challenger"] = office.drift().skip
    add_run(office.instance, office.home, Status.STARTED, tags={"taskclf/cause": "cadence"})
    _report(office, critical=2, made=NOW)
    found["running"] = re.sub(r"since .*", "since TIME", office.drift().skip)
    (office.home.decisions / LAST_DECIDED).unlink()
    found["first start"] = office.tick().skip
    assert {
        name: re.sub(r"[0-9a-f-]{36}", "RUN", message.replace(str(office.home.root), "HOME")) for name, message in found.items()
    } == snapshot
