"""Records between assets: which run's record an asset reads, and what happens when there is none or it is damaged."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource
from taskclf_dagster.defs.resources.record_io_manager import RecordIOManager
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.home import Home
from taskclf_dagster_tests.dagster_internals import InMemoryJob, execute_run
from taskclf_dagster_tests.scenario import AS_OF, DAY, add_learnable_days, learnable_home, make_home

pytestmark = pytest.mark.filterwarnings(
    # Dagster warns about itself when a resource (the IO manager) has another resource (the home) within.
    "ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning"
)


class Note(Record):
    """A record of two fields."""

    text: str
    number: int = 1


NOTE = dg.PythonObjectDagsterType(Note)


@dg.asset(dagster_type=NOTE)
def note() -> Note:
    """Overwritten by hand in the tests below."""
    return Note(text="made in this run")


@dg.asset(dagster_type=NOTE)
def echo(note: Note) -> dg.MaterializeResult:
    """What it read."""
    return dg.MaterializeResult(value=note)


@dataclass(frozen=True)
class Desk:
    """A job of two assets on a home, and the instance it runs on."""

    home: Home
    job: dg.JobDefinition
    instance: dg.DagsterInstance

    def run(self, *assets: str, parent: dg.DagsterRun | None = None) -> dg.DagsterRun:
        """Runs some of the assets; with a parent as the retry that Dagster makes of it."""
        part = self.job.get_subset(asset_selection={dg.AssetKey(name) for name in assets})
        run = self.instance.create_run_for_job(
            part,
            asset_selection=frozenset(dg.AssetKey(name) for name in assets),
            parent_run_id=None if parent is None else parent.run_id,
            root_run_id=None if parent is None else parent.root_run_id or parent.run_id,
        )
        execute_run(InMemoryJob(part), run, self.instance)
        found = self.instance.get_run_by_id(run.run_id)
        assert found is not None
        return found

    def write(self, name: str, text: str) -> None:
        folder = self.home.records / "note"
        folder.mkdir(parents=True, exist_ok=True)
        path = next(folder.glob(f"*-{name}.json"), folder / f"{name}.json")
        path.unlink(missing_ok=True)  # the latest may be another name of a run's record
        path.write_text(json.dumps({"text": text, "number": 1}), encoding="utf-8")

    def echoed(self) -> str:
        return str(json.loads((self.home.records / "echo" / "latest.json").read_text(encoding="utf-8"))["text"])

    def error(self, run: dg.DagsterRun) -> str:
        """What the run's log says about its failed step: every error of the chain."""
        records = self.instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
        error = records[0].event_log_entry.dagster_event.step_failure_data.error
        words = []
        while error is not None:
            words.append(error.message)
            error = error.cause
        return "\n".join(words)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    home = make_home(tmp_path)
    definitions = dg.Definitions(
        assets=[note, echo],
        jobs=[dg.define_asset_job("desk", selection=dg.AssetSelection.assets(note, echo), executor_def=dg.in_process_executor)],
        resources={"io_manager": RecordIOManager(home=HomeResource(root=str(home.root)))},
    )
    with dg.DagsterInstance.ephemeral() as instance:
        yield Desk(home, definitions.resolve_job_def("desk"), instance)


# --- Which record -----------------------------------------------------------------------------------------------------------------


def test_a_record_is_kept_as_json_for_its_run_and_as_the_latest(desk: Desk) -> None:
    run = desk.run("note")
    folder = desk.home.records / "note"
    assert sorted(path.name for path in folder.iterdir()) == [f"000001-{run.run_id}.json", "latest.json"]
    content = json.loads((folder / "latest.json").read_text(encoding="utf-8"))
    assert content == json.loads((folder / f"000001-{run.run_id}.json").read_text(encoding="utf-8"))
    assert content == {"text": "made in this run", "number": 1}


def test_the_record_of_a_later_run_has_a_higher_number_whatever_the_times_of_files(desk: Desk) -> None:
    desk.write("000007-00000000-0000-0000-0000-000000000000", "written while the clock was ahead")
    desk.write("._000009-00000000-0000-0000-0000-000000000000", "a file manager's")
    os.utime(desk.home.records / "note" / "000007-00000000-0000-0000-0000-000000000000.json", (2**33, 2**33))
    run = desk.run("note")
    assert (desk.home.records / "note" / f"000008-{run.run_id}.json").exists()


def test_an_asset_reads_what_its_own_run_has_made(desk: Desk) -> None:
    desk.write("latest", "of an older run")
    desk.run("note", "echo")
    assert desk.echoed() == "made in this run"


def test_an_asset_launched_alone_reads_the_latest(desk: Desk) -> None:
    desk.write("00000000-0000-0000-0000-000000000000", "of some other run")
    desk.write("latest", "the latest")
    desk.run("echo")
    assert desk.echoed() == "the latest"


def test_all_steps_of_a_run_have_the_same_record_even_if_another_run_writes_a_newer_one_meanwhile(desk: Desk) -> None:
    @dg.asset(dagster_type=NOTE)
    def early(note: Note) -> dg.MaterializeResult:
        desk.write("latest", "newer")
        return dg.MaterializeResult(value=note)

    @dg.asset(deps=[early], dagster_type=NOTE)
    def late(note: Note) -> dg.MaterializeResult:
        return dg.MaterializeResult(value=note)

    desk.write("latest", "older")
    resources = {"io_manager": RecordIOManager(home=HomeResource(root=str(desk.home.root)))}
    assert dg.materialize([note, early, late], selection=[early, late], resources=resources, instance=desk.instance).success
    for asset in ("early", "late"):
        assert json.loads((desk.home.records / asset / "latest.json").read_text(encoding="utf-8"))["text"] == "older"


def test_a_retry_reads_what_the_run_it_retries_has_made_not_the_latest(desk: Desk) -> None:
    parent = desk.run("note")
    desk.write("latest", "of a run in between")
    desk.run("echo", parent=parent)
    assert desk.echoed() == "made in this run"


def test_a_retry_of_a_retry_reads_what_the_first_run_has_made(desk: Desk) -> None:
    root = desk.run("note")
    parent = desk.run("echo", parent=root)
    desk.write("latest", "of a run in between")
    desk.run("echo", parent=parent)
    assert desk.echoed() == "made in this run"


def test_the_nearer_run_wins_over_the_first(desk: Desk) -> None:
    root = desk.run("note")
    parent = desk.run("note", parent=root)
    desk.write(root.run_id, "of the first run")
    desk.write(parent.run_id, "of the retry")
    desk.run("echo", parent=parent)
    assert desk.echoed() == "of the retry"


# --- None, or damaged ---------------------------------------------------------------------------------------------------------------


def test_without_any_record_the_error_says_what_to_materialize_first(desk: Desk) -> None:
    run = desk.run("echo")
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert "RecordNotFoundError" in desk.error(run)
    assert str(desk.home.records / "note") in desk.error(run)


@pytest.mark.parametrize(
    "content",
    ['{"text": "torn', "[]", '{"number": 1}', '{"text": "x", "number": "many"}', '{"text": "x", "key_of_a_later_version": 1}'],
    ids=["torn", "a list", "a missing key", "a wrong type", "an unknown key"],
)
def test_a_damaged_record_is_an_error_with_file_and_fix_never_a_guess(desk: Desk, content: str) -> None:
    desk.write("latest", "")
    (desk.home.records / "note" / "latest.json").write_text(content, encoding="utf-8")
    run = desk.run("echo")
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert str(desk.home.records / "note" / "latest.json") in desk.error(run)
    assert "UnreadableFileError" in desk.error(run)
    assert not (desk.home.records / "echo").exists()


def test_a_damaged_record_of_the_own_run_is_not_replaced_by_the_latest(desk: Desk) -> None:
    parent = desk.run("note")
    (desk.home.records / "note" / f"000001-{parent.run_id}.json").write_text("{", encoding="utf-8")
    assert desk.run("echo", parent=parent).status == dg.DagsterRunStatus.FAILURE


# --- The real job -------------------------------------------------------------------------------------------------------------------


class _Job:
    """The job `retrain` on one home; Dagster re-executes what it can make again by this call."""

    home = ""

    def __call__(self) -> dg.JobDefinition:
        definitions = build_definitions(home=HomeResource(root=self.home), clock=ClockResource(fixed=(AS_OF + 2 * DAY).isoformat()))
        return definitions.resolve_job_def("retrain")


def retrain_job() -> dg.JobDefinition:
    return _Job()()


def test_a_run_retried_from_its_failure_goes_on_with_its_own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = learnable_home(tmp_path, users=1, days=5)
    config = tmp_path / "fast.yaml"
    config.write_text("min_class_windows: 10\ntrain_params: {num_boost_round: 3, num_leaves: 4}\n", encoding="utf-8")
    monkeypatch.setattr(_Job, "home", str(home.root))
    obstacle = home.records / "challenger_model"
    home.records.mkdir(parents=True)
    obstacle.write_text("a file where the folder of this record must be", encoding="utf-8")
    job = dg.reconstructable(retrain_job)
    form = {"as_of": AS_OF.isoformat(), "config_path": str(config)}
    with dg.DagsterInstance.ephemeral() as instance:
        first = dg.execute_job(job, instance=instance, run_config=form)
        failed = {event.step_key for event in first.all_events if event.is_step_failure}
        assert (first.success, failed) == (False, {"challenger_model"})
        snapshot = _latest_snapshot(home)
        obstacle.unlink()

        add_learnable_days(home, users=1)
        later = retrain_job().execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey("labeled_windows"), dg.AssetKey("dataset_snapshot")],
            run_config={**form, "as_of": (AS_OF + DAY).isoformat()},
        )
        assert later.success
        assert _latest_snapshot(home) != snapshot

        options = dg.ReexecutionOptions.from_failure(first.run_id, instance)
        second = dg.execute_job(job, instance=instance, reexecution_options=options)
        assert second.success
        executed = {event.step_key for event in second.all_events if event.is_step_start}
        assert "challenger_model" in executed
        assert not executed & {"labeled_windows", "dataset_snapshot"}
        assert instance.get_run_by_id(second.run_id).tags["taskclf/outcome"] in ("REJECT", "AWAITING_APPROVAL")
    challenger = json.loads((home.records / "challenger_model" / f"000001-{second.run_id}.json").read_text(encoding="utf-8"))
    assert challenger["dataset_hash"] == snapshot
    assert challenger["model_id"].startswith("2026-02-04_000000")
    decided = json.loads((home.records / "promotion_decision" / "latest.json").read_text(encoding="utf-8"))
    assert decided["dataset"]["dataset_hash"] == snapshot
    receipt = home.decisions / f"{decided['decision_id']}.json"
    assert receipt.samefile(home.records / "promotion_decision" / f"000001-{second.run_id}.json")  # a decision is written once


def _latest_snapshot(home: Home) -> str:
    return str(json.loads((home.records / "dataset_snapshot" / "latest.json").read_text(encoding="utf-8"))["dataset_hash"])
