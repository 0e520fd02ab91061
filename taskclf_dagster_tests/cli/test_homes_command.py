"""`taskclf-dagster homes`, and what `serve --homes` refuses before it starts anything."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskclf_dagster.cli.homes_instance import INSTANCE, choose_homes_instance, open_homes_instance
from taskclf_dagster.cli.main import main
from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.defs.runs.home_queue import HomeQueue
from taskclf_dagster.domain.storage.instance_owner import claim_instance
from taskclf_dagster.entry_paths import CONFIG_VARIABLE, HOMES_VARIABLE, INSTANCE_VARIABLE
from taskclf_dagster.errors import InstanceError
from taskclf_dagster_tests.many_homes import fail, make_homes
from taskclf_dagster_tests.models import NEW
from taskclf_dagster_tests.scenario import make_home

NONE = {HOMES_VARIABLE: None, INSTANCE_VARIABLE: None, CONFIG_VARIABLE: None}


@pytest.fixture
def directory(tmp_path: Path) -> HomeDirectory:
    return make_homes(tmp_path / "team", {"anna": "fine", "ben": "missing", "cora": "waiting"})


def run(*arguments: object, **environ: str) -> Result:
    return CliRunner(env={**NONE, **environ}).invoke(main, [*map(str, arguments)])


def test_the_homes_are_a_table_with_those_first_that_need_a_person(directory: HomeDirectory) -> None:
    result = run("homes", "--homes", directory.path)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    first = [line.split()[0] for line in lines if line.split()[:1] and line.split()[0] in ("anna", "ben", "cora")]
    assert first == ["ben", "cora", "anna"]
    assert "There is no folder" in " ".join(result.stdout.split())
    assert "3 homes, 2 of which need a person" in lines
    assert "No daemon is running" in result.stderr
    assert not (directory.path.parent / INSTANCE).exists()


def test_the_environment_names_the_homes_and_json_has_every_field(directory: HomeDirectory) -> None:
    result = run("homes", "--json", TASKCLF_DAGSTER_HOMES=str(directory.path))
    shown = json.loads(result.stdout)
    assert [(row["name"], row["attention"]) for row in shown["homes"]] == [("ben", "broken"), ("cora", "waiting"), ("anna", None)]
    assert shown["homes"][2]["active_model"] == NEW
    urgent = json.loads(run("homes", "--json", "--attention", "--homes", directory.path).stdout)
    assert [row["name"] for row in urgent["homes"]] == ["ben", "cora"]


def test_the_runs_are_those_of_the_instance_beside_the_homes_file(directory: HomeDirectory) -> None:
    with open_homes_instance(directory, records=True) as instance:
        fail(instance, directory.open("anna"))
        assert isinstance(instance.run_coordinator, HomeQueue)
    assert choose_homes_instance(directory, {}) == directory.path.parent / INSTANCE
    shown = json.loads(run("homes", "--json", "--homes", directory.path).stdout)
    assert {row["name"]: row["attention"] for row in shown["homes"]}["anna"] == "failed"


def test_an_instance_of_one_home_does_not_serve_many(directory: HomeDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INSTANCE_VARIABLE, str(tmp_path / "single"))
    (tmp_path / "single").mkdir()
    claim_instance(tmp_path / "single", make_home(tmp_path))
    with pytest.raises(InstanceError, match="belongs to one home"), open_homes_instance(directory, records=True):
        pass


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["homes"], "No homes file is named"),
        (["homes", "--homes", "{folder}/none.yaml"], "none.yaml"),
        (["serve", "--homes", "{folder}/homes.yaml", "--home", "{folder}/homes/anna"], "give one of them"),
        (["serve", "--homes", "{folder}/none.yaml"], "none.yaml"),
    ],
)
def test_what_names_no_homes_is_refused_with_a_sentence(directory: HomeDirectory, arguments: list[str], words: str) -> None:
    result = run(*(argument.format(folder=directory.path.parent) for argument in arguments))
    assert result.exit_code != 0
    assert words in result.stderr
    assert "Traceback" not in result.output
