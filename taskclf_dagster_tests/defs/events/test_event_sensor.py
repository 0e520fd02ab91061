"""The sensor event_delivery on a real instance: what runs, decisions and changes tell, and what a broken sink does to it."""

import errno
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.config.event_settings import EventSettings
from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.events.event_sinks import build_sinks
from taskclf_dagster.defs.events.run_events import OVERLAP
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.runs.retrain_runs import iterate_retrains
from taskclf_dagster.defs.runs.run_failures import TOOK_TOO_LONG, explain_failure
from taskclf_dagster.defs.runs.run_tags import DECISION_TAG, FAILURE_TAG, HOME_TAG
from taskclf_dagster.domain.decision.decision_store import save_decision
from taskclf_dagster.domain.events.apprise_service import AppriseService
from taskclf_dagster.domain.events.delivery_report import NOTHING_WAITS
from taskclf_dagster.domain.events.outbox import read_outbox, write_event
from taskclf_dagster.domain.events.redis_stream import RedisStream
from taskclf_dagster.domain.events.sinks import JsonLinesFile, UnusableSink
from taskclf_dagster.domain.events.webhook import Webhook
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.rollback import rollback
from taskclf_dagster.domain.retraining.steps import remember_decision
from taskclf_dagster.domain.storage.filesystem import FileSystem, use_file_system
from taskclf_dagster.home import Home
from taskclf_dagster_tests.masking import masked
from taskclf_dagster_tests.models import AT, MID, OLD, a_decision, contents
from taskclf_dagster_tests.receivers import Receiver, an_event, free_port, http_receiver, mail_server, redis_server
from taskclf_dagster_tests.registry_scenario import promoted
from taskclf_dagster_tests.scenario import AS_OF, learnable_home, make_home
from taskclf_dagster_tests.ticks import tick_definitions

pytestmark = [
    # Dagster warns about itself when a resource (the IO manager) has another resource (the home) within.
    pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),  # of apprise
]

SMALL = (
    "min_class_windows: 20\nmin_windows: 50\n"
    "max_negative_flips: 1.0\nmax_flip_excess: 1.0\ntrain_params: {num_boost_round: 10}\nsearch: off\n"
)
EVENTS = "artifacts/events/events.jsonl"


@dataclass
class Ticks:
    """The sensor on one home and instance, with its cursor kept between ticks."""

    home: Home
    instance: dg.DagsterInstance
    folder: Path
    cursor: str | None = None
    settings: str = ""

    def __call__(self, *, at: datetime | None = None) -> str:
        """One tick; gives its words."""
        config = self.folder / "sensor.yaml"
        config.write_text(self.settings, encoding="utf-8")
        resources = {
            "home": HomeResource(root=str(self.home.root)),
            "run_settings": RunSettingsResource(config_path=str(config)),
            "clock": ClockResource(fixed=None if at is None else at.isoformat()),
        }
        definitions = tick_definitions()
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources=resources, repository_def=definitions.get_repository_def()
        )
        data = definitions.resolve_sensor_def("event_delivery").evaluate_tick(context)
        assert data.run_requests == []
        self.cursor = data.cursor
        assert data.skip_message is not None
        return data.skip_message

    def use(self, *sinks: dict[str, object], **settings: object) -> None:
        self.settings = yaml.safe_dump({"events": {"sinks": list(sinks)}, **settings})

    def retrain(self, **form: object) -> dg.ExecuteInProcessResult:
        job = build_definitions(home=HomeResource(root=str(self.home.root))).resolve_job_def("retrain")
        return job.execute_in_process(run_config={"as_of": AS_OF.isoformat(), **form}, instance=self.instance, raise_on_error=False)

    def config(self, name: str, text: str) -> str:
        path = self.folder / f"{name}.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    def begun(self, job: str = "retrain", *, form: dict[str, object] | None = None, **tags: str) -> dg.DagsterRun:
        """A run whose process has begun; nothing is executed."""
        run = self.instance.create_run_for_job(tick_definitions().resolve_job_def(job), tags=tags, run_config=form or {})
        event = dg.DagsterEvent(event_type_value="PIPELINE_START", job_name=job, message="began")
        self.instance.report_dagster_event(event, run.run_id, log_level=logging.INFO)
        return run

    @property
    def events(self) -> list[dict[str, object]]:
        """What the default sink has."""
        path = self.home.root / EVENTS
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    @property
    def types(self) -> list[object]:
        return [event["eventType"] for event in self.events]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def ticks(tmp_path: Path, instance: dg.DagsterInstance) -> Ticks:
    return Ticks(make_home(tmp_path), instance, tmp_path)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_receiver() as receiver:
        yield receiver


# --- Retrains ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ticks, dict[str, str]]]:
    """A tick, then retrains that promote, find nothing new, are rejected, run dry and fail, then a rollback, then two ticks."""
    folder = tmp_path_factory.mktemp("month")
    with dg.DagsterInstance.ephemeral() as instance:
        ticks = Ticks(learnable_home(folder, users=1, days=6), instance, folder)
        ticks()
        promoting = ticks.config("promoting", f"auto_promote: true\n{SMALL}")
        rejecting = ticks.config("rejecting", f"auto_promote: true\n{SMALL}gates: {{min_macro_f1: 0.999}}\n")
        runs = {
            "promoted": ticks.retrain(config_path=promoting),
            "skipped": ticks.retrain(config_path=promoting),
            "rejected": ticks.retrain(config_path=rejecting, force=True),
            "dry": ticks.retrain(config_path=rejecting, force=True, dry_run=True),
            "failed": ticks.retrain(config_path=ticks.config("picky", f"{SMALL}min_labels: 100000\n"), force=True),
        }
        for _ in range(3):
            ticks()
        yield ticks, {name: result.run_id for name, result in runs.items()}


def _of(month: tuple[Ticks, dict[str, str]], run: str) -> list[dict[str, object]]:
    ticks, runs = month
    return [event for event in ticks.events if event["runId"] == runs[run]]


def test_every_run_tells_its_beginning_and_its_end_once(month: tuple[Ticks, dict[str, str]]) -> None:
    told = {name: sorted(str(event["eventType"]) for event in _of(month, name)) for name in month[1]}
    assert told == {
        "promoted": ["model.promoted", "model.retrain.completed", "model.retrain.started", "model.retrained"],
        "skipped": ["model.retrain.skipped", "model.retrain.started"],
        "rejected": ["model.rejected", "model.retrain.completed", "model.retrain.started", "model.retrained"],
        "dry": ["model.retrain.completed", "model.retrain.started"],
        "failed": ["model.retrain.failed", "model.retrain.started"],
    }
    ids = [event["eventId"] for event in month[0].events]
    assert len(ids) == len(set(ids)) == 14
    assert read_outbox(month[0].home).events == []


def test_they_come_in_the_order_in_which_they_happened(month: tuple[Ticks, dict[str, str]]) -> None:
    times = [str(event["occurredAt"]) for event in month[0].events]
    assert times == sorted(times)
    assert [event["eventType"] for event in month[0].events][:2] == ["model.retrain.started", "model.promoted"]


def test_a_completed_run_tells_verdict_figures_and_versions(month: tuple[Ticks, dict[str, str]]) -> None:
    (done,) = (event for event in _of(month, "promoted") if event["eventType"] == "model.retrain.completed")
    active = read_active(month[0].home)
    assert active is not None
    assert done["eventId"] == f"{month[1]['promoted']}-completed"
    assert (done["payload"]["modelId"], done["payload"]["previousVersion"], done["payload"]["newVersion"]) == (
        active.name,
        None,
        active.name,
    )
    assert 0 < done["payload"]["metrics"]["macro_f1"] <= 1
    assert done["payload"]["reason"].startswith("PROMOTE: ")


def test_a_rejected_challenger_names_the_champion_that_stays(month: tuple[Ticks, dict[str, str]]) -> None:
    (done,) = (event for event in _of(month, "rejected") if event["eventType"] == "model.retrain.completed")
    (rejected,) = (event for event in _of(month, "rejected") if event["eventType"] == "model.rejected")
    assert done["payload"]["previousVersion"] == rejected["payload"]["previousVersion"] == read_active(month[0].home).name
    assert done["payload"]["newVersion"] is rejected["payload"]["newVersion"] is None
    assert done["payload"]["reason"] == f"REJECT: {rejected['payload']['reason']}"
    assert "macro_f1" in rejected["payload"]["reason"]


def test_a_dry_run_is_marked(month: tuple[Ticks, dict[str, str]]) -> None:
    (done,) = (event for event in _of(month, "dry") if event["eventType"] == "model.retrain.completed")
    assert done["payload"]["reason"].startswith("REJECT (dry run): ")


def test_a_skipped_run_says_why(month: tuple[Ticks, dict[str, str]]) -> None:
    (skipped,) = (event for event in _of(month, "skipped") if event["eventType"] == "model.retrain.skipped")
    run = month[0].instance.get_run_by_id(month[1]["skipped"])
    assert run is not None
    assert skipped["payload"]["reason"] == run.tags["taskclf/outcome_reason"]
    assert skipped["payload"]["modelId"] is None


def test_a_failed_run_says_what_a_person_would_read_in_its_log(month: tuple[Ticks, dict[str, str]]) -> None:
    (failed,) = (event for event in _of(month, "failed") if event["eventType"] == "model.retrain.failed")
    assert failed["payload"]["reason"].startswith("dataset_snapshot: enough_labels: ")


def test_a_run_names_its_decision_in_a_tag(month: tuple[Ticks, dict[str, str]]) -> None:
    run = month[0].instance.get_run_by_id(month[1]["rejected"])
    (rejected,) = (event for event in _of(month, "rejected") if event["eventType"] == "model.rejected")
    assert run is not None
    assert rejected["eventId"] == f"{run.tags[DECISION_TAG]}-rejected"


# --- Runs that cannot tell of themselves --------------------------------------------------------------------------------------------


def test_a_process_that_was_killed_is_told_with_the_words_of_whoever_found_it(ticks: Ticks) -> None:
    ticks()
    run = ticks.begun()
    killed = f"[DagsterApiServer] Run execution process for {run.run_id} was terminated by signal 9 (SIGKILL)."
    ticks.instance.report_engine_event(killed, run)  # as Dagster's code server does it
    ticks.instance.report_run_failed(run)
    ticks()
    assert ticks.types == ["model.retrain.started", "model.retrain.failed"]
    assert ticks.events[1]["payload"]["reason"] == killed
    (failed,) = iterate_retrains(ticks.instance, ticks.home)
    assert explain_failure(ticks.instance, failed).kind == "killed"


def test_a_run_that_took_too_long_says_so(ticks: Ticks) -> None:
    ticks()
    run = ticks.begun(**{FAILURE_TAG: "timeout"})
    ticks.instance.report_run_failed(run, "the watchdog ended it")
    ticks()
    assert str(ticks.events[1]["payload"]["reason"]).startswith(TOOK_TOO_LONG)
    (failed,) = iterate_retrains(ticks.instance, ticks.home)
    assert explain_failure(ticks.instance, failed).kind == "timeout"


def test_a_run_that_was_canceled_failed(ticks: Ticks, snapshot: SnapshotAssertion) -> None:
    ticks()
    run = ticks.begun()
    ticks.instance.report_run_canceled(run, message="canceled by a person")
    ticks()
    assert ticks.events[1]["eventType"] == "model.retrain.failed"
    assert ticks.events[1]["payload"]["reason"] == snapshot


def test_a_run_that_is_under_way_is_told_at_once_and_its_end_later(ticks: Ticks) -> None:
    ticks()
    run = ticks.begun(**{"taskclf/cause": "new_labels"})
    ticks()
    assert ticks.types == ["model.retrain.started"]
    assert "new_labels" in str(ticks.events[0]["payload"]["reason"])
    ticks.instance.report_run_failed(run, "x")
    ticks()
    assert ticks.types == ["model.retrain.started", "model.retrain.failed"]


def test_a_run_that_lasts_longer_than_the_overlap_begins_once(ticks: Ticks) -> None:
    ticks()
    run = ticks.begun()
    ticks()
    ticks(at=datetime.now(UTC) + OVERLAP / 2)
    ticks.instance.report_run_failed(run, "x")
    now = datetime.now(UTC)
    for minutes in range(0, 60, 5):
        ticks(at=now + timedelta(minutes=minutes))
    assert ticks.types == ["model.retrain.started", "model.retrain.failed"]
    assert json.loads(str(ticks.cursor))["reported"] == {}  # what is remembered does not grow


def test_what_happened_while_nobody_looked_is_told_afterwards(ticks: Ticks) -> None:
    ticks(at=datetime.now(UTC) - timedelta(days=3))
    run = ticks.begun()
    ticks.instance.report_run_failed(run, "x")
    ticks(at=datetime.now(UTC) + timedelta(days=1))
    assert ticks.types == ["model.retrain.started", "model.retrain.failed"]


def test_runs_before_the_first_tick_are_history_and_not_told(ticks: Ticks) -> None:
    old, running = ticks.begun(), ticks.begun()
    ticks.instance.report_run_failed(old, "x")
    for _ in range(2):
        ticks()
    assert ticks.events == []
    ticks.instance.report_run_failed(running, "y")
    ticks()
    assert ticks.types == ["model.retrain.failed"]


def test_a_cursor_that_cannot_be_read_begins_now(ticks: Ticks) -> None:
    ticks.begun()
    ticks.cursor = "of another version"
    ticks()
    ticks.begun()
    ticks()
    assert len(ticks.events) == 1


def test_runs_of_another_home_and_other_jobs_are_not_told(ticks: Ticks, tmp_path: Path) -> None:
    ticks()
    ticks.begun(**{HOME_TAG: str(tmp_path / "another")})
    ticks.begun("rollback", form={"reason": "worse"})
    ticks()
    assert ticks.events == []
    ticks.begun(**{HOME_TAG: str(ticks.home.root.resolve())})
    ticks()
    assert len(ticks.events) == 1


# --- What else is told --------------------------------------------------------------------------------------------------------------


def test_promotions_and_rollbacks_without_a_run_are_told(ticks: Ticks) -> None:
    promoted(ticks.home, OLD, MID)
    rollback(ticks.home, to=None, reason="worse", at=AT + timedelta(days=9))
    ticks()
    assert ticks.types == ["model.promoted", "model.promoted", "model.rolled_back"]


def test_it_also_delivers_while_retraining_is_switched_off(ticks: Ticks) -> None:
    ticks.use({"type": "jsonl", "path": EVENTS}, enabled=False)
    write_event(ticks.home, an_event())
    ticks()
    assert len(ticks.events) == 1


# --- What goes wrong ----------------------------------------------------------------------------------------------------------------


class NoOutbox(FileSystem):
    """A file system on which nothing can be written to the outbox."""

    def create(self, path: Path, content: bytes | Callable[[Path], object]) -> None:
        if path.parent.name == "outbox":
            raise OSError(errno.ENOSPC, "full", str(path))
        super().create(path, content)


def test_a_broken_sink_is_told_and_breaks_nothing(ticks: Ticks, receiver: Receiver, snapshot: SnapshotAssertion) -> None:
    receiver.usually = 500
    ticks.use({"type": "jsonl", "path": EVENTS}, {"type": "webhook", "url": receiver.url})
    write_event(ticks.home, an_event())
    words = ticks()
    assert masked(words, also={r"(jsonl|webhook)-[\w.:-]+": r"\1-NAME"}) == snapshot
    receiver.usually = 204
    ticks(at=datetime.now(UTC) + timedelta(minutes=1))
    assert receiver.received == ["event-1"]
    assert len(ticks.events) == 1


def test_events_of_runs_that_cannot_be_written_come_with_the_next_tick(ticks: Ticks) -> None:
    ticks()
    ticks.begun()
    with use_file_system(NoOutbox()):
        assert "[Errno 28]" in ticks()
    ticks()
    assert ticks.types == ["model.retrain.started"]


def test_events_of_a_decision_that_its_run_could_not_write_come_with_the_next_tick(ticks: Ticks) -> None:
    decision = a_decision(ticks.home)
    save_decision(ticks.home, decision)
    with use_file_system(NoOutbox()):
        remember_decision(ticks.home, decision, run_id="run-1", at=AT)
    for _ in range(2):
        ticks()
    assert [event["eventId"] for event in ticks.events] == [f"{decision.decision_id}-retrained"]


def test_without_a_home_nothing_is_made(ticks: Ticks) -> None:
    shutil.rmtree(ticks.home.root)
    assert str(ticks.home.root) in ticks()
    assert not ticks.home.root.exists()


def test_a_configuration_that_is_wrong_is_told_and_events_wait(ticks: Ticks) -> None:
    write_event(ticks.home, an_event())
    ticks.settings = "events: {sinks: [{type: carrier pigeon}]}\n"
    assert "events.sinks" in ticks()
    assert len(read_outbox(ticks.home).events) == 1


def test_a_tick_on_a_home_where_nothing_happened_writes_nothing(ticks: Ticks) -> None:
    before = contents(ticks.home.root)
    assert ticks() == NOTHING_WAITS
    assert contents(ticks.home.root) == before


# --- Sinks of the settings ----------------------------------------------------------------------------------------------------------


def sinks_of(home: Home, *sinks: dict[str, object], environ: dict[str, str] | None = None) -> list[object]:
    return list(build_sinks(home, EventSettings.model_validate({"sinks": list(sinks)}), environ or {}))


def test_each_kind_of_sink_is_made_with_its_settings(ticks: Ticks) -> None:
    lines, hook, stream = sinks_of(
        ticks.home,
        {"type": "jsonl", "path": EVENTS},
        {"type": "webhook", "url_env": "HOOK", "secret_env": "KEY", "timeout_seconds": 2.5},
        {"type": "redis", "url": "redis://localhost"},
        environ={"HOOK": "https://example.org/x", "KEY": "k", "REQUESTS_CA_BUNDLE": "/ca.pem"},
    )
    assert isinstance(lines, JsonLinesFile)
    assert lines.path == ticks.home.root / EVENTS
    assert isinstance(hook, Webhook)
    assert (hook.url, hook.secret, hook.timeout_seconds, hook.verify) == ("https://example.org/x", "k", 2.5, "/ca.pem")
    assert isinstance(stream, RedisStream)
    assert [sink.name.split("-")[0] for sink in (lines, hook, stream)] == ["jsonl", "webhook", "redis"]


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"type": "webhook", "url_env": "HOOK"}, "HOOK"),
        (
            {"type": "webhook", "url": "http://h/x", "secret_env": "KEY"},
            "KEY",
        ),
        ({"type": "redis", "url_env": "HOOK"}, "HOOK"),
        ({"type": "apprise", "url_env": "HOOK"}, "HOOK"),
        ({"type": "webhook", "url": "ftp://h/x"}, "'ftp'"),
        ({"type": "redis", "url": "http://h/x"}, "'http'"),
    ],
)
@pytest.mark.parametrize("environ", [{}, {"HOOK": " ", "KEY": ""}], ids=["missing", "empty"])
def test_a_sink_that_lacks_something_waits_and_names_it(
    ticks: Ticks, settings: dict[str, object], found: str, environ: dict[str, str]
) -> None:
    (sink,) = sinks_of(ticks.home, settings, environ=environ)
    assert isinstance(sink, UnusableSink)
    assert sink.name in sink.problem
    assert found in sink.problem


def test_a_proxy_of_the_environment_is_used_except_where_it_says_not_to(
    ticks: Ticks, monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    (proxied,) = sinks_of(ticks.home, {"type": "webhook", "url": "http://example.org/x"})
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (direct,) = sinks_of(ticks.home, {"type": "webhook", "url": receiver.url})
    assert isinstance(proxied, Webhook)
    assert proxied.proxies["http"].startswith("http://127.0.0.1:")
    assert isinstance(direct, Webhook)
    direct.send(an_event(), at=AT, timeout=5)
    assert receiver.received == ["event-1"]


def test_people_are_notified_through_the_sensor_with_the_address_of_the_settings(ticks: Ticks, monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server() as mailbox:
        monkeypatch.setenv("NOTIFY_URL", mailbox.url())
        sinks = ({"type": "jsonl", "path": EVENTS}, {"type": "apprise", "url_env": "NOTIFY_URL"})
        ticks.use(*sinks, server={"url": "https://home.example/taskclf"})
        promoted(ticks.home, OLD)
        write_event(ticks.home, an_event())
        ticks()
        ticks()
        assert [mail["subject"] for mail in mailbox.mails] == [f"taskclf: A new model runs ({ticks.home.root.name})"]
        text = mailbox.mails[0].get_content()
        assert "Page: https://home.example/taskclf/retrain" in text.splitlines()
        assert "/retrain/reports/" in text
    assert set(ticks.types) == {"model.promoted", "model.retrained"}  # the other sink has every event


def test_a_sink_of_apprise_is_one_for_each_url_and_each_lacks_its_own(ticks: Ticks) -> None:
    people: dict[str, object] = {"type": "apprise", "url_env": "NOTIFY_URL", "events": ["model.promoted"]}
    found = sinks_of(ticks.home, people, environ={"NOTIFY_URL": "json://127.0.0.1/a nosuch://x,mailto://me:p@h.example"})
    assert [type(sink) for sink in found] == [AppriseService, UnusableSink, AppriseService]
    assert [sink.name.split("-", 2)[2] for sink in found] == ["1-of-3", "2-of-3", "3-of-3"]  # type: ignore[attr-defined]
    (alone,) = sinks_of(ticks.home, people, environ={"NOTIFY_URL": "json://127.0.0.1/a"})
    assert isinstance(alone, AppriseService)
    assert (alone.name.count("-"), alone.events) == (1, {"model.promoted"})


@pytest.mark.server
def test_all_three_sinks_get_an_event_through_the_sensor(
    ticks: Ticks, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis_server(tmp_path) as server:
        monkeypatch.setenv("EVENTS_REDIS_URL", server.url)
        ticks.use(
            {"type": "jsonl", "path": EVENTS},
            {"type": "webhook", "url": receiver.url},
            {"type": "redis", "url_env": "EVENTS_REDIS_URL"},
        )
        write_event(ticks.home, an_event())
        ticks()
        assert [event["eventId"] for event in ticks.events] == receiver.received == [event["eventId"] for event in server.events()]
