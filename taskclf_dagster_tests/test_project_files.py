"""Files of the project that no module reads: lock file, hooks, CI, changelog, type marker."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from taskclf_dagster import errors

PACKAGE = Path(errors.__file__).parents[1]
PROJECT = PACKAGE.parent
LOCK = PROJECT / "requirements.lock"


@pytest.fixture(scope="module")
def pyproject() -> dict[str, dict]:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))


def _make_check() -> list[str]:
    body = re.search(r"^check:.*\n((?:\t.+\n)+)", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert body
    return [line.strip().removeprefix("$(BIN)/") for line in body.group(1).splitlines()]


def test_the_hooks_run_what_make_check_runs_and_download_nothing() -> None:
    config = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"] if "commit-msg" not in hook.get("stages", [])]
    assert [hook["entry"].replace(" --force-exclude", "") for hook in hooks] == [line.removesuffix(" .") for line in _make_check()]
    assert {hook["language"] for hook in hooks} == {"system"}


def test_every_line_of_the_lock_file_is_a_name_with_a_version_or_a_hash() -> None:
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    pin = re.compile(r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,-]+\])?==[\w.+!]+( ; [^/:]+)? \\")
    digest = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert len(lines) > 500
    assert [line for line in lines if not pin.fullmatch(line) and not digest.fullmatch(line)] == []


def test_every_dependency_is_locked_within_its_bounds(pyproject: dict[str, dict]) -> None:
    locked: dict[str, list[Version]] = {}
    for name, version in re.findall(r"^([a-z0-9._-]+)(?:\[.*\])?==([^ ]+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE):
        locked.setdefault(name, []).append(Version(version))
    project = pyproject["project"]
    lines = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = [requirement for requirement in map(Requirement, chain(*lines)) if requirement.name != project["name"]]
    assert len(wanted) > 25
    outside = [str(r) for r in wanted if not locked.get(r.name.lower()) or not all(v in r.specifier for v in locked[r.name.lower()])]
    assert outside == []


def test_ci_runs_the_make_targets_on_every_python_of_the_project(pyproject: dict[str, dict]) -> None:
    jobs = yaml.safe_load((PROJECT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    versions = {line.rsplit(" ", 1)[1] for line in pyproject["project"]["classifiers"] if re.search(r":: 3\.\d+$", line)}
    matrix = jobs["test"]["strategy"]["matrix"]
    assert set(matrix["python"]) == versions
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos"}
    targets = {target for job in jobs.values() for step in job["steps"] for target in re.findall(r"^make ([a-z-]+)", step.get("run", ""))}
    assert targets == {"install", "check", "test", "test-all"}


def test_the_newest_entry_of_the_changelog_is_the_version_of_the_project_and_is_dated(pyproject: dict[str, dict]) -> None:
    text = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    entries = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})$", text, re.MULTILINE)
    assert entries[0][0] == pyproject["project"]["version"]
    assert [date for _, date in entries] == sorted((date for _, date in entries), reverse=True)


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
