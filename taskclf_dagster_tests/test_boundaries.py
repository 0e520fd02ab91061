"""Rules about the source itself, read with `ast`: every module has a docstring, and what errors derive from."""

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


def _name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


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
