"""The units of deploy/dask: they are protected as the others are, and their commands make a cluster that asks for certificates."""

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dask
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from taskclf_dagster.config.loading import load_retrain_config
from taskclf_dagster.domain.execution.dask_cluster import open_cluster
from taskclf_dagster.errors import ClusterLostError, ClusterNotUsableError
from taskclf_dagster_tests.deploy.shipped import DEPLOY, INSTALLED, UNITS, read_directives
from taskclf_dagster_tests.scenario import make_home
from taskclf_dagster_tests.servers import PROJECT, SCRIPTS, free_port, port_is_open, running, tail, until

DASK = DEPLOY / "dask"
UNIT = {name: DASK / f"taskclf-dagster-{name}.service" for name in ("scheduler", "worker")}
SETTINGS = yaml.safe_load((DASK / "dask.yaml").read_text(encoding="utf-8"))
README = (DASK / "README.md").read_text(encoding="utf-8")
PROTECTIONS = (
    "User",
    "Group",
    "UMask",
    "WorkingDirectory",
    "NoNewPrivileges",
    "CapabilityBoundingSet",
    "ProtectSystem",
    "ProtectHome",
    "PrivateTmp",
    "PrivateDevices",
    "ProtectKernelTunables",
    "ProtectKernelModules",
    "ProtectControlGroups",
    "ProtectClock",
    "ProtectHostname",
    "RestrictNamespaces",
    "RestrictRealtime",
    "LockPersonality",
    "RestrictAddressFamilies",
)
TIMEOUT_SECONDS = 120


@pytest.mark.parametrize("name", UNIT)
def test_a_unit_of_the_cluster_is_protected_as_the_code_server_is(name: str) -> None:
    unit, code = read_directives(UNIT[name]), read_directives(UNITS / "taskclf-dagster-code.service")
    assert {key: unit.get(key) for key in PROTECTIONS} == {key: code[key] for key in PROTECTIONS}
    places = {"/var/lib/taskclf-dagster", *(() if name == "scheduler" else ("/srv/taskclf",))}
    assert set(unit["ReadWritePaths"].split()) == places
    assert unit["Environment"] == "DASK_CONFIG=/etc/taskclf-dagster/dask.yaml"


def test_a_worker_gets_the_credentials_of_an_object_store_where_the_readme_puts_them() -> None:
    optional, path = (text := read_directives(UNIT["worker"])["EnvironmentFile"])[0], text[1:]
    assert (optional, f"`{path}`" in README) == ("-", True)


def test_the_readme_shows_settings_that_load_and_the_address_of_the_settings_of_dask(tmp_path: Path) -> None:
    (line,) = [line.strip() for line in README.splitlines() if line.strip().startswith("execution: ")]
    (tmp_path / "config.yaml").write_text(line, encoding="utf-8")
    execution = load_retrain_config(tmp_path / "config.yaml").execution
    assert (execution.engine, execution.scheduler_address) == ("dask", SETTINGS["scheduler-address"])
    words = read_directives(UNIT["scheduler"])["ExecStart"].split()
    assert SETTINGS["scheduler-address"].endswith(f":{words[words.index('--port') + 1]}")


def test_every_file_of_the_settings_is_where_the_readme_puts_it() -> None:
    tls = SETTINGS["distributed"]["comm"]["tls"]
    files = {tls["ca-file"], *(tls[role][kind] for role in ("scheduler", "worker", "client") for kind in ("cert", "key"))}
    assert files == {f"/etc/taskclf-dagster/tls/{name}" for name in ("ca.pem", "node.pem", "node.key")}
    for path in files:
        assert Path(path).name in README


def test_systemd_finds_nothing_wrong_with_the_units_of_the_cluster(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    for path in UNIT.values():
        (tmp_path / path.name).write_text(
            path.read_text(encoding="utf-8").replace(f"{INSTALLED}/.venv/bin", str(SCRIPTS)), encoding="utf-8"
        )
    checked = subprocess.run([analyze, "verify", "--man=no", *tmp_path.iterdir()], capture_output=True, text=True, check=False)
    assert [line for line in checked.stderr.splitlines() if "taskclf" in line] == []
    assert checked.returncode == 0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """The address of a cluster whose processes are started as the units start them, with certificates of a new authority."""
    write_certificates(tmp_path / "tls")
    port = free_port()
    address = f"tls://127.0.0.1:{port}"
    text = (DASK / "dask.yaml").read_text(encoding="utf-8")
    text = text.replace("/etc/taskclf-dagster/tls", str(tmp_path / "tls")).replace(SETTINGS["scheduler-address"], address)
    (tmp_path / "dask.yaml").write_text(text, encoding="utf-8")
    env = {"PATH": str(SCRIPTS), "HOME": str(tmp_path), "DASK_CONFIG": str(tmp_path / "dask.yaml"), "PYTHONPATH": str(PROJECT)}
    replaced = {"8786": str(port), "%H": "node-1", "/var/lib/taskclf-dagster/dask": str(tmp_path / "work"), "4": "1"}
    commands = {name: shlex.split(read_directives(path)["ExecStart"]) for name, path in UNIT.items()}
    started = {name: [replaced.get(word, word.replace(f"{INSTALLED}/.venv/bin", str(SCRIPTS))) for word in commands[name]] for name in UNIT}
    with running(started["scheduler"], tmp_path / "scheduler.log", cwd=tmp_path, env=env):
        for _ in until(TIMEOUT_SECONDS):
            if port_is_open(port):
                break
        assert port_is_open(port), tail(tmp_path / "scheduler.log")
        with running(started["worker"], tmp_path / "worker.log", cwd=tmp_path, env=env):
            yield address


@pytest.mark.server
def test_the_commands_of_the_units_make_a_cluster_for_whoever_has_a_certificate(cluster: str, tmp_path: Path) -> None:
    with pytest.raises((ClusterLostError, ClusterNotUsableError)), open_cluster(cluster, make_home(tmp_path), connect_seconds=3):
        pass
    with pytest.raises(ClusterLostError), open_cluster(cluster.replace("tls", "tcp"), make_home(tmp_path), connect_seconds=3):
        pass
    settings = dask.config.merge(dask.config.config, yaml.safe_load((tmp_path / "dask.yaml").read_text(encoding="utf-8")))
    with dask.config.set(dask.config.merge(dask.config.config, settings)):
        with pytest.raises(ClusterNotUsableError, match="encryption"), open_cluster(cluster.replace("tls", "tcp"), make_home(tmp_path)):
            pass
        with open_cluster(cluster, make_home(tmp_path), connect_seconds=TIMEOUT_SECONDS) as opened:
            workers = opened.workers
    assert [(worker.name, worker.threads) for worker in workers] == [("node-1", 1)]
    assert all(worker.address.startswith("tls://") for worker in workers)


def write_certificates(folder: Path) -> None:
    """An authority, and a certificate of a node, as the README makes them."""
    folder.mkdir()
    authority, node = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("taskclf cluster", "node-1")]
    for file, subject, key, is_authority in (("ca.pem", names[0], authority, True), ("node.pem", names[1], node, False)):
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(names[0])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.now(UTC) - timedelta(days=1))
            .not_valid_after(datetime.now(UTC) + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .sign(authority, hashes.SHA256())
        )
        (folder / file).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret = node.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "node.key").write_bytes(secret)
