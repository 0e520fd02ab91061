"""Rules about the source itself, read with `ast`: every module has a docstring, and what errors derive from."""

import ast
import builtins
import inspect
from pathlib import Path

from taskclf_dagster import errors
from taskclf_dagster.errors import TaskclfDagsterError

PACKAGE = Path(errors.__file__).parents[1]
BUILT_IN_ERRORS = {name for name, value in vars(builtins).items() if inspect.isclass(value) and issubclass(value, BaseException)}
MODULES = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def test_every_module_opens_with_a_docstring() -> None:
    assert [name for name, module in MODULES.items() if not ast.get_docstring(module)] == []


def test_every_error_class_that_others_can_catch_derives_from_the_one_base() -> None:
    roots = {
        f"{name}: {node.name}"
        for name, module in MODULES.items()
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef) and any(isinstance(base, ast.Name) and base.id in BUILT_IN_ERRORS for base in node.bases)
    }
    assert {root for root in roots if not root.partition(": ")[2].startswith("_")} == {"errors/base.py: TaskclfDagsterError"}


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
