"""The home of a run is that of its partition: nothing runs without one, and a run of one home never touches another."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.defs.jobs.partition_forms import fill_form
from taskclf_dagster.defs.runs.retrain_runs import RetrainRun, iterate_retrains
from taskclf_dagster.defs.runs.run_failures import explain_failure
from taskclf_dagster.defs.runs.run_tags import HOME_TAG, PARTITION_TAG
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.storage.instance_homes import HOMES_FOLDER
from taskclf_dagster.domain.storage.instance_owner import RECORD_NAME, read_owner
from taskclf_dagster.home import Home
from taskclf_dagster.team_definitions import build_team_definitions
from taskclf_dagster_tests.models import contents
from taskclf_dagster_tests.servers import learnable_home, write_config
from taskclf_dagster_tests.team_scenario import instance_of, make_team, write_homes_file

FORMS = {
    "retrain": {},
    "score": {},
    "monitor": {},
    "calibrate": {},
    "rollback": {"reason": "because"},
    "approve": {},
    "prune": {},
    "verify_registry": {"repair": True},
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HomeDirectory, dg.DagsterInstance]]:
    folder = tmp_path_factory.mktemp("team")
    directory = make_team(folder)
    with instance_of(directory, folder / "dagster") as instance:
        yield directory, instance


def _run(
    directory: HomeDirectory, instance: dg.DagsterInstance, job: str, name: str | None, *, form: dict | None = None, **tags: str
) -> tuple[dg.ExecuteInProcessResult, str]:
    """A run of a job for a partition, and why it failed."""
    definitions = build_team_definitions(homes_file=str(directory.path))
    if name is not None:
        instance.add_dynamic_partitions("homes", [name])
    config = fill_form(job, FORMS[job] if form is None else form)
    partition = {} if name is None else {"partition_key": name}
    result = definitions.resolve_job_def(job).execute_in_process(
        run_config=config, instance=instance, raise_on_error=False, tags=tags, **partition
    )
    record = instance.get_run_records(dg.RunsFilter(run_ids=[result.run_id]))[0]
    reason = "" if result.success else explain_failure(instance, RetrainRun(record.dagster_run, *[record.create_timestamp] * 3)).message
    return result, reason


@pytest.mark.parametrize("job", FORMS)
def test_nothing_runs_without_a_partition_and_nothing_is_written(served: tuple[HomeDirectory, dg.DagsterInstance], job: str) -> None:
    directory, instance = served
    before = contents(directory.path.parent / "team")
    result, reason = _run(directory, instance, job, None)
    assert not result.success
    assert reason.startswith(f"A run of {job} says for which home it is by its partition, and this one has none, or several.")
    assert contents(directory.path.parent / "team") == before


@pytest.mark.parametrize("job", FORMS)
def test_the_partition_of_an_unknown_home_is_refused_with_a_sentence(served: tuple[HomeDirectory, dg.DagsterInstance], job: str) -> None:
    directory, instance = served
    before = contents(directory.path.parent / "team")
    result, reason = _run(directory, instance, job, "bem")
    assert not result.success
    assert reason.startswith(f"There is no home named 'bem' in {directory.path}. Did you mean ben?")
    assert contents(directory.path.parent / "team") == before


def test_materialize_in_dagsters_pages_needs_the_partition_of_a_home_as_well(served: tuple[HomeDirectory, dg.DagsterInstance]) -> None:
    directory, instance = served
    job = build_team_definitions(homes_file=str(directory.path)).resolve_implicit_global_asset_job_def()
    assert job.partitions_def == dg.DynamicPartitionsDefinition(name="homes")
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success


def test_several_partitions_in_one_run_are_refused(served: tuple[HomeDirectory, dg.DagsterInstance]) -> None:
    directory, instance = served
    span = {"dagster/asset_partition_range_start": "anna", "dagster/asset_partition_range_end": "ben"}
    result, reason = _run(directory, instance, "verify_registry", None, **span)
    assert not result.success
    assert "this one has none, or several" in reason


def test_a_run_whose_name_stands_for_another_folder_since_its_launch_touches_neither(tmp_path: Path) -> None:
    directory = make_team(tmp_path)
    with instance_of(directory, tmp_path / "dagster") as instance:
        launched = directory.open("anna")
        write_homes_file(tmp_path, {"anna": directory.open("ben")})
        before = contents(tmp_path / "team")
        result, reason = _run(directory, instance, "verify_registry", "anna", **{HOME_TAG: str(launched.root)})
        assert not result.success
        assert reason.startswith(
            f"The run was launched for the home anna at {launched.root}, and the homes file says {launched.root.parent}/ben."
        )
        assert contents(tmp_path / "team") == before


def test_a_name_never_comes_to_stand_for_another_home_unnoticed(tmp_path: Path) -> None:
    directory = make_team(tmp_path)
    with instance_of(directory, tmp_path / "dagster") as instance:
        assert _run(directory, instance, "verify_registry", "anna")[0].success
        owner = read_owner(tmp_path / "dagster" / HOMES_FOLDER / "anna")
        assert owner is not None
        assert owner.home == str(tmp_path / "team" / "anna")
        write_homes_file(tmp_path, {"anna": Home(tmp_path / "team" / "ben")})
        result, reason = _run(directory, instance, "verify_registry", "anna")
        assert not result.success
        assert (
            f"the name anna is that of the home {tmp_path / 'team' / 'anna'}, whose history it has, and this is {tmp_path}/team/ben"
            in reason
        )
        (tmp_path / "dagster" / HOMES_FOLDER / "anna" / RECORD_NAME).unlink()
        assert _run(directory, instance, "verify_registry", "anna")[0].success


def test_a_launch_form_that_names_another_folder_is_refused(served: tuple[HomeDirectory, dg.DagsterInstance]) -> None:
    directory, instance = served
    job = build_team_definitions(homes_file=str(directory.path)).resolve_job_def("verify_registry")
    config = {"resources": {"home": {"config": {"root": str(directory.open("ben").root)}}}}
    instance.add_dynamic_partitions("homes", ["anna"])
    result = job.execute_in_process(run_config=config, instance=instance, partition_key="anna", raise_on_error=False)
    assert not result.success


@pytest.mark.slow
def test_a_retrain_of_one_partition_promotes_in_its_home_and_leaves_the_others_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes = {name: learnable_home(tmp_path / name) for name in ("anna", "ben")}
    monkeypatch.setenv("TASKCLF_DAGSTER_CONFIG", str(write_config(tmp_path)))
    directory = write_homes_file(tmp_path, homes)
    with instance_of(directory, tmp_path / "dagster") as instance:
        before = contents(homes["ben"].root)
        result, reason = _run(directory, instance, "retrain", "anna")
        assert result.success, reason
        assert read_active(homes["anna"]) is not None
        assert contents(homes["ben"].root) == before
        made = {event.asset_key.to_user_string(): event.partition for event in result.get_asset_materialization_events()}
        assert set(made) >= {"labeled_windows", "active_pointer"}
        assert set(made.values()) == {"anna"}
        assert [run.run_id for run in iterate_retrains(instance, homes["anna"])] == [result.run_id]
        assert list(iterate_retrains(instance, homes["ben"])) == []
        for job in ("score", "monitor", "calibrate", "prune", "verify_registry"):
            later, reason = _run(directory, instance, job, "anna")
            assert later.success, (job, reason)
        assert contents(homes["ben"].root) == before
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        assert run.tags[PARTITION_TAG] == "anna"
