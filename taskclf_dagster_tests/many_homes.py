"""Generated homes of a team: small registries of a few kinds, copied under the names of people."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import dagster as dg

from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import MID, NEW, OLD
from taskclf_dagster_tests.registry_scenario import NEXT, judged, promoted
from taskclf_dagster_tests.runs import Status, add_run
from taskclf_dagster_tests.scenario import make_home


def _waiting(home: Home) -> None:
    promoted(home, OLD, NEW)
    judged(home, NEXT, auto_promote=False)


def _broken(home: Home) -> None:
    promoted(home, OLD, NEW)
    for path in (home.active_pointer, home.inference_policy):
        path.write_text("{", encoding="utf-8")


KINDS: Mapping[str, Callable[[Home], object]] = {
    "fine": lambda home: promoted(home, OLD, MID, NEW),
    "fresh": lambda home: None,
    "waiting": _waiting,
    "broken": _broken,
}
"""The function that makes a home of each kind."""


def make_homes(folder: Path, kinds: Mapping[str, str]) -> HomeDirectory:
    """Homes of these kinds by name, in a folder of their own, and the homes file that lists them; `missing` is a name without a folder."""
    (folder / "templates").mkdir(parents=True)
    templates = {}
    for kind in sorted(set(kinds.values()) - {"missing"}):
        (folder / "templates" / kind).mkdir()
        templates[kind] = make_home(folder / "templates" / kind)
        KINDS[kind](templates[kind])
    lines = ["homes:"]
    for name, kind in kinds.items():
        root = folder / "homes" / name
        if kind != "missing":
            shutil.copytree(templates[kind].root, root, copy_function=os.link if kind == "fine" else shutil.copy2)
        lines.append(f"  {name}: {root}")
    (folder / "homes.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return HomeDirectory(folder / "homes.yaml")


def many(count: int) -> dict[str, str]:
    """Names and kinds of many homes, of which a few need attention."""
    rare = {3: "waiting", 7: "broken", 11: "missing", 13: "fresh"}
    return {f"person-{number:03}": rare.get(number % 40, "fine") for number in range(count)}


def fail(instance: dg.DagsterInstance, home: Home) -> dg.DagsterRun:
    """The last retrain of a home failed."""
    return add_run(instance, home, Status.FAILURE, failed_with="the disk is full")
