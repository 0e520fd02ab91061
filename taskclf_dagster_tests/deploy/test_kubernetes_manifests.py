"""The manifests of deploy/kubernetes: valid for the API, what they name exists, and pods may do no more than they must."""

import copy
import re
import tomllib
from itertools import chain
from typing import Any

import kubernetes_validate
import pytest

from taskclf_dagster.web.rules import TOKEN_VARIABLE
from taskclf_dagster_tests.deploy.manifests import (
    CODE,
    DAEMON,
    KUBERNETES,
    WEB,
    find_manifest,
    read_dockerfile,
    read_launcher,
    read_manifests,
    read_pods,
    read_yaml,
    validate,
)
from taskclf_dagster_tests.servers import PROJECT

MANIFESTS = {f"{each['kind']} {each['metadata']['name']}": each for each in read_manifests()}
README = (KUBERNETES / "README.md").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
VALUES = read_yaml("helm/values.yaml")
(CHART_CODE,) = VALUES["dagster-user-deployments"]["deployments"]
CHART_RUN = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
CHART_DAEMON = VALUES["dagsterDaemon"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_is_what_the_api_takes_without_an_unknown_key(name: str) -> None:
    validate(MANIFESTS[name])


BROKEN = {
    "a misspelled key": (("spec", "template", "spec", "containers", 0), "imagePullPolice", "Always"),
    "a word for a number": (("spec",), "replicas", "one"),
    "a probe of two kinds of port": (("spec", "template", "spec", "containers", 0, "readinessProbe"), "grpc", {"port": "grpc"}),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_manifest_with_a_mistake_is_refused(case: str) -> None:
    place, key, value = BROKEN[case]
    broken = copy.deepcopy(MANIFESTS["Deployment taskclf-dagster-code"])
    target: Any = broken
    for step in place:
        target = target[step]
    target[key] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(broken)


def test_every_object_that_is_named_exists() -> None:
    """Kubernetes accepts a pod that names what does not exist, and never starts it."""
    generated = {f"ConfigMap {each['name']}" for each in read_yaml("base/kustomization.yaml")["configMapGenerator"]}
    created = {f"Secret {name}" for name in re.findall(r"create secret generic ([\w-]+)", README)}
    existing = set(MANIFESTS) | generated | created
    documents = [*read_manifests(), read_launcher(), VALUES]
    named = set(chain.from_iterable(map(_find_names, documents)))
    assert len(named) >= 8
    assert named - existing == set()
    assert generated | created | {"PersistentVolumeClaim taskclf-dagster-home"} <= named


NAMING = {
    "configMap": "ConfigMap",
    "configMapRef": "ConfigMap",
    "secretRef": "Secret",
    "secretKeyRef": "Secret",
    "persistentVolumeClaim": "PersistentVolumeClaim",
    "serviceAccountName": "ServiceAccount",
    "service_account_name": "ServiceAccount",
    "postgres_password_secret": "Secret",
    "postgresqlSecretName": "Secret",
    "instance_config_map": "ConfigMap",
    "env_config_maps": "ConfigMap",
    "envConfigMaps": "ConfigMap",
    "envSecrets": "Secret",
    "roleRef": "Role",
    "subjects": "ServiceAccount",
}
"""The kind of object that is named under a key: by its name, by a mapping with its name, or by a list of either."""


def _find_names(node: object) -> set[str]:
    """Every object that a document names, with its kind."""
    if isinstance(node, list):
        return set(chain.from_iterable(map(_find_names, node)))
    if not isinstance(node, dict):
        return set()
    found = set(chain.from_iterable(map(_find_names, node.values())))
    for key in NAMING.keys() & node.keys():
        values = node[key] if isinstance(node[key], list) else [node[key]]
        found |= {f"{NAMING[key]} {value.get('name') or value['claimName'] if isinstance(value, dict) else value}" for value in values}
    return found


def test_keys_of_secrets_are_those_that_the_readme_creates_and_dagster_reads() -> None:
    wanted = {
        (each["valueFrom"]["secretKeyRef"]["name"], each["valueFrom"]["secretKeyRef"]["key"], each["name"])
        for pod in read_pods().values()
        for each in pod.container["env"]
        if "valueFrom" in each
    }
    assert {(name, key) for name, key, _ in wanted} == set(re.findall(r"create secret generic ([\w-]+) .*--from-literal=([\w-]+)=", README))
    # dagster-k8s reads this key for the runs, and dagster.yaml this variable.
    assert ("taskclf-dagster-postgresql", "postgresql-password", "DAGSTER_PG_PASSWORD") in wanted
    assert ("taskclf-dagster-web", "token", TOKEN_VARIABLE) in wanted


# --- The pods ---------------------------------------------------------------------------------------------------------------------------


def test_every_pod_that_mounts_the_home_follows_it_to_its_node_and_has_the_same_volume() -> None:
    launcher, pods = read_launcher(), read_pods()
    specs = [
        pods[CODE].spec,
        pods[WEB].spec,
        launcher["run_k8s_config"]["pod_spec_config"],
        CHART_CODE,
        CHART_RUN["runK8sConfig"]["podSpecConfig"],
    ]
    (rule,) = specs[0]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (label,) = rule["labelSelector"]["matchLabels"].items()
    assert rule["topologyKey"] == "kubernetes.io/hostname"
    assert [spec["affinity"] for spec in specs] == [specs[0]["affinity"]] * len(specs)
    for labels in (pods[CODE].labels, pods[WEB].labels, launcher["labels"], CHART_CODE["labels"], CHART_RUN["labels"]):
        assert label in labels.items()
    mounts = [pods[CODE].container["volumeMounts"], pods[WEB].container["volumeMounts"], launcher["volume_mounts"]]
    assert mounts == [mounts[0]] * 3 == [CHART_CODE["volumeMounts"], CHART_RUN["volumeMounts"], mounts[0]]
    assert "persistentVolumeClaim" not in str(pods[DAEMON].spec) + str(CHART_DAEMON)
    assert label not in pods[DAEMON].labels.items()


def test_the_registry_has_one_volume_on_one_node() -> None:
    claims = [each for each in read_manifests() if each["kind"] == "PersistentVolumeClaim"]
    assert [claim["spec"]["accessModes"] for claim in claims] == [["ReadWriteOnce"]]
    assert "volumeMode" not in claims[0]["spec"] or claims[0]["spec"]["volumeMode"] == "Filesystem"
    for each in read_manifests():
        if each["kind"] == "Deployment":
            assert (each["spec"]["replicas"], each["spec"]["strategy"]) == (1, {"type": "Recreate"}), each["metadata"]["name"]


def test_no_pod_runs_as_root_gains_privileges_or_writes_to_its_image() -> None:
    launcher = read_launcher()
    run = launcher["run_k8s_config"]["pod_spec_config"]["securityContext"]
    for spec in (run, *(pod.spec["securityContext"] for pod in read_pods().values()), CHART_CODE["podSecurityContext"]):
        assert spec == run
    assert (run["runAsNonRoot"], run["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    containers = [pod.container["securityContext"] for pod in read_pods().values()]
    for container in (launcher["security_context"], *containers, CHART_CODE["securityContext"]):
        assert container == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    dockerfile = read_dockerfile()
    assert dockerfile["USER"] == [f"{run['runAsUser']}:{run['runAsGroup']}"]
    assert run["fsGroup"] == run["runAsGroup"]
    assert MANIFESTS["Namespace taskclf-dagster"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_every_container_says_what_it_needs_and_is_looked_after() -> None:
    for pod in read_pods().values():
        assert set(pod.container["resources"]) == {"requests", "limits"}
        assert "livenessProbe" in pod.container
        if pod.role != DAEMON:
            assert {"startupProbe", "readinessProbe"} <= set(pod.container)
        ports = {port["name"]: port["containerPort"] for port in pod.container.get("ports", [])}
        for service in (
            each for each in read_manifests() if each["kind"] == "Service" and each["spec"]["selector"].items() <= pod.labels.items()
        ):
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(ports)


def test_only_daemon_and_web_server_may_ask_the_cluster_for_anything() -> None:
    pods = read_pods()
    assert {role: (pod.spec["serviceAccountName"], pod.spec["automountServiceAccountToken"]) for role, pod in pods.items()} == {
        CODE: ("taskclf-dagster-run", False),
        WEB: ("taskclf-dagster", True),
        DAEMON: ("taskclf-dagster", True),
    }
    assert read_launcher()["service_account_name"] == "taskclf-dagster-run"
    assert read_launcher()["run_k8s_config"]["pod_spec_config"]["automountServiceAccountToken"] is False
    binding = find_manifest("RoleBinding", "taskclf-dagster-launcher")
    assert [subject["name"] for subject in binding["subjects"]] == ["taskclf-dagster"]
    rules = find_manifest("Role", "taskclf-dagster-launcher")["rules"]
    changing = {name for rule in rules for name in rule["resources"] if {"create", "delete", "*"} & set(rule["verbs"])}
    assert changing == {"jobs"}


def test_what_listens_on_every_address_is_reached_by_those_who_need_it_only() -> None:
    pods = read_pods()
    policies = {each["metadata"]["name"]: each["spec"] for each in read_manifests() if each["kind"] == "NetworkPolicy"}
    for pod in pods.values():
        selected = [spec for spec in policies.values() if spec["podSelector"]["matchLabels"].items() <= pod.labels.items()]
        open_ports = {port["port"] for spec in selected for rule in spec.get("ingress", []) for port in rule["ports"]}
        assert selected
        assert all(rule["from"] for spec in selected for rule in spec.get("ingress", []))
        assert open_ports == {port["containerPort"] for port in pod.container.get("ports", [])}
    assert policies["taskclf-dagster-nothing"]["podSelector"]["matchLabels"].items() <= read_launcher()["labels"].items()
    (who,) = policies["taskclf-dagster-code"]["ingress"][0]["from"]
    assert who["podSelector"]["matchExpressions"] == [{"key": "taskclf-dagster/role", "operator": "In", "values": [WEB, DAEMON]}]


def test_a_pod_keeps_the_init_of_its_image_without_which_a_hanging_run_cannot_be_killed() -> None:
    assert read_dockerfile()["ENTRYPOINT"] == ['["/usr/bin/tini", "--"]']
    assert "tini" in " ".join(read_dockerfile()["RUN"])
    for pod in read_pods().values():
        assert "command" not in pod.container, "it would replace the ENTRYPOINT of the image"
    assert "command" not in read_launcher()["run_k8s_config"]["container_config"]


def test_a_run_is_ended_by_kubernetes_after_everything_else_had_its_chance() -> None:
    deadline = read_launcher()["run_k8s_config"]["job_spec_config"]["activeDeadlineSeconds"]
    monitoring = read_yaml("base/dagster.yaml")["run_monitoring"]
    assert deadline > monitoring["max_runtime_seconds"] + monitoring["cancel_timeout_seconds"]
    assert monitoring["max_resume_run_attempts"] == 0
