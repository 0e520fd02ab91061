"""The pages of the history: their order, their cursors while retrains come and go, and one retrain by its id."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.defs.runs.run_tags import DECISION_TAG
from taskclf_dagster.home import Home
from taskclf_dagster.status.job_history import describe_job
from taskclf_dagster.status.records import Retrain
from taskclf_dagster.status.run_history import read_history_page, read_retrain, read_retrains
from taskclf_dagster_tests.retrain_scenario import Waiting
from taskclf_dagster_tests.runs import Status, add_run
from taskclf_dagster_tests.scenario import make_home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def _ids(instance: dg.DagsterInstance, home: Home, *, limit: int, after: str | None) -> tuple[list[str | None], str | None]:
    page = read_history_page(instance, home, limit=limit, after=after)
    return [retrain.run_id for retrain in page.retrains], page.next_cursor


def test_retrains_that_are_launched_between_two_pages_move_nothing(instance: dg.DagsterInstance, home: Home) -> None:
    first, second, third, fourth, fifth = (add_run(instance, home, Status.SUCCESS).run_id for _ in range(5))
    newest, cursor = _ids(instance, home, limit=2, after=None)
    assert newest == [fifth, fourth]
    sixth = add_run(instance, home, Status.QUEUED).run_id
    middle, following = _ids(instance, home, limit=2, after=cursor)
    assert middle == [third, second]
    assert _ids(instance, home, limit=2, after=following) == ([first], None)
    assert [retrain.run_id for retrain in read_retrains(instance, home, limit=2)] == [sixth, fifth]


def test_a_page_that_ends_with_the_last_retrain_has_no_cursor(instance: dg.DagsterInstance, home: Home) -> None:
    runs = [add_run(instance, home, Status.SUCCESS).run_id for _ in range(2)]
    assert _ids(instance, home, limit=2, after=None) == (runs[::-1], None)
    assert _ids(instance, home, limit=2, after="0.x") == ([], None)


@pytest.mark.parametrize("text", ["", "x", "1", "1.", ".x", "-1.x", "1.x y", "1.x\n", "१.x", "1" * 19 + ".x"])
def test_what_is_no_cursor_is_refused(instance: dg.DagsterInstance, home: Home, text: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        read_history_page(instance, home, limit=1, after=text)


def test_a_retrain_is_found_by_its_run_and_by_its_decision(instance: dg.DagsterInstance, waiting_home: Waiting, tmp_path: Path) -> None:
    shutil.copytree(waiting_home[0].root, tmp_path / "copy")
    home, decision = Home(tmp_path / "copy"), waiting_home[1]
    alone = read_retrain(instance, home, decision.decision_id)
    assert alone is not None
    assert (alone.run_id, alone.decision_id, alone.challenger) == (None, decision.decision_id, decision.challenger.model_id)
    assert str(describe_job(alone).sentence).endswith("checks that apply and waits for approval.")
    run = add_run(instance, home, Status.SUCCESS, tags={DECISION_TAG: decision.decision_id})
    by_run, by_decision = (read_retrain(instance, home, name) for name in (run.run_id, decision.decision_id))
    assert by_run == by_decision
    assert by_run is not None
    assert (by_run.run_id, by_run.decision_id) == (run.run_id, decision.decision_id)


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "a\0b", "\ud800", "é" * 300, "0" * 36, "2026-01-01_000000_nothing"])
def test_an_id_that_is_none_finds_nothing(instance: dg.DagsterInstance, home: Home, name: str) -> None:
    add_run(instance, home, Status.SUCCESS)
    assert read_retrain(instance, home, name) is None


def test_runs_of_another_home_or_of_another_job_are_no_retrains_of_this_one(
    instance: dg.DagsterInstance, home: Home, tmp_path: Path
) -> None:
    for run in (add_run(instance, Home(tmp_path / "other"), Status.SUCCESS), add_run(instance, home, Status.SUCCESS, job="rollback")):
        assert read_retrain(instance, home, run.run_id) is None


def test_a_job_record_has_the_names_of_the_wire() -> None:
    retrain = Retrain.model_validate(
        {
            "decision_id": "d",
            "status": "queued",
            "challenger": "new",
            "metrics_before": {"macro_f1": 0.5, "weighted_f1": 0.4, "accuracy": 0.6, "macro_precision": 0.7, "macro_recall": 0.8},
        }
    )
    job = describe_job(retrain)
    assert (job.id, job.status, job.model_id, job.report_url) == ("d", "pending", "new", "/retrain/reports/d")
    assert job.metrics_before is not None
    before = job.metrics_before
    assert (before.f1, before.accuracy, before.precision, before.recall) == (0.5, 0.6, 0.7, 0.8)
    assert job.metrics_after is None
