"""Resources: where the home is, which settings a run has, and what time it is."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import dagster as dg
import pytest
from pydantic import ValidationError

from taskclf_dagster.config.loading import resolve_config
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.definitions import build_definitions
from taskclf_dagster.defs.resources import inputs
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource, parse_as_of
from taskclf_dagster.defs.resources.run_supervisor import RunSupervisor
from taskclf_dagster.errors import AsOfError, PathError, SettingsError
from taskclf_dagster.home import Home
from taskclf_dagster.provenance import cores
from taskclf_dagster_tests.scenario import make_home

NOON = "2026-02-04T12:00:00+00:00"


def _file(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


# --- Home -----------------------------------------------------------------------------------------------------------------------


def test_a_home_that_is_given_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKCLF_HOME", str(tmp_path / "environment"))
    assert HomeResource(root=str(tmp_path / "given")).open().root == tmp_path / "given"
    assert HomeResource().open().root == tmp_path / "environment"


def test_the_environment_is_read_when_the_home_is_opened_not_when_the_resource_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = HomeResource()
    monkeypatch.setenv("TASKCLF_HOME", str(tmp_path / "later"))
    assert resource.open().root == tmp_path / "later"


def test_a_home_below_the_tilde_is_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert HomeResource(root="~/taskclf").open().root == tmp_path / "taskclf"


@pytest.mark.parametrize("given", ["here", "./here", "../other/home"])
def test_a_relative_home_in_a_launch_form_is_refused_because_a_server_reads_it(given: str) -> None:
    with pytest.raises(PathError) as caught:
        HomeResource(root=given).open()
    assert caught.value.kind == "relative"
    assert repr(given) in str(caught.value)


# --- Clock and as-of time -------------------------------------------------------------------------------------------------------


def test_a_clock_that_stands_still_tells_its_time_and_another_the_machines() -> None:
    assert ClockResource(fixed=NOON).now() == datetime(2026, 2, 4, 12, tzinfo=UTC)
    now = ClockResource().now()
    assert now.tzinfo is not None
    assert abs(now - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-02-04", datetime(2026, 2, 4, tzinfo=UTC)),
        ("2026-02-04T06:00", datetime(2026, 2, 4, 6, tzinfo=UTC)),
        ("2026-02-04T06:00:00+01:00", datetime(2026, 2, 4, 5, tzinfo=UTC)),
        ("2026-02-04T06:00:00Z", datetime(2026, 2, 4, 6, tzinfo=UTC)),
    ],
)
def test_an_as_of_time_is_an_iso_date_or_time_and_utc_without_an_offset(text: str, moment: datetime) -> None:
    assert parse_as_of(text) == moment
    assert parse_as_of(text).tzinfo is not None


@pytest.mark.parametrize("text", ["tomorrow", "2026-13-01", "04.02.2026", ""])
def test_any_other_as_of_time_is_refused_with_an_example_of_a_right_one(text: str) -> None:
    with pytest.raises(AsOfError) as caught:
        parse_as_of(text)
    assert repr(text) in str(caught.value)


def test_without_an_as_of_time_a_run_takes_the_present_second() -> None:
    clock = ClockResource(fixed="2026-02-04T12:00:00.987654+00:00")
    assert RunSettingsResource().resolve_as_of(clock) == datetime(2026, 2, 4, 12, tzinfo=UTC)


def test_an_as_of_time_that_is_given_wins_over_the_clock() -> None:
    moment = RunSettingsResource(as_of="2026-01-01T00:00:00+02:00").resolve_as_of(ClockResource(fixed=NOON))
    assert moment == datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2)))


# --- Settings of a run ----------------------------------------------------------------------------------------------------------


def test_a_config_path_wins_over_the_environment_and_that_over_the_shipped_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert RunSettingsResource().load_config(None).dataset.min_labels == 200
    monkeypatch.setenv("TASKCLF_DAGSTER_CONFIG", str(_file(tmp_path, "environment.yaml", "min_labels: 11\n")))
    assert RunSettingsResource().load_config(None).dataset.min_labels == 11
    given = RunSettingsResource(config_path=str(_file(tmp_path, "given.yaml", "min_labels: 22\n")))
    assert given.load_config(None).dataset.min_labels == 22
    assert given.load_config(None).scheduling.global_retrain_cadence_days == 7  # what the file does not say comes from configs/retrain.yaml


def test_a_relative_config_path_in_a_launch_form_is_refused_because_a_server_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _file(tmp_path, "own.yaml", "min_labels: 11\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PathError) as caught:
        RunSettingsResource(config_path="own.yaml").load_config(None)
    assert caught.value.kind == "relative"


def test_a_config_path_to_nothing_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        RunSettingsResource(config_path=str(tmp_path / "none.yaml")).load_config(None)
    assert str(tmp_path / "none.yaml") in str(caught.value)


def test_a_changed_file_counts_at_the_next_load_without_a_restart(tmp_path: Path) -> None:
    path = _file(tmp_path, "changing.yaml", "min_labels: 11\n")
    resource = RunSettingsResource(config_path=str(path))
    assert resource.load_config(None).dataset.min_labels == 11
    _file(tmp_path, "changing.yaml", "min_labels: 12\n")
    assert resource.load_config(None).dataset.min_labels == 12


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_of_held_out_users_out_of_bounds_is_refused(share: float) -> None:
    with pytest.raises(ValidationError) as caught:
        RunSettingsResource(holdout_user_fraction=share)
    assert [error["loc"] for error in caught.value.errors()] == [("holdout_user_fraction",)]


def test_there_is_at_least_one_core() -> None:
    assert cores() >= 1


# --- The configuration of a run -------------------------------------------------------------------------------------------------


@dataclass
class Edited:
    """Two steps between which the configuration file is edited, on the project's own resources.

    Attributes:
        path: the file.
        seen: min_labels as each step, and the supervisor of each step, has it.
    """

    path: Path
    home: Home
    text: str = "min_labels: 12\n"
    seen: list[int] = field(default_factory=list)

    def job(self) -> dg.JobDefinition:
        @dg.asset
        def before(run_settings: RunSettingsResource, supervisor: RunSupervisor) -> None:
            self._look(run_settings, supervisor)
            self.path.write_text(self.text, encoding="utf-8")

        @dg.asset(deps=[before])
        def after(run_settings: RunSettingsResource, supervisor: RunSupervisor) -> None:
            self._look(run_settings, supervisor)

        project = build_definitions(
            home=HomeResource(root=str(self.home.root)), run_settings=RunSettingsResource(config_path=str(self.path))
        )
        definitions = dg.Definitions(assets=[before, after], resources=project.resources, executor=dg.in_process_executor)
        return definitions.resolve_implicit_global_asset_job_def()

    def _look(self, *resources: object) -> None:
        settings, supervisor = resources
        assert isinstance(settings, RunSettingsResource)
        assert isinstance(supervisor, RunSupervisor)
        self.seen += [each.load_config(self.home).dataset.min_labels for each in (settings, supervisor.run_settings)]


def test_an_edit_of_the_file_between_two_steps_changes_nothing_in_this_run_and_counts_in_the_next(tmp_path: Path) -> None:
    edited = Edited(_file(tmp_path, "mine.yaml", "min_labels: 11\n"), make_home(tmp_path))
    job = edited.job()
    assert job.execute_in_process().success
    assert edited.seen == [11] * 4
    assert job.execute_in_process().success
    assert edited.seen[4:] == [12] * 4


def test_a_file_that_is_spoiled_between_two_steps_does_not_fail_the_run(tmp_path: Path) -> None:
    edited = Edited(_file(tmp_path, "mine.yaml", "min_labels: 11\n"), make_home(tmp_path), text="min_labels: [")
    assert edited.job().execute_in_process().success
    assert edited.seen == [11] * 4


def test_a_run_loads_its_configuration_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edited = Edited(_file(tmp_path, "mine.yaml", "min_labels: 11\n"), make_home(tmp_path))
    job, loaded = edited.job(), []

    def load(path: str | None, home: Home | None) -> RetrainConfig:
        loaded.append(path)
        return resolve_config(path, home)

    monkeypatch.setattr(inputs, "resolve_config", load)
    assert job.execute_in_process().success
    assert loaded == [str(edited.path)]


def test_the_launch_form_chooses_home_and_file_for_every_resource_of_the_run(tmp_path: Path) -> None:
    edited = Edited(_file(tmp_path, "mine.yaml", "min_labels: 11\n"), make_home(tmp_path / "usual"))
    other, chosen = make_home(tmp_path / "other"), _file(tmp_path, "chosen.yaml", "min_labels: 33\n")
    form = {"home": {"config": {"root": str(other.root)}}, "run_settings": {"config": {"config_path": str(chosen)}}}
    assert edited.job().execute_in_process(run_config={"resources": form}).success
    assert edited.seen == [33] * 4
    assert other.retrain_lock.exists()
    assert [path.name for path in edited.home.root.iterdir()] == ["data"]


def test_a_tick_loads_nothing_beforehand_so_that_it_can_skip_with_the_reason(tmp_path: Path) -> None:
    path = _file(tmp_path, "mine.yaml", "min_labels: [")
    with dg.build_resources({"run_settings": RunSettingsResource(config_path=str(path))}) as resources:
        with pytest.raises(SettingsError):
            resources.run_settings.load_config(None)
        path.write_text("min_labels: 12\n", encoding="utf-8")
        assert resources.run_settings.load_config(None).dataset.min_labels == 12
