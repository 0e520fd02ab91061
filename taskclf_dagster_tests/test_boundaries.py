"""Rules about the source itself, read with `ast`: who may import Dagster, what has a docstring, what errors derive from."""

import ast
import builtins
import inspect
from pathlib import Path

import pytest

from taskclf_dagster import errors
from taskclf_dagster.errors import TaskclfDagsterError

PACKAGE = Path(errors.__file__).parent
BUILT_IN_ERRORS = {name for name, value in vars(builtins).items() if inspect.isclass(value) and issubclass(value, BaseException)}
MODULES = sorted(PACKAGE.rglob("*.py"))
PURE = [
    *sorted((PACKAGE / "domain").rglob("*.py")),
    PACKAGE / "home.py",
    PACKAGE / "settings.py",
    PACKAGE / "event_settings.py",
    PACKAGE / "cron.py",
    PACKAGE / "yaml_file.py",
    PACKAGE / "errors.py",
]


def _name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def _imported(source: str) -> set[str]:
    """Top-level packages that a module imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import dagster",
        "import dagster as dg",
        "import dagster.components",
        "from dagster import asset",
        "def f():\n    import dagster as dg",
    ],
)
def test_an_import_of_dagster_is_found_however_it_is_written(source: str) -> None:
    assert "dagster" in _imported(source)


def test_our_own_package_is_not_taken_for_dagster() -> None:
    assert "dagster" not in _imported("from taskclf_dagster.domain import windows")


@pytest.mark.parametrize("path", PURE, ids=_name)
def test_a_domain_module_does_not_know_dagster(path: Path) -> None:
    assert "dagster" not in _imported(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", PURE, ids=_name)
def test_a_domain_module_does_not_import_what_does_know_dagster(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    modules = {node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom) and node.module}
    assert not {
        module for module in modules if module.startswith(("taskclf_dagster.defs", "taskclf_dagster.definitions", "taskclf_dagster.cli"))
    }


def test_the_domain_has_the_modules_that_these_tests_are_about() -> None:
    expected = {"features", "windows", "labels", "projection", "labeled", "hashing", "split", "snapshot", "encoding", "training"}
    assert expected <= {path.stem for path in PURE}


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_opens_with_a_docstring(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} does not say what it holds"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_an_error_class_that_others_can_catch_derives_from_the_one_base(path: Path) -> None:
    classes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ClassDef)]
    roots = {node.name for node in classes if any(isinstance(base, ast.Name) and base.id in BUILT_IN_ERRORS for base in node.bases)}
    public = {name for name in roots if not name.startswith("_")}
    assert public == ({"TaskclfDagsterError"} if path.name == "errors.py" else set())


def test_the_error_family_is_the_one_that_callers_know() -> None:
    family = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert {name for name in family if not issubclass(getattr(errors, name), TaskclfDagsterError)} == set()
    assert {
        "TaskclfDagsterError",
        "HomeNotFoundError",
        "NoWindowsError",
        "UnreadableFileError",
        "SettingsError",
        "AsOfError",
        "DataContractError",
        "BundleError",
        "SnapshotError",
        "DecisionNotVerifiedError",
        "RecordNotFoundError",
    } <= family
