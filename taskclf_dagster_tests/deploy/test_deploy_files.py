"""The files of deploy/ agree with each other, with the local instance, and with what the code reads from the environment."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from taskclf_dagster.config.environment import ENVIRONMENT
from taskclf_dagster.config.loading import CONFIG_VARIABLE, load_retrain_config
from taskclf_dagster.web.rules import TOKEN_VARIABLE
from taskclf_dagster_tests.deploy.shipped import CODE_PORT, DEPLOY, INSTALLED, SERVICES, UNITS, WEB_PORT, read_environment, read_unit
from taskclf_dagster_tests.servers import PROJECT, SCRIPTS

PLACES = {"storage", "local_artifact_storage", "compute_logs"}
TABLE_ROW = re.compile(r"^\| (`[A-Z_]+`(?:, `[A-Z_]+`)*) \|", re.MULTILINE)
README = (DEPLOY / "README.md").read_text(encoding="utf-8")
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())


def _instance(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _named_in_yaml(node: object) -> set[str]:
    """Every variable that a file takes by `{env: NAME}`."""
    if isinstance(node, dict):
        if set(node) == {"env"}:
            return {node["env"]}
        return set().union(*map(_named_in_yaml, node.values()))
    return set().union(*map(_named_in_yaml, node)) if isinstance(node, list) else set()


def test_the_team_s_instance_differs_from_the_local_one_in_its_storage_only() -> None:
    local, team = _instance(PROJECT / "dagster.yaml"), _instance(DEPLOY / "dagster.yaml")
    assert {key: value for key, value in team.items() if key not in PLACES} == {k: v for k, v in local.items() if k not in PLACES}
    assert set(local["storage"]) == {"sqlite"}
    assert set(team) & PLACES == {"storage"}, "logs and artifacts are where they are by default, below DAGSTER_HOME"
    assert team["storage"]["postgres"]["postgres_db"]["scheme"] == "postgresql+psycopg2"


def test_the_instance_of_many_homes_differs_from_that_of_one_in_its_queue_only() -> None:
    one, many = _instance(PROJECT / "dagster.yaml"), _instance(PROJECT / "configs" / "dagster-homes.yaml")
    queue = {"run_queue", "run_coordinator", "concurrency", "sensors"}
    assert {key: value for key, value in many.items() if key not in queue} == {
        key: value for key, value in one.items() if key not in PLACES | queue
    }
    assert many["run_coordinator"]["config"] == one["run_queue"]
    assert many["concurrency"] == {"pools": {"granularity": "run"}}, "a limit of a pool would be one over all homes"


def test_one_retrain_at_a_time_is_said_by_pool_and_by_tag() -> None:
    for path in (PROJECT / "dagster.yaml", DEPLOY / "dagster.yaml"):
        concurrency = _instance(path)["concurrency"]
        assert concurrency["pools"] == {"granularity": "run", "default_limit": 1}
        assert concurrency["runs"]["tag_concurrency_limits"] == [{"key": ".dagster/taskclf_exclusive", "value": "retrain", "limit": 1}]


def test_every_variable_is_in_the_example_and_in_the_readme_and_no_other() -> None:
    read = {"DAGSTER_HOME", "TASKCLF_HOME", CONFIG_VARIABLE, TOKEN_VARIABLE, *ENVIRONMENT}
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        read |= _named_in_yaml(yaml.safe_load(text)) if path.suffix == ".yaml" else set()
        read |= set(re.findall(r"\$\{([A-Z][A-Z_]+)\}", text)) if path.suffix == ".service" else set()
    listed = {name.strip("`") for row in TABLE_ROW.findall(README) for name in row.split(", ")}
    assert set(read_environment(commented=True)) == read
    assert listed == read


def test_the_example_holds_no_secret_and_sets_what_has_no_default() -> None:
    example = read_environment()
    assert example["DAGSTER_PG_PASSWORD"] == ""
    assert {name for name, value in example.items() if not value} == {"DAGSTER_PG_PASSWORD"}
    assert {name for name in read_environment(commented=True) if name not in example} == {TOKEN_VARIABLE, *ENVIRONMENT}


def test_the_readme_shows_the_values_of_the_example() -> None:
    for name, value in read_environment(commented=True).items():
        (row,) = (line for line in README.splitlines() if line.startswith("| `") and f"`{name}`" in line)
        assert f"`{value}`" in row or not value, name


def test_what_listens_listens_on_loopback() -> None:
    commands = {service: read_unit(service)["ExecStart"].split() for service in SERVICES}
    for service, port in (("code", CODE_PORT), ("webserver", WEB_PORT)):
        words = commands[service]
        assert words[words.index("-h") + 1] == "127.0.0.1"
        assert words[words.index("-p") + 1] == port
    assert "-h" not in commands["daemon"]
    server = _instance(DEPLOY / "workspace.yaml")["load_from"][0]["grpc_server"]
    assert server == {"host": "127.0.0.1", "port": int(CODE_PORT), "location_name": "taskclf_dagster"}
    assert f"proxy_pass http://127.0.0.1:{WEB_PORT};" in (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert "0.0.0.0" not in text  # noqa: S104  # no address of every network


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_a_user_of_its_own_and_writes_where_it_must_only(service: str) -> None:
    unit, example = read_unit(service), read_environment()
    assert unit["User"] == unit["Group"] == "taskclf-dagster"
    assert (unit["NoNewPrivileges"], unit["ProtectSystem"], unit["Restart"]) == ("yes", "strict", "on-failure")
    assert unit["EnvironmentFile"] == "/etc/taskclf-dagster/taskclf-dagster.env"
    writable = {example["DAGSTER_HOME"]} | (set() if service == "daemon" else {example["TASKCLF_HOME"]})
    assert set(unit["ReadWritePaths"].split()) == writable
    assert unit["WorkingDirectory"] == example["DAGSTER_HOME"]


def test_stopping_the_code_server_waits_longer_than_a_retrain_may_take_and_stops_the_daemon_first() -> None:
    code, daemon = read_unit("code"), read_unit("daemon")
    assert code["KillMode"] == "mixed"
    minutes = int(code["TimeoutStopSec"].removesuffix("min"))
    assert minutes > yaml.safe_load((PROJECT / "configs" / "retrain.yaml").read_text(encoding="utf-8"))["timeout_minutes"]
    assert daemon["Requires"] == "taskclf-dagster-code.service"
    assert "taskclf-dagster-code.service" in daemon["After"].split()


def test_the_settings_name_the_proxy_and_its_header_as_nginx_has_them() -> None:
    server = load_retrain_config(DEPLOY / "retrain.yaml").server
    proxy = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    assert server.url is not None
    assert f"server_name {server.url.removeprefix('https://')};" in proxy
    assert re.search(rf"proxy_set_header {server.user_header} +\$remote_user;", proxy)
    assert f"deploy/retrain.yaml {read_environment()[CONFIG_VARIABLE]}\n" in README


def test_files_that_are_named_exist_where_the_install_puts_them() -> None:
    for path in FILES:
        for name in re.findall(rf"{INSTALLED}/(deploy/[\w./-]+|\.venv/bin/[\w-]+)", path.read_text(encoding="utf-8")):
            place = SCRIPTS / Path(name).name if name.startswith(".venv") else PROJECT / name
            assert place.exists() or list(place.parent.glob(f"{place.name}*")), (path.name, name)
    for service in SERVICES:
        assert f"taskclf-dagster-{service}.service" in (UNITS / "taskclf-dagster.target").read_text(encoding="utf-8")


def test_no_file_names_a_machine_a_person_or_a_package_registry() -> None:
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"/(?:work|tmp|root|home/\w+)/", text) == [], path.name
        assert "pypi" not in text.lower()


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    for path in UNITS.iterdir():
        text = path.read_text(encoding="utf-8").replace(f"{INSTALLED}/.venv/bin", str(SCRIPTS))
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    checked = subprocess.run([analyze, "verify", "--man=no", *tmp_path.iterdir()], capture_output=True, text=True, check=False)
    complaints = [line for line in checked.stderr.splitlines() if "taskclf" in line]
    assert (checked.returncode, complaints) == (0, [])
