"""The files of a home's own Dagster instance: settings of the instance, its workspace, and settings of one's own.

All are made of the files that come with the package, and never overwritten.
"""

from collections.abc import Callable
from pathlib import Path

from taskclf_dagster.config.shipped import find_shipped
from taskclf_dagster.domain.storage.files import write_text

SETTINGS, WORKSPACE, OWN_SETTINGS = "dagster.yaml", "workspace.yaml", "retrain.yaml"


HOMES_SETTINGS = "configs/dagster-homes.yaml"


PLACES = ("storage", "local_artifact_storage", "compute_logs")
"""The keys of dagster.yaml that say where an instance keeps its files; without them, in the folder of dagster.yaml."""


def write_instance_settings(folder: Path) -> list[Path]:
    """Writes the settings of an instance into a folder, unless it has them; returns what was written."""
    return _write_missing(folder / SETTINGS, _instance_settings)


def write_homes_instance_settings(folder: Path) -> list[Path]:
    """Writes the settings of an instance that serves many homes into a folder, unless it has settings; returns what was written."""
    return _write_missing(folder / SETTINGS, lambda: find_shipped(HOMES_SETTINGS).read_text(encoding="utf-8"))


def write_workspace(folder: Path) -> list[Path]:
    """Writes what `dagster dev -w` loads, unless it is there; returns what was written."""
    return _write_missing(folder / WORKSPACE, lambda: find_shipped(WORKSPACE).read_text(encoding="utf-8"))


def write_own_settings(folder: Path) -> list[Path]:
    """Writes a file for settings of one's own, unless it is there; returns what was written."""
    return _write_missing(folder / OWN_SETTINGS, _own_settings)


def _write_missing(path: Path, make: Callable[[], str]) -> list[Path]:
    if path.exists():
        return []
    write_text(path, make())
    return [path]


def _instance_settings() -> str:
    """Returns dagster.yaml without the keys of PLACES and the comment above them."""
    head = "# The Dagster instance of this home, with its history in this folder. Written once; change it as you like.\n\n"
    kept: list[str] = []
    keeps = False
    for line in find_shipped(SETTINGS).read_text(encoding="utf-8").splitlines(keepends=True):
        if line[0].isalpha():
            keeps = line.partition(":")[0] not in PLACES
        if keeps or (kept and line[0] == "#"):
            kept.append(line)
    return head + "".join(kept)


def _own_settings() -> str:
    """Returns configs/retrain.yaml with a mark in front of every key, so that only a key whose mark is removed overrides it."""
    head = (
        "# Settings of your own, each with the value that is shipped. Remove the mark # in front of a key to set it, and that of the key\n"
        "# above it if it is indented. This file counts where TASKCLF_DAGSTER_CONFIG or --config names it; check it with\n"
        "# `taskclf-dagster config check --config FILE`.\n"
    )
    shipped = find_shipped("configs/retrain.yaml").read_text(encoding="utf-8")
    lines = shipped[shipped.index("\n\n") + 1 :].splitlines(keepends=True)  # without the comment at the top, which is about the default
    return head + "".join(line if line.strip()[:1] in ("", "#") else f"#{line}" for line in lines)
