"""The wheel and the sdist, built and used outside of the checkout: what a person has who installed the package."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import contents
from taskclf_dagster_tests.servers import PROJECT, Webserver, await_server, free_port, running, tail, until

pytest.importorskip("hatchling", reason="hatchling builds the package: make install")

SHIPPED = {f"configs/{path.name}" for path in (PROJECT / "configs").iterdir()} | {"dagster.yaml", "workspace.yaml"}
PREFIX = "taskclf_dagster/shipped/"
QUICK = "search: off\nprove_reproducible: false\ncalibration_method: off\ntrain_params: {num_boost_round: 20}\n"
"""Settings of the home, over those that are shipped."""


@dataclass(frozen=True)
class Installed:
    """The package as pip installs it from the wheel, and a folder of a person who uses it.

    Attributes:
        packages: where it is installed.
        folder: the working directory, outside of the checkout.
    """

    packages: Path
    folder: Path

    def environment(self, **more: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TASKCLF_", "DAGSTER_", "RETRAIN_"))}
        return {**inherited, "PYTHONPATH": str(self.packages), "OMP_NUM_THREADS": "1", **more}

    def __call__(self, *arguments: str) -> str:
        """What the command prints, which has to succeed."""
        command = [sys.executable, str(self.packages / "bin" / "taskclf-dagster"), *arguments]
        done = subprocess.run(command, cwd=self.folder, env=self.environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout


def _build(source: Path, target: Path, *kinds: str) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(target), *(part for kind in kinds for part in ("-t", kind))]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    _build(PROJECT, folder, "wheel", "sdist")
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """With the libraries of the tests: installing those takes minutes and shows nothing."""
    folder = tmp_path_factory.mktemp("person")
    (folder / "work").mkdir()
    (wheel,) = built.glob("*.whl")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(folder / "packages"),
        str(wheel),
    ]
    subprocess.run(command, check=True, capture_output=True)
    found = Installed(folder / "packages", folder / "work")
    where = "import taskclf_dagster; print(taskclf_dagster.__file__)"
    module = subprocess.run(
        [sys.executable, "-c", where], cwd=found.folder, env=found.environment(), capture_output=True, text=True, check=True
    )
    assert Path(module.stdout.strip()).is_relative_to(found.packages), "another copy of the package would be tested"
    return found


@pytest.fixture(scope="module")
def retrained(installed: Installed) -> Home:
    """A demo home, on which the installed package retrained as its own message says."""
    made = installed("demo", "home", "--days", "6", "--users", "2")
    printed = re.search(r"taskclf-dagster (retrain .*)", made)
    assert printed is not None, made
    (installed.folder / "home" / "taskclf_dagster.yaml").write_text(QUICK, encoding="utf-8")
    installed(*printed[1].split())
    return Home(installed.folder / "home")


@pytest.mark.slow
def test_wheel_and_sdist_hold_the_shipped_settings_as_they_are_in_the_checkout(built: Path, tmp_path: Path) -> None:
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)  # Debian's Python 3.11 has none
        archive.extractall(tmp_path)  # noqa: S202
    (unpacked,) = tmp_path.iterdir()
    assert {name: (unpacked / name).read_bytes() for name in SHIPPED} == {name: (PROJECT / name).read_bytes() for name in SHIPPED}
    _build(unpacked, tmp_path / "again", "wheel")
    (again,) = (tmp_path / "again").glob("*.whl")
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert sorted(first.namelist()) == sorted(second.namelist())
        shipped = {name.removeprefix(PREFIX): first.read(name) for name in first.namelist() if name.startswith(PREFIX)}
    assert shipped == {name: (PROJECT / name).read_bytes() for name in SHIPPED}


@pytest.mark.slow
def test_the_wheel_holds_every_template_style_and_script_of_the_page(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    web = PROJECT / "taskclf_dagster" / "web"
    files = {path.relative_to(PROJECT).as_posix() for folder in ("templates", "static") for path in (web / folder).iterdir()}
    assert len(files) > 15
    with zipfile.ZipFile(wheel) as archive:
        assert files <= set(archive.namelist())


@pytest.mark.slow
def test_outside_of_a_checkout_every_kind_of_command_works_and_the_history_is_in_the_home(installed: Installed, retrained: Home) -> None:
    packages = {name for name in contents(installed.packages) if not name.endswith(".pyc") and "__pycache__" not in name}
    home = retrained
    assert (home.instance / "history" / "runs.db").is_file()
    assert '"state": "completed"' in installed("status", "--home", "home", "--json")
    assert len(re.findall(r'"run_id": "', installed("history", "--home", "home", "--json"))) == 1
    assert str(installed.packages) in installed("config", "check")
    assert "every promise holds" in installed("registry", "fsck", "--home", "home")
    assert str(home.instance / "workspace.yaml") in installed("init", "--home", "home")
    assert [path.name for path in installed.folder.iterdir()] == ["home"]
    found = {name for name in contents(installed.packages) if not name.endswith(".pyc") and "__pycache__" not in name}
    assert found == packages


@pytest.mark.server
@pytest.mark.slow
def test_outside_of_a_checkout_dagster_dev_loads_the_project_and_shares_the_history(installed: Installed, retrained: Home) -> None:
    installed("init", "--home", "home")
    port, log = free_port(), installed.folder.parent / "dev.log"
    variables = {"DAGSTER_HOME": str(retrained.instance), "TASKCLF_HOME": "home"}
    command = [sys.executable, "-m", "dagster", "dev", "-m", "taskclf_dagster.definitions", "-p", str(port)]
    server = Webserver(f"http://127.0.0.1:{port}", log)
    with running(command, log, cwd=installed.folder, env=installed.environment(**variables)) as process:
        await_server(server, process)
        loaded: list[tuple[str, str]] = []
        for _ in until(120):
            loaded = server.locations()
            if loaded and all(kind != "loading" for _, kind in loaded):
                break
        assert loaded == [("taskclf_dagster.definitions", "RepositoryLocation")], tail(log)
        runs = server.ask("{ runsOrError { ... on Runs { results { jobName status } } } }")["runsOrError"]["results"]
        assert {"jobName": "retrain", "status": "SUCCESS"} in runs
