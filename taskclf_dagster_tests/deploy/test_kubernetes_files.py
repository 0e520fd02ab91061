"""Settings, Helm values and image of deploy/kubernetes agree with its manifests, with Dagster and with the rest of deploy/."""

import re
import shutil
import subprocess
import tomllib

import pytest
import yaml

from taskclf_dagster.config.loading import load_retrain_config
from taskclf_dagster.config.shipped import DEFAULT_CONFIG_PATH
from taskclf_dagster_tests.deploy.manifests import (
    BASE,
    CODE,
    DAEMON,
    KUBERNETES,
    NAMESPACE,
    WEB,
    find_manifest,
    read_dockerfile,
    read_files,
    read_launcher,
    read_pods,
    read_settings,
    read_yaml,
    validate,
)
from taskclf_dagster_tests.deploy.shipped import DEPLOY, read_environment
from taskclf_dagster_tests.servers import PROJECT

PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
VALUES = read_yaml("helm/values.yaml")
(CHART_CODE,) = VALUES["dagster-user-deployments"]["deployments"]
CHART_RUN = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
CHART_DAEMON = VALUES["dagsterDaemon"]


# --- Settings ---------------------------------------------------------------------------------------------------------------------------


def test_the_instance_differs_from_the_team_s_in_launcher_and_start_only() -> None:
    team, here = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in (DEPLOY / "dagster.yaml", BASE / "dagster.yaml"))
    assert here.pop("run_launcher")["class"] == "K8sRunLauncher"
    extra = {"start_timeout_seconds": 900, "max_resume_run_attempts": 0}
    assert here["run_monitoring"] == team["run_monitoring"] | extra
    assert {**here, "run_monitoring": None} == {**team, "run_monitoring": None}


def test_settings_files_and_ports_meet() -> None:
    settings, pods = read_settings(), read_pods()
    assert set(settings) == set(read_environment()) - {"DAGSTER_PG_PASSWORD"}
    for role in (CODE, WEB):
        assert {settings["DAGSTER_HOME"], settings["TASKCLF_HOME"]} <= set(pods[role].mounts)
        assert pods[role].mounts[f"{settings['DAGSTER_HOME']}/dagster.yaml"]["subPath"] == "dagster.yaml"
    files = pods[WEB].mounts["/etc/taskclf-dagster"]["mountPath"]
    (generated,) = (each for each in read_yaml("base/kustomization.yaml")["configMapGenerator"] if "files" in each)
    for named in (
        settings["TASKCLF_DAGSTER_CONFIG"],
        *re.findall(r"/etc/\S+\.yaml", " ".join(pods[WEB].container["args"] + pods[DAEMON].container["args"])),
    ):
        assert named.removeprefix(f"{files}/") in generated["files"]
    server = read_yaml("base/workspace.yaml")["load_from"][0]["grpc_server"]
    service = find_manifest("Service", server["host"])
    assert service["spec"]["ports"][0]["port"] == server["port"] == pods[CODE].container["ports"][0]["containerPort"]
    for role, port in ((CODE, "4266"), (WEB, "3000")):
        words = pods[role].container["args"]
        assert words[words.index("-p") + 1] == port == str(pods[role].container["ports"][0]["containerPort"])
    assert load_retrain_config(BASE / "retrain.yaml").server.url == "https://dagster.example.org"


def test_the_values_of_the_chart_say_what_the_manifests_say() -> None:
    pods, launcher, settings = read_pods(), read_launcher(), read_settings()
    (image,) = read_yaml("base/kustomization.yaml")["images"]
    named = {"repository": image["newName"], "tag": image["newTag"], "pullPolicy": "IfNotPresent"}
    assert CHART_CODE["image"] == CHART_DAEMON["image"] == named
    assert image["newTag"] == PYPROJECT["project"]["version"]
    server = read_yaml("base/workspace.yaml")["load_from"][0]["grpc_server"]
    assert (CHART_CODE["name"], CHART_CODE["port"]) == (server["host"], server["port"])
    assert pods[CODE].container["args"][-4:] == CHART_CODE["codeServerArgs"]
    assert CHART_CODE["resources"] == pods[CODE].container["resources"]
    assert CHART_DAEMON["resources"] == pods[DAEMON].container["resources"]
    assert CHART_RUN["resources"] == launcher["resources"]
    assert CHART_CODE["volumes"] == CHART_RUN["volumes"] == launcher["volumes"]
    assert {name: pods[CODE].volumes[name] for name in pods[WEB].volumes} == pods[WEB].volumes
    assert {**CHART_RUN["runK8sConfig"]["podSpecConfig"], "serviceAccountName": ""} == {
        **launcher["run_k8s_config"]["pod_spec_config"],
        "serviceAccountName": "",
    }
    assert CHART_RUN["runK8sConfig"]["jobSpecConfig"] == launcher["run_k8s_config"]["job_spec_config"]
    assert CHART_RUN["runK8sConfig"]["containerConfig"] == launcher["run_k8s_config"]["container_config"]
    assert CHART_RUN["jobNamespace"] == launcher["job_namespace"] == NAMESPACE
    assert VALUES["global"]["dagsterHome"] == settings["DAGSTER_HOME"] == launcher["dagster_home"]
    assert [VALUES["postgresql"][key] for key in ("postgresqlHost", "postgresqlUsername", "postgresqlDatabase")] == [
        settings[name] for name in ("DAGSTER_PG_HOST", "DAGSTER_PG_USER", "DAGSTER_PG_DB")
    ]
    assert str(VALUES["postgresql"]["service"]["port"]) == settings["DAGSTER_PG_PORT"]
    for labels, role in ((CHART_CODE["labels"], CODE), (CHART_DAEMON["labels"], DAEMON)):
        assert labels == pods[role].labels


def test_the_chart_s_instance_is_that_of_the_manifests() -> None:
    here = read_yaml("base/dagster.yaml")
    made_by_the_chart = {"storage", "run_launcher", "telemetry"}
    assert VALUES["additionalInstanceConfig"] == {key: value for key, value in here.items() if key not in made_by_the_chart}
    assert VALUES["telemetry"] == here["telemetry"]
    assert VALUES["postgresql"]["postgresqlScheme"] == here["storage"]["postgres"]["postgres_db"]["scheme"]
    for name in ("runCoordinator", "runMonitoring", "runRetries"):
        assert CHART_DAEMON[name] == {"enabled": False}, "the chart would print its own beside ours"


def test_dagster_s_own_web_server_which_has_no_guard_does_not_run() -> None:
    assert VALUES["dagsterWebserver"] == {"replicaCount": 0, "enableReadOnly": False}
    assert VALUES["ingress"] == {"enabled": False}
    assert read_pods()[WEB].container["args"][:3] == ["python", "-m", "taskclf_dagster.web"]


# --- The image --------------------------------------------------------------------------------------------------------------------------


def test_the_image_is_made_of_one_pinned_base_and_has_the_extras_that_it_needs() -> None:
    dockerfile = read_dockerfile()
    bases = {line.split()[0] for line in dockerfile["FROM"]}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", bases.pop())
    minor = re.findall(r"3\.(\d+)", dockerfile["FROM"][0])[0]
    assert f"Programming Language :: Python :: 3.{minor}" in PYPROJECT["project"]["classifiers"]
    (install,) = (line for line in dockerfile["RUN"] if line.startswith("pip install"))
    (extras,) = re.findall(r"\.whl\)\[([\w,]+)\]", install)
    assert extras.split(",") == ["dask", "kubernetes", "postgres", "s3"]
    assert set(extras.split(",")) <= set(PYPROJECT["project"]["optional-dependencies"])
    assert "--constraint" in install


def test_the_constraints_of_the_image_are_every_version_of_the_lock() -> None:
    (command,) = (line for line in read_dockerfile()["RUN"] if line.startswith("sed"))
    sed = shutil.which("sed")
    if sed is None:
        pytest.skip("sed is not installed")
    expressions = re.findall(r"-e '([^']*)'", command)
    done = subprocess.run(
        [sed, *(f"--expression={each}" for each in expressions), "requirements.lock"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(re.findall("^[a-z0-9]", (PROJECT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE))
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9._-]+==[\w.+!]+( ; .+)?", line)] == []


def test_the_build_gets_what_the_wheel_is_made_of_and_nothing_else() -> None:
    lines = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    kept = {line.removeprefix("!") for line in rules if line.startswith("!")}
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    project = PYPROJECT["project"]
    needed = {
        *wheel["packages"],
        *wheel["force-include"],
        project["readme"],
        *project["license-files"],
        "pyproject.toml",
        "requirements.lock",
    }
    assert kept == needed
    assert all((PROJECT / name).exists() for name in kept)


def test_no_file_names_a_machine_a_person_or_a_registry_and_none_holds_a_secret() -> None:
    for name, text in read_files():
        assert re.findall(r"/(?:work|root|home/\w+)/", text) == [], name
        assert re.findall(r"(?:docker|ghcr|gcr|quay|ecr)\.[a-z.]+/", text) == [], name
        assert "pypi" not in text.lower(), name
        assert "kind: Secret\n" not in text, name


def test_kustomize_builds_both_and_gives_runs_the_image_of_the_code_server() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    built = {}
    for folder in ("base", "helm"):
        done = subprocess.run([kubectl, "kustomize", str(KUBERNETES / folder)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        built[folder] = {f"{each['kind']} {each['metadata']['name']}": each for each in yaml.safe_load_all(done.stdout)}
        for manifest in built[folder].values():
            validate(manifest)
    (container,) = built["base"]["Deployment taskclf-dagster-code"]["spec"]["template"]["spec"]["containers"]
    (current,) = (each["value"] for each in container["env"] if each["name"] == "DAGSTER_CURRENT_IMAGE")
    assert container["image"] == current == f"taskclf-dagster:{PYPROJECT['project']['version']}"
    assert set(built["base"]) - set(built["helm"]) == {
        "Deployment taskclf-dagster-code",
        "Service taskclf-dagster-code",
        "Deployment taskclf-dagster-daemon",
    }
    for name, manifest in built["base"].items():
        assert manifest["metadata"].get("namespace", NAMESPACE) == NAMESPACE, name
    assert built["base"]["ConfigMap taskclf-dagster-files"]["data"]["dagster.yaml"] == (BASE / "dagster.yaml").read_text(encoding="utf-8")


def test_retrains_of_the_default_timeout_end_before_kubernetes_ends_them() -> None:
    minutes = yaml.safe_load(DEFAULT_CONFIG_PATH.read_text(encoding="utf-8"))["timeout_minutes"]
    assert read_launcher()["run_k8s_config"]["job_spec_config"]["activeDeadlineSeconds"] > 3 * minutes * 60 + 300
