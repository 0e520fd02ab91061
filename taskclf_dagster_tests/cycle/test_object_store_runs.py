"""Real runs on a home whose windows and snapshots are in an object store, also while the store does not answer."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.defs.runs.retrain_runs import find_run
from taskclf_dagster.defs.runs.run_failures import Failure, explain_failure
from taskclf_dagster_tests.cycle.stages import Stage, definitions_of
from taskclf_dagster_tests.object_stores import Store, point_to, serving
from taskclf_dagster_tests.runs import forget_home


def _run(stage: Stage, job: str, **form: object) -> tuple[bool, Failure | None]:
    """Runs a job on an instance in memory; returns success, and the reason of a failure as the retry sensor sees it."""
    definitions = definitions_of(stage.home.root)
    forget_home(stage.dagster)
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def(job).execute_in_process(run_config=form, instance=instance, raise_on_error=False)
        run = find_run(instance, stage.home, result.run_id)
        return result.success, None if result.success or run is None else explain_failure(instance, run)


def _move_out(stage: Stage, store: Store) -> None:
    store.upload(stage.home.processed, "windows")
    for folder in stage.home.processed.glob("features_v*"):
        shutil.rmtree(folder)
    store.upload(stage.home.snapshots, "snapshots")
    shutil.rmtree(stage.home.snapshots)
    point_to(stage.home, features="windows", snapshots="snapshots")


@pytest.mark.slow
def test_a_retrain_that_loses_the_store_is_transient_and_the_next_one_promotes_the_model_of_local_files(
    grown: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local, moved = grown.copy(tmp_path / "local"), grown.copy(tmp_path / "moved")
    assert _run(local, "retrain", config_path=str(local.config("PROMOTE")))[0]
    with serving(monkeypatch) as store:
        _move_out(moved, store)
        before, form = moved.pointer(), {"config_path": str(moved.config("PROMOTE"))}
        store.fault = lambda method, path: 500 if method == "PUT" or store.asked_for("PUT") else None  # from the first part on
        success, failure = _run(moved, "retrain", **form)
        assert (success, moved.pointer()) == (False, before)
        assert failure is not None
        assert failure.kind == "io"
        assert "cannot be reached" in failure.message
        store.fault = lambda _method, _path: None
        assert _run(moved, "retrain", **form)[0]
        ours, theirs = moved.decision(), local.decision()
        assert (ours.verdict, ours.dataset.dataset_hash) == (theirs.verdict, theirs.dataset.dataset_hash)
        assert ours.gates == theirs.gates
        assert _model(moved) == _model(local)
        assert not moved.home.snapshots.exists()
        for job in ("score", "monitor", "verify_registry"):
            assert _run(moved, job) == (True, None), job


@pytest.mark.slow
def test_a_bucket_that_must_not_be_written_to_is_no_transient_failure(
    grown: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = grown.copy(tmp_path)
    with serving(monkeypatch) as store:
        _move_out(moved, store)
        store.fault = lambda method, path: 403 if method == "PUT" else None
        success, failure = _run(moved, "retrain", config_path=str(moved.config("PROMOTE")))
    assert not success
    assert failure is not None
    assert failure.kind == "error"
    assert "access is denied" in failure.message
    assert "leave to list, read, write and delete" in failure.message


def _model(stage: Stage) -> bytes:
    return (stage.home.models / stage.active() / "model.txt").read_bytes()
