"""The Dagster instance of a command: which one it is, and its errors as one sentence."""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
import yaml
from click.testing import CliRunner, Result

from taskclf_dagster.cli.instance import open_instance
from taskclf_dagster.cli.instance_choice import CHECKOUT_INSTANCE, choose_instance
from taskclf_dagster.cli.instance_files import PLACES, write_instance_settings
from taskclf_dagster.cli.main import main
from taskclf_dagster.config.loading import load_retrain_config
from taskclf_dagster.config.shipped import CHECKOUT
from taskclf_dagster.config.yaml_files import flatten
from taskclf_dagster.domain.storage.home_id import ensure_home_id
from taskclf_dagster.domain.storage.instance_owner import RECORD_NAME, claim_instance, read_owner
from taskclf_dagster.errors import InstanceError, InstanceErrorKind
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import contents
from taskclf_dagster_tests.scenario import make_home

assert CHECKOUT is not None
YAML = "telemetry: {enabled: false}\n"


def _run(instance: Path | str | None, *arguments: str | Path, **options: object) -> Result:
    environ = {"DAGSTER_HOME": None if instance is None else str(instance)}
    return CliRunner(env=environ).invoke(main, [str(argument) for argument in arguments], **options)


def _error(instance: Path | str, *arguments: str | Path) -> InstanceError:
    """The error of a command, which prints it as one sentence without a traceback."""
    shown = _run(instance, *arguments)
    assert (shown.exit_code, type(shown.exception)) == (1, SystemExit), repr(shown.exception)
    assert len(shown.stderr.strip().splitlines()) == 1, shown.stderr
    error = _run(instance, *arguments, standalone_mode=False).exception
    assert error is not None
    assert isinstance(error.__cause__, InstanceError), repr(error.__cause__)
    assert str(error.__cause__) in shown.stderr
    return error.__cause__


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an instance with all of its databases; not to be written into."""
    folder = tmp_path_factory.mktemp("used")
    (folder / "dagster.yaml").write_text(YAML, encoding="utf-8")

    @dg.job
    def nothing() -> None:
        pass

    with dg.DagsterInstance.from_config(str(folder)) as instance:
        instance.all_instigator_state()
        nothing.execute_in_process(instance=instance)
    return folder


# --- Which instance -------------------------------------------------------------------------------------------------------------------


def test_without_dagster_home_the_first_home_shares_the_checkouts_instance_and_another_gets_its_own(tmp_path: Path) -> None:
    first, second, checkout = make_home(tmp_path / "a"), make_home(tmp_path / "b"), tmp_path / "checkout"
    shared = checkout / CHECKOUT_INSTANCE
    shared.mkdir(parents=True)
    assert choose_instance(second, {}, checkout).folder == shared
    claim_instance(shared, first)
    assert choose_instance(first, {}, checkout).folder == shared
    assert choose_instance(second, {}, checkout).folder == second.instance
    assert choose_instance(first, {}, None).folder == first.instance


def test_a_home_that_has_an_instance_keeps_it(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_instance_settings(home.instance)
    assert choose_instance(home, {}, tmp_path / "checkout").source == "home"


def test_dagster_home_wins_and_starts_at_the_callers_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = choose_instance(make_home(tmp_path), {"DAGSTER_HOME": "mine"}, tmp_path / "checkout")
    assert (found.folder, found.source) == (tmp_path / "mine", "environment")


def test_the_instance_of_the_checkout_is_where_its_settings_say() -> None:
    settings = yaml.safe_load((CHECKOUT / "dagster.yaml").read_text(encoding="utf-8"))
    folders = {value for key, value in flatten({place: settings[place] for place in PLACES}) if key.endswith("base_dir")}
    assert folders == {CHECKOUT_INSTANCE, f"{CHECKOUT_INSTANCE}/storage", f"{CHECKOUT_INSTANCE}/logs"}


def test_a_homes_own_instance_has_the_shipped_settings_and_keeps_its_files_in_its_folder(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_instance_settings(home.instance)
    shipped = yaml.safe_load((CHECKOUT / "dagster.yaml").read_text(encoding="utf-8"))
    written = yaml.safe_load((home.instance / "dagster.yaml").read_text(encoding="utf-8"))
    assert written == {key: value for key, value in shipped.items() if key not in PLACES}
    with open_instance(home, records=True, environ={}) as instance:
        assert Path(instance.root_directory) == home.instance
        instance.get_runs_count()
        made = ensure_home_id(home)  # as the first decision does
    owner = read_owner(home.instance)
    assert owner is not None
    assert (owner.home, owner.home_id) == (str(home.root.resolve()), made)


def test_a_reader_leaves_no_instance_where_there_is_none(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    write_instance_settings(home.instance)
    shutil.rmtree(home.instance)
    before = contents(tmp_path)
    for command in ("status", "history"):
        result = _run(None, command, "--home", home.root)
        assert result.exit_code == 0, result.output
    assert contents(tmp_path) == before


# --- Another home ---------------------------------------------------------------------------------------------------------------------


def test_the_instance_of_another_home_records_no_run_of_this_one(tmp_path: Path, used: Path) -> None:
    folder = tmp_path / "instance"
    shutil.copytree(used, folder)
    first, second = make_home(tmp_path / "a"), make_home(tmp_path / "b")
    claim_instance(folder, first)
    before = contents(second.root)
    assert _error(folder, "retrain", "--home", second.root).kind == "other_home"
    assert contents(second.root) == before


@pytest.mark.parametrize("command", ["status", "history"])
def test_beside_the_instance_of_another_home_a_reader_shows_what_is_in_the_home_and_warns(tmp_path: Path, used: Path, command: str) -> None:
    folder = tmp_path / "instance"
    shutil.copytree(used, folder)
    first, second = make_home(tmp_path / "a"), make_home(tmp_path / "b")
    claim_instance(folder, first)
    result = _run(folder, command, "--home", second.root)
    assert result.exit_code == 0
    assert str(second.root) in result.stdout
    assert str(first.root) in result.stderr


def test_a_reader_does_not_make_an_instance_its_own(tmp_path: Path, used: Path) -> None:
    folder = tmp_path / "instance"
    shutil.copytree(used, folder)
    assert _run(folder, "status", "--home", make_home(tmp_path / "a").root).exit_code == 0
    assert not (folder / RECORD_NAME).exists()


# --- Errors ---------------------------------------------------------------------------------------------------------------------------


def _spoil(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(b"no database " * 1000)

    return spoil


def _as_folder(folder: Path) -> None:
    (folder / "history" / "runs.db").unlink()
    (folder / "history" / "runs.db").mkdir()


def _of_two_versions(folder: Path) -> None:
    """As two processes leave it that make the tables at once."""
    with closing(sqlite3.connect(folder / "history" / "runs.db")) as database:
        database.execute("INSERT INTO alembic_version VALUES ('4ea2b1f6f67b')")
        database.commit()


SPOILED: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "runs": (_spoil("history/runs.db"), "history/runs.db", "history"),
    "events": (_spoil("history/runs/index.db"), "history/runs/index.db", "retrain"),
    "schedules": (_spoil("schedules/schedules.db"), "schedules/schedules.db", "status"),
    "a folder": (_as_folder, "history/runs.db", "status"),
    "two versions": (_of_two_versions, "history", "retrain"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_damaged_history_is_one_sentence_that_names_the_file(tmp_path: Path, used: Path, how: str) -> None:
    folder = tmp_path / "instance"
    shutil.copytree(used, folder)
    spoil, name, command = SPOILED[how]
    spoil(folder)
    error = _error(folder, command, "--home", make_home(tmp_path).root)
    assert error.kind == "damaged"
    assert name in str(error)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("storage: [\n", "line"),
        ("- a\n", "dagster.yaml"),
        ("nonsense: 1\n", "nonsense"),
        ("concurrency: {pools: {granularity: wrong}}\n", "granularity"),
        ("storage: {sqlite: {base_dir: {env: NO_SUCH_VARIABLE}}}\n", "dagster.yaml"),
        ("\x00", "dagster.yaml"),
    ],
)
def test_settings_of_an_instance_that_cannot_be_used_are_one_sentence(tmp_path: Path, text: str, name: str) -> None:
    folder = tmp_path / "instance"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(text, encoding="utf-8")
    error = _error(folder, "history", "--home", make_home(tmp_path).root)
    assert error.kind == "settings"
    assert name in str(error)


@pytest.mark.parametrize("name", ["50%20off", "really?", "a[1]", "all*"])
def test_a_path_that_dagster_takes_for_another_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert _error(tmp_path / name, "retrain", "--home", make_home(tmp_path).root).kind == "path"
    assert list((tmp_path / name).iterdir()) == []


def test_a_home_whose_path_dagster_cannot_use_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    home = make_home(tmp_path / "what?")
    write_instance_settings(home.instance)
    assert _run(None, "retrain", "--home", home.root, standalone_mode=False).exception is not None
    assert [path.name for path in home.instance.iterdir()] == ["dagster.yaml"]


@pytest.mark.parametrize(("make", "kind"), [(lambda path: None, "missing"), (Path.touch, "not_a_folder")])
def test_an_instance_that_is_no_folder_is_refused_and_not_made(
    tmp_path: Path, make: Callable[[Path], None], kind: InstanceErrorKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "instance")
    monkeypatch.chdir(tmp_path)
    home = make_home(tmp_path)
    before = contents(tmp_path)
    assert _error(tmp_path / "instance", "retrain", "--home", home.root).kind == kind
    assert _error("instance", "status", "--home", home.root).kind == kind  # relative: the caller's
    assert contents(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_instance_that_may_not_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "instance").mkdir(mode=0o500)
    assert _error(tmp_path / "instance", "status", "--home", make_home(tmp_path).root).kind == "unwritable"


def test_a_file_in_the_place_of_a_folder_is_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "instance"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(YAML, encoding="utf-8")
    (folder / "history").touch()
    assert _error(folder, "status", "--home", make_home(tmp_path).root).kind == "not_opened"


def test_an_instance_without_settings_is_one_sentence_with_a_way_out_instead_of_dagsters_own(tmp_path: Path) -> None:
    home, folder = make_home(tmp_path / "home"), tmp_path / "instance"
    folder.mkdir()
    environ = {**os.environ, "DAGSTER_HOME": str(folder)}
    command = [sys.executable, "-m", "taskclf_dagster.cli.main", "status", "--home", str(home.root)]
    shown = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stderr.splitlines()  # our own module
    assert len(shown) == 1, shown
    assert [part for part in (str(folder), "dagster.yaml", "taskclf-dagster init") if part not in shown[0]] == []
    (folder / "dagster.yaml").touch()
    assert subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stderr == ""  # our own module


# --- init -----------------------------------------------------------------------------------------------------------------------------


def test_init_writes_an_instance_and_settings_of_ones_own_once(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    first = _run(None, "init", "--home", home.root)
    assert first.exit_code == 0, first.output
    own = home.instance / "retrain.yaml"
    assert {path.name for path in home.instance.iterdir()} == {"dagster.yaml", "workspace.yaml", "retrain.yaml"}
    assert [name for name in (f"TASKCLF_HOME={home.root}", f"DAGSTER_HOME={home.instance}", str(own)) if name not in first.stdout] == []
    assert load_retrain_config(own) == load_retrain_config()
    own.write_text(own.read_text(encoding="utf-8").replace("#min_new_labels: 5", "min_new_labels: 6"), encoding="utf-8")
    before = contents(home.root)
    second = _run(None, "init", "--home", home.root)
    assert second.exit_code == 0, second.output
    assert contents(home.root) == before
    assert load_retrain_config(own).scheduling.min_new_labels == 6


def test_every_setting_of_the_own_file_can_be_set_by_removing_its_mark(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    _run(None, "init", "--home", home.root)
    own = home.instance / "retrain.yaml"
    text = own.read_text(encoding="utf-8")
    unmarked = "\n".join(line[1:] if re.match(r"#(  )*[a-z-]", line) else line for line in text.splitlines())
    own.write_text(unmarked, encoding="utf-8")
    assert load_retrain_config(own) == load_retrain_config()
    assert set(dict(flatten(yaml.safe_load(unmarked)))) == set(dict(flatten(load_retrain_config().document)))


def test_the_instance_of_a_moved_home_goes_with_it(tmp_path: Path) -> None:
    home = make_home(tmp_path / "a")
    ensure_home_id(home)
    write_instance_settings(home.instance)
    with open_instance(home, records=True, environ={}) as instance:
        instance.get_runs_count()
    moved = Home(tmp_path / "moved")
    shutil.move(home.root, moved.root)
    with open_instance(moved, records=True, environ={}) as instance:
        assert Path(instance.root_directory) == moved.instance
