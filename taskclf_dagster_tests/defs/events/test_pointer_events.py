"""What the asset active_pointer shows of moves that no run reported: real homes, a real instance, the sensor itself."""

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.events.pointer_events import _PAGE, FOREIGN, UNKNOWN, report_pointer
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.runs.run_tags import HOME_TAG, home_tag
from taskclf_dagster.domain.registry.history import read_history
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.rollback import rollback, unblock
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import AT, MID, NEW, OLD, contents, edit_json, pointer_to
from taskclf_dagster_tests.registry_scenario import BROKEN_POINTERS, LEAVING, cut_off, promoted, set_active, set_traps
from taskclf_dagster_tests.scenario import DAY, make_home

POINTER = dg.AssetKey("active_pointer")
LATER = AT + 5 * DAY


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as made:
        yield made


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Two models ran, the newer of them runs."""
    return promoted(make_home(tmp_path), OLD, MID)


def shown(instance: dg.DagsterInstance) -> list[dict[str, object]]:
    """The metadata of every materialization, the oldest first."""
    records = instance.fetch_materializations(POINTER, limit=1000, ascending=True).records
    return [{name: value.value for name, value in record.asset_materialization.metadata.items()} for record in records]


def a_run(instance: dg.DagsterInstance, home: Home, job: str = "retrain", **form: object) -> dg.DagsterRun:
    return instance.create_run_for_job(build_definitions().resolve_job_def(job), tags={HOME_TAG: home_tag(home)}, run_config=form)


def report_of_a_run(instance: dg.DagsterInstance, run: dg.DagsterRun, **metadata: str | int) -> None:
    """What the asset or an operation reports: the shape of defs/assets/promotion or of defs/operations."""
    data = dg.AssetMaterialization(POINTER, metadata=metadata)
    event = dg.DagsterEvent(
        event_type_value="ASSET_MATERIALIZATION",
        job_name=run.job_name,
        event_specific_data=dg._core.events.StepMaterializationData(data),
    )
    instance.report_dagster_event(event, run.run_id)


def tick(home: Home, instance: dg.DagsterInstance) -> str | None:
    resources = {"home": HomeResource(root=str(home.root)), "run_settings": RunSettingsResource(), "clock": ClockResource()}
    repository = build_definitions(home=resources["home"]).get_repository_def()
    context = dg.build_sensor_context(instance=instance, resources=resources, repository_def=repository)
    return repository.get_sensor_def("event_delivery").evaluate_tick(context).skip_message


def there_and_back(home: Home) -> None:
    """Leaves MID and comes back to it."""
    rollback(home, to=OLD, reason="worse", at=LATER)
    unblock(home, MID, reason="it was not worse", at=LATER)
    rollback(home, to=MID, reason="it was not worse", at=LATER + DAY)


# --- What is reported -------------------------------------------------------------------------------------------------------------


def test_a_move_of_the_command_line_is_shown_by_the_next_tick_once(home: Home, instance: dg.DagsterInstance) -> None:
    rollback(home, to=None, reason="worse", at=LATER)
    words = [tick(home, instance) for _ in range(3)]
    (row,) = shown(instance)
    receipt = next(entry.decision_id for entry in read_history(home).moves if entry.new.name == OLD)
    assert (row["model_id"], row["record"], row["reason"], row["home"]) == (OLD, 3, "worse", str(home.root))
    assert (row["previous"], row["decision_id"], row["macro_f1"]) == (f"models/{MID}", receipt, 0.9)
    assert [OLD in str(said) for said in words] == [True, False, False]


def test_a_move_that_the_asset_did_not_see_is_reported_as_what_it_is_without_a_run(home: Home, instance: dg.DagsterInstance) -> None:
    assert report_pointer(home, instance) is not None
    (record,) = instance.fetch_materializations(POINTER, limit=10).records
    assert record.run_id == ""
    assert record.asset_materialization.description == shown(instance)[0]["reason"] != ""


def test_the_checks_of_the_pointer_are_about_the_move_that_is_shown(home: Home, instance: dg.DagsterInstance) -> None:
    rollback(home, to=None, reason="worse", at=LATER)
    report_pointer(home, instance)
    for name in ("points_to_a_valid_bundle", "agrees_with_the_history"):
        (record,) = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(POINTER, name), limit=5)
        evaluation = record.event.dagster_event.asset_check_evaluation_data
        assert (evaluation.passed, record.run_id) == (True, "")
        (latest,) = instance.fetch_materializations(POINTER, limit=1).records
        assert evaluation.target_materialization_data.storage_id == latest.storage_id


def test_several_moves_between_two_ticks_are_one_report_of_the_present(home: Home, instance: dg.DagsterInstance) -> None:
    report_pointer(home, instance)
    rollback(home, to=None, reason="worse", at=LATER)
    set_active(home, MID, at=LATER + DAY)
    set_active(home, OLD, at=LATER + 2 * DAY)
    for _ in range(3):
        report_pointer(home, instance)
    assert [(row["model_id"], row["record"], row["reason"]) for row in shown(instance)][1:] == [(OLD, 0, FOREIGN)]


def test_the_same_model_under_another_record_is_another_move(home: Home, instance: dg.DagsterInstance) -> None:
    report_pointer(home, instance)
    there_and_back(home)
    report_pointer(home, instance)
    assert [(row["model_id"], row["record"]) for row in shown(instance)] == [(MID, 2), (MID, 5)]


def test_a_repair_that_finishes_a_promotion_is_shown(home: Home, instance: dg.DagsterInstance) -> None:
    report_pointer(home, instance)
    cut_off(home)
    assert report_pointer(home, instance) is None
    repair(home, at=LATER)
    assert report_pointer(home, instance) is not None
    assert shown(instance)[-1]["model_id"] == read_active(home).name == NEW
    assert report_pointer(home, instance) is None


def test_a_pointer_that_taskclf_moved_is_shown_and_stays_when_the_registry_takes_note_of_it(
    home: Home, instance: dg.DagsterInstance
) -> None:
    set_active(home, OLD, at=LATER)
    report_pointer(home, instance)
    repair(home, at=LATER + DAY)
    for _ in range(3):
        report_pointer(home, instance)
    assert {(row["model_id"], row["record"]) for row in shown(instance)} == {(OLD, read_active(home).sequence or 0)}


def test_a_pointer_without_a_history_is_shown_although_nothing_tells_why(home: Home, instance: dg.DagsterInstance) -> None:
    home.active_history.unlink()
    report_pointer(home, instance)
    assert [(row["model_id"], row["reason"]) for row in shown(instance)] == [(MID, UNKNOWN)]


def test_a_report_changes_nothing_in_the_home(home: Home, instance: dg.DagsterInstance) -> None:
    before = contents(home.root)
    report_pointer(home, instance)
    assert contents(home.root) == before


# --- What runs report themselves --------------------------------------------------------------------------------------------------


def test_what_a_retrain_reported_is_not_repeated(home: Home, instance: dg.DagsterInstance) -> None:
    report_of_a_run(instance, a_run(instance, home), model_id=MID, record=2, home=str(home.root), reason="better")
    assert report_pointer(home, instance) is None
    there_and_back(home)
    assert report_pointer(home, instance) is not None


def test_what_an_operation_reported_without_its_home_is_not_repeated(home: Home, instance: dg.DagsterInstance) -> None:
    report_of_a_run(instance, a_run(instance, home, "rollback", reason="worse"), model_id=MID, record=2, reason="better")
    assert report_pointer(home, instance) is None


def test_the_job_rollback_and_the_sensor_agree(home: Home, instance: dg.DagsterInstance) -> None:
    definitions = build_definitions(home=HomeResource(root=str(home.root)), clock=ClockResource(fixed=LATER.isoformat()))
    job = definitions.resolve_job_def("rollback")
    assert job.execute_in_process(run_config={"reason": "worse"}, instance=instance).success
    tick(home, instance)
    assert [row["model_id"] for row in shown(instance)] == [OLD]


def test_a_move_whose_run_is_under_way_is_left_to_that_run(home: Home, instance: dg.DagsterInstance, snapshot: SnapshotAssertion) -> None:
    run = a_run(instance, home, "rollback", reason="worse")
    rollback(home, to=None, reason="worse", at=LATER, run_id=run.run_id)
    assert report_pointer(home, instance) is None
    instance.report_run_failed(run, "it died before it reported")
    assert report_pointer(home, instance) == snapshot
    assert [row["model_id"] for row in shown(instance)] == [OLD]


# --- Several homes, one instance --------------------------------------------------------------------------------------------------


def test_two_homes_of_one_instance_do_not_take_turns(home: Home, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    other = promoted(make_home(tmp_path / "other"), OLD)
    for _ in range(3):
        report_pointer(home, instance)
        report_pointer(other, instance)
    assert [(row["model_id"], row["home"]) for row in shown(instance)] == [(MID, str(home.root)), (OLD, str(other.root))]


def test_a_home_is_found_behind_many_reports_of_another(home: Home, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    report_pointer(home, instance)
    other = make_home(tmp_path / "other")
    run = a_run(instance, other)
    for number in range(2 * _PAGE + 1):
        report_of_a_run(instance, run, model_id=OLD, record=number)
    assert report_pointer(home, instance) is None


def test_what_names_no_home_counts_for_every_home(home: Home, instance: dg.DagsterInstance) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(POINTER, metadata={"model_id": MID, "record": 2}))
    assert report_pointer(home, instance) is None
    instance.report_runless_asset_event(dg.AssetMaterialization(POINTER))  # by hand, in the UI
    assert report_pointer(home, instance) is not None


# --- Nothing to report ------------------------------------------------------------------------------------------------------------


def test_a_home_without_a_pointer_reports_nothing(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    empty = make_home(tmp_path)
    assert report_pointer(empty, instance) is None
    tick(empty, instance)
    assert shown(instance) == []


def test_a_missing_home_reports_nothing(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    missing = Home(tmp_path / "nowhere")
    assert report_pointer(missing, instance) is None
    assert str(missing.root) in str(tick(missing, instance))
    assert shown(instance) == []
    assert not missing.root.exists()


@pytest.mark.parametrize("content", BROKEN_POINTERS.values(), ids=BROKEN_POINTERS.keys())
def test_a_damaged_pointer_reports_nothing(home: Home, instance: dg.DagsterInstance, content: str) -> None:
    home.active_pointer.write_text(content, encoding="utf-8")
    assert report_pointer(home, instance) is None
    assert shown(instance) == []


@pytest.mark.parametrize("model_dir", LEAVING.values(), ids=LEAVING.keys())
def test_a_pointer_that_leaves_the_home_reports_nothing(home: Home, instance: dg.DagsterInstance, model_dir: str, tmp_path: Path) -> None:
    set_traps(home, tmp_path / "outside")
    document = pointer_to(MID, model_dir=model_dir.format(outside=tmp_path / "outside"))
    home.active_pointer.write_text(json.dumps(document), encoding="utf-8")
    assert report_pointer(home, instance) is None
    assert shown(instance) == []


def test_a_pointer_that_is_whole_again_is_compared_with_what_was_shown_before(home: Home, instance: dg.DagsterInstance) -> None:
    report_pointer(home, instance)
    whole = home.active_pointer.read_bytes()
    home.active_pointer.write_text("", encoding="utf-8")
    report_pointer(home, instance)
    home.active_pointer.write_bytes(whole)
    assert report_pointer(home, instance) is None
    assert len(shown(instance)) == 1


def test_keys_of_the_pointer_that_name_no_move_do_not_matter(home: Home, instance: dg.DagsterInstance) -> None:
    report_pointer(home, instance)
    edit_json(home.active_pointer, {"note_of_taskclf": "x"})
    assert report_pointer(home, instance) is None


def test_a_history_that_cannot_be_read_is_told_and_the_tick_delivers_all_the_same(
    home: Home, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "not yours")

    monkeypatch.setattr("taskclf_dagster.defs.events.pointer_events.read_history", refuse)
    words = str(tick(home, instance))
    assert "jsonl-" in words
    assert "[Errno 13]" in words
    monkeypatch.undo()
    tick(home, instance)
    assert len(shown(instance)) == 1
