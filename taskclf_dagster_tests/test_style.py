"""The rules of docs/glossary.md that can be read out of the source: how docstrings begin, and words that are not used."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from taskclf_dagster import errors

PACKAGE = Path(errors.__file__).parents[1]

OPENINGS = re.compile(r"(What|Whether|Why|How|When|Which|Where|That)\b")

AVOIDED = re.compile(
    r"\b(leftovers?|slots?|told|tell(s|ing)?|passing (failures?|errors?|reasons?)|laid over|lay over|head.to.head|in words|the words"
    r"|tried again|mend(s|ed|ing)?|puts? aside|put back|without a word|for ever|beyond doubt|overview|is gone|what taskclf runs)\b",
    re.IGNORECASE,
)


def _docstrings() -> Iterator[tuple[str, str]]:
    """Yields each docstring of the package with its file and line."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text:
                    yield f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 1)}", text
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node.value.value


def test_no_docstring_begins_with_a_question_word() -> None:
    found = {f"{where}: {text.splitlines()[0]}" for where, text in _docstrings() if OPENINGS.match(text)}
    assert sorted(found) == []


def test_no_docstring_has_a_word_to_avoid() -> None:
    found = {
        f"{where}: {match.group(0)}: {line}"
        for where, text in _docstrings()
        for line in text.splitlines()
        for match in AVOIDED.finditer(line)
    }
    assert sorted(found) == []
