"""The list of sabotages applies to the code as it is, and the runner believes nothing but a failure of the named test.

The list itself is run by `make test-sabotage`.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from taskclf_dagster_tests.sabotage.forked_runs import Result, Task
from taskclf_dagster_tests.sabotage.run import find_problem
from taskclf_dagster_tests.sabotage.sabotages import Sabotage, find_unusable, read_sabotages

AREAS = ("storage", "data", "models", "evaluation", "decision", "registry", "retraining", "events", "scheduling")
SABOTAGE = Sabotage("lock", "code.py", "with lock:", "if True:", "test_code.py::test_it")


def test_every_sabotage_still_applies_and_names_a_test_that_exists() -> None:
    assert find_unusable(read_sabotages()) == {}


def test_the_list_has_forty_sabotages_or_more_and_some_of_every_area() -> None:
    sabotages = read_sabotages()
    files = {sabotage.file for sabotage in sabotages}
    assert len({(sabotage.file, sabotage.old, sabotage.new) for sabotage in sabotages}) == len(sabotages) >= 40
    assert [area for area in AREAS if not any(f"/domain/{area}/" in file for file in files)] == []
    assert [area for area in ("config", "cli", "defs", "status") if not any(f"taskclf_dagster/{area}/" in file for file in files)] == []


@pytest.mark.parametrize(("text", "usable"), [("with lock:\n    with lock:\n", False), ("pass\n", False), ("with lock:\n", True)])
def test_a_sabotage_whose_text_is_gone_or_not_unique_does_not_apply(tmp_path: Path, text: str, *, usable: bool) -> None:
    (tmp_path / "code.py").write_text(text, encoding="utf-8")
    (tmp_path / "test_code.py").write_text("def test_it(): ...\n", encoding="utf-8")
    assert (find_unusable([SABOTAGE], tmp_path) == {}) is usable
    assert set(find_unusable([replace(SABOTAGE, test="test_code.py::test_no_more")], tmp_path)) == {"lock"}


@pytest.mark.parametrize(
    ("outcomes", "finished", "caught", "sound"),
    [
        ({"a": "failed", "b": "passed"}, True, True, False),
        ({"a": "passed"}, True, False, True),
        ({"a": "skipped"}, True, False, False),
        ({"a": "error"}, True, False, False),
        ({}, True, False, False),
        ({}, False, False, False),
    ],
    ids=["failed", "passed", "skipped", "an error before the test", "no test", "no end"],
)
def test_only_a_failed_test_catches_a_sabotage_and_only_a_passed_one_is_sound(
    outcomes: dict[str, str], *, finished: bool, caught: bool, sound: bool
) -> None:
    with_it = Result(Task(["a"], SABOTAGE), outcomes, 0.1, "", finished)
    assert (find_problem(with_it) is None, find_problem(replace(with_it, task=Task(["a"], None))) is None) == (caught, sound)
