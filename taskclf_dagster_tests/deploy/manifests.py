"""The manifests of deploy/kubernetes as the tests use them: every document, and the pods among them with that of a run."""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import kubernetes_validate
import yaml

from taskclf_dagster_tests.deploy.shipped import DEPLOY

KUBERNETES = DEPLOY / "kubernetes"
BASE = KUBERNETES / "base"
NAMESPACE = "taskclf-dagster"
OLDEST, NEWEST = "1.29", kubernetes_validate.latest_version()
CODE, WEB, DAEMON = "code-server", "web-server", "daemon"


@cache
def _load(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((KUBERNETES / name).read_text(encoding="utf-8")))


def read_yaml(name: str) -> Any:
    """The one document of a file, below deploy/kubernetes."""
    (document,) = _load(name)
    return copy.deepcopy(document)


def read_manifests() -> list[dict[str, Any]]:
    """Every document that base/kustomization.yaml lists."""
    return [copy.deepcopy(each) for name in read_yaml("base/kustomization.yaml")["resources"] for each in _load(f"base/{name}")]


def find_manifest(kind: str, name: str) -> dict[str, Any]:
    (found,) = (each for each in read_manifests() if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def read_launcher() -> dict[str, Any]:
    """The configuration of the run launcher in base/dagster.yaml."""
    return read_yaml("base/dagster.yaml")["run_launcher"]["config"]


@dataclass(frozen=True)
class Pod:
    """The parts of a pod, in the words of a manifest.

        Attributes:
            role: OLDEST, NEWEST = "1.29", kubernetes_validate.latest_version()
    RUN, CODE, WEB or DAEMON.
            labels: of the pod.
            spec: of the pod.
    """

    role: str
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def container(self) -> dict[str, Any]:
        (container,) = self.spec["containers"]
        return container

    @property
    def mounts(self) -> dict[str, dict[str, Any]]:
        """The mounts by their paths."""
        return {mount["mountPath"]: mount for mount in self.container["volumeMounts"]}

    @property
    def volumes(self) -> dict[str, dict[str, Any]]:
        """The volumes by their names."""
        return {volume["name"]: {key: value for key, value in volume.items() if key != "name"} for volume in self.spec["volumes"]}


def read_pods() -> dict[str, Pod]:
    """The pods of the deployments, by their roles."""
    templates = [each["spec"]["template"] for each in read_manifests() if each["kind"] == "Deployment"]
    roles = [template["metadata"]["labels"]["taskclf-dagster/role"] for template in templates]
    pods = [Pod(role, template["metadata"]["labels"], template["spec"]) for role, template in zip(roles, templates, strict=True)]
    return {pod.role: pod for pod in pods}


def read_files() -> Iterator[tuple[str, str]]:
    """Name and text of every file below deploy/kubernetes."""
    for path in sorted(KUBERNETES.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(KUBERNETES)), path.read_text(encoding="utf-8")


def read_settings() -> dict[str, str]:
    """The variables of base/settings.env."""
    lines = (BASE / "settings.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def validate(manifest: dict[str, Any]) -> None:
    """Compares a manifest with the schemas of the API; an unknown key is an error.

    Raises:
        kubernetes_validate.ValidationError: it is not what the API takes.
    """
    for version in (OLDEST, NEWEST):
        kubernetes_validate.validate(manifest, version, strict=True)


def read_dockerfile() -> dict[str, list[str]]:
    """Arguments of each instruction of the Dockerfile."""
    text = re.sub(r"^#.*\n", "", (KUBERNETES / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        instruction, _, arguments = line.partition(" ")
        if instruction:
            found.setdefault(instruction, []).append(arguments.strip())
    return found
