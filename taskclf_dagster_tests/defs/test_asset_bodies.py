"""The bodies of assets and checks are short: they read inputs, call one domain function, build metadata and return."""

import ast
from pathlib import Path

from taskclf_dagster.defs import assets, checks

MAX_LINES = 25
DECORATORS = {"asset", "asset_check", "multi_asset_check"}


def _body_lines(function: ast.FunctionDef) -> int:
    """Lines of a function without its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1


def _is_decorated(function: ast.FunctionDef) -> bool:
    calls = [node.func for node in function.decorator_list if isinstance(node, ast.Call)]
    return any(isinstance(call, ast.Attribute) and call.attr in DECORATORS for call in calls)


def test_no_body_of_an_asset_or_check_is_longer_than_25_lines() -> None:
    lengths = {}
    for package in (assets, checks):
        for path in Path(package.__file__ or "").parent.glob("*.py"):
            functions = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)]
            lengths |= {f"{path.name}:{node.name}": _body_lines(node) for node in functions if _is_decorated(node)}
    assert len(lengths) == 14 + 10  # the assets, and the functions of the checks that can be launched alone
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}
