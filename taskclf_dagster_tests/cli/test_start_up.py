"""Quick commands do not import what they do not use: that, and not their work, is what made them slow. And how commands end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskclf_dagster_tests.scenario import learnable_home

MODELS = {"lightgbm", "sklearn", "scipy", "matplotlib"}
DATA = {"pandas", "numpy", "pyarrow"}
DAGSTER = {"dagster", "dagster_shared", "sqlalchemy", "alembic"}
PROGRAM = """
import sys
from taskclf_dagster.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    assert not ended.code, ended.code
print("MODULES", *sorted(sys.modules))
"""


def _imported(*arguments: str, environ: dict[str, str]) -> set[str]:
    """The modules that a process has imported when the command has ended."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TASKCLF_", "DAGSTER_"))}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, env=inherited | environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    _, _, modules = done.stdout.rpartition("MODULES ")
    return set(modules.split())


@pytest.mark.parametrize("arguments", [("config", "check"), ("config", "show"), ("--version",)])
def test_commands_on_the_configuration_import_neither_dagster_nor_data_nor_models(arguments: tuple[str, ...]) -> None:
    found = _imported(*arguments, environ={})
    assert found & (MODELS | DATA | DAGSTER | {"cryptography", "requests"}) == set()
    assert not [name for name in found if name.startswith(("taskclf_dagster.defs", "taskclf_dagster.domain.data"))]


def test_status_imports_no_models_and_no_assets(tmp_path: Path) -> None:
    home = learnable_home(tmp_path, users=1, days=2)
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    found = _imported("status", "--home", str(home.root), environ={"DAGSTER_HOME": str(tmp_path / "dagster")})
    assert found & MODELS == set()
    assert found & {"taskclf_dagster.definitions", "taskclf_dagster.defs.assets.models", "taskclf_dagster.defs.display.pictures"} == set()
    assert {"dagster", "pandas"} <= found  # runs and due date need them: when one is gone, expect more of this test


def test_the_definitions_import_no_models(tmp_path: Path) -> None:
    """Code server, daemon and the process of each run load them, those of one home or those of many."""
    program = "import sys, taskclf_dagster.definitions, taskclf_dagster.team_definitions; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) & MODELS == set()


def test_a_reader_of_the_output_that_ends_early_is_no_error() -> None:
    command = [sys.executable, "-m", "taskclf_dagster.cli.main", "config", "show"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
