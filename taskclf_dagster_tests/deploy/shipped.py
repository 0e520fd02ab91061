"""The files of deploy/ as the tests use them: what is taken from them as it is, and what is replaced."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from taskclf_dagster_tests.servers import PROJECT, SCRIPTS

DEPLOY = PROJECT / "deploy"
UNITS = DEPLOY / "systemd"
SERVICES = ("code", "webserver", "daemon")
INSTALLED = "/opt/taskclf-dagster"
CODE_PORT, WEB_PORT = "4266", "3000"


def read_unit(service: str) -> dict[str, str]:
    """The directives of the unit of a service."""
    return read_directives(UNITS / f"taskclf-dagster-{service}.service")


def read_directives(unit: Path) -> dict[str, str]:
    """The directives of a unit file; several lines of one directive are put together."""
    text = unit.read_text(encoding="utf-8").replace("\\\n", " ")
    directives: dict[str, str] = {}
    for line in text.splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            directives[name] = f"{directives[name]} {value}" if name in directives else value
    return directives


def read_command(service: str, *, workspace: Path, code_port: int, web_port: int) -> list[str]:
    """The ExecStart of a unit, with the place of installation and the two ports replaced."""
    replaced = {CODE_PORT: str(code_port), WEB_PORT: str(web_port), f"{INSTALLED}/deploy/workspace.yaml": str(workspace)}
    words = shlex.split(read_unit(service)["ExecStart"])
    return [replaced.get(word, word.replace(f"{INSTALLED}/.venv/bin", str(SCRIPTS))) for word in words]


def write_workspace(folder: Path, *, code_port: int) -> Path:
    """deploy/workspace.yaml with another port."""
    text = (DEPLOY / "workspace.yaml").read_text(encoding="utf-8")
    assert text.count(CODE_PORT) == 1
    path = folder / "workspace.yaml"
    path.write_text(text.replace(CODE_PORT, str(code_port)), encoding="utf-8")
    return path


def read_environment(*, commented: bool = False) -> dict[str, str]:
    """What the example of the environment file sets; with those that it only mentions, if asked."""
    settings: dict[str, str] = {}
    for line in (DEPLOY / "taskclf-dagster.env.example").read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#") if commented else line
        name, separator, value = text.partition("=")
        if separator and name.isidentifier() and name.isupper():
            settings[name] = value
    return settings


def service_environment(replaced: Mapping[str, str]) -> dict[str, str]:
    """What systemd would give a service: little of its own, the environment file, and here what the test replaces in it."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**inherited, **read_environment(), "PYTHONPATH": str(PROJECT), **replaced}
