"""`taskclf-dagster serve` as a person starts it: three processes that begin together, work together and end together."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import psutil
import pytest

from taskclf_dagster.cli.instance_files import write_instance_settings
from taskclf_dagster.entry_paths import CONFIG_VARIABLE, HOME_VARIABLE, INSTANCE_VARIABLE
from taskclf_dagster.home import Home
from taskclf_dagster.web.rules import TOKEN_VARIABLE
from taskclf_dagster_tests.servers import (
    PROJECT,
    SCRIPTS,
    TIMEOUT_SECONDS,
    Webserver,
    end_session,
    free_port,
    learnable_home,
    listening_addresses,
    port_is_open,
    start,
    tail,
    until,
    write_config,
)

pytestmark = [pytest.mark.server, pytest.mark.slow]

RELOAD = 'mutation { reloadRepositoryLocation(repositoryLocationName: "taskclf_dagster") { __typename } }'
SCHEDULE = """query($s: ScheduleSelector!) { scheduleOrError(scheduleSelector: $s) { ... on Schedule {
  cronSchedule scheduleState { ticks(limit: 1) { status } } } } }"""
DAILY = {"repositoryLocationName": "taskclf_dagster", "repositoryName": "__repository__", "scheduleName": "daily_retrain"}
DEAF = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
"""Starts a command as a shell starts a background job: deaf to SIGINT."""


@dataclass
class Served:
    """A home that is served."""

    home: Home
    config: Path
    port: int
    log: Path
    process: subprocess.Popen
    members: list[psutil.Process] = field(default_factory=list)

    @property
    def web(self) -> Webserver:
        return Webserver(f"http://127.0.0.1:{self.port}", self.log)

    def member(self, program: str) -> psutil.Process:
        (found,) = (member for member in self.members if program in member.cmdline())
        return found

    def look(self) -> None:
        """Remembers every process of the tree."""
        self.members = psutil.Process(self.process.pid).children(recursive=True)

    def left(self) -> list[str]:
        """The processes of the tree that have not ended."""
        return [" ".join(member.cmdline()) for member in self.members if member.is_running() and member.status() != psutil.STATUS_ZOMBIE]

    def await_end(self) -> None:
        next((True for _ in until(60) if not self.left() and not port_is_open(self.port)), None)
        assert (self.left(), port_is_open(self.port)) == ([], False), tail(self.log)

    @property
    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.home.instance))


def serve_command(home: Home, config: Path, port: int) -> list[str]:
    return [str(SCRIPTS / "taskclf-dagster"), "serve", "--home", str(home.root), "--config", str(config), "--port", str(port)]


def environment() -> dict[str, str]:
    own = (HOME_VARIABLE, CONFIG_VARIABLE, INSTANCE_VARIABLE, TOKEN_VARIABLE)
    others = {name: value for name, value in os.environ.items() if name not in own}
    return {**others, "PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"}


@contextmanager
def serving(folder: Path, *, rounds: int = 15, shell: list[str] | None = None) -> Iterator[Served]:
    home, port, log = learnable_home(folder), free_port(), folder / "serve.log"
    write_instance_settings(home.instance)
    config = write_config(folder, rounds=rounds)
    process = start([*(shell or []), *serve_command(home, config, port)], log, cwd=folder, env=environment())
    served = Served(home, config, port, log, process)
    try:
        next((True for _ in until(TIMEOUT_SECONDS) if "Ctrl-C" in tail(log) or process.poll() is not None), None)
        assert "Ctrl-C" in tail(log), tail(log)
        served.look()
        yield served
    finally:
        end_session(process)
        for member in served.members:
            if member.is_running():
                member.kill()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served"), rounds=5000, shell=DEAF) as made:
        yield made


def test_one_address_has_pages_and_api_and_the_daemon_works(served: Served) -> None:
    assert f"http://127.0.0.1:{served.port}/retrain\n" in tail(served.log)
    assert served.web.locations() == [("taskclf_dagster", "RepositoryLocation")]
    assert listening_addresses(served.process) == {("127.0.0.1", served.port)}
    with served.instance as instance:
        next((True for _ in until(TIMEOUT_SECONDS) if "SCHEDULER" in instance.get_daemon_heartbeats()), None)
        assert "SCHEDULER" in instance.get_daemon_heartbeats()
        assert not instance.telemetry_enabled


@pytest.mark.parametrize(("same_port", "same_home"), [(True, False), (False, True)], ids=["port taken", "home served"])
def test_what_is_taken_already_is_refused_with_one_sentence(served: Served, tmp_path: Path, same_port: bool, same_home: bool) -> None:
    home = served.home if same_home else learnable_home(tmp_path)
    if not same_home:
        write_instance_settings(home.instance)
    command = serve_command(home, served.config, served.port if same_port else free_port())
    refused = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    assert (refused.returncode, refused.stderr.count("\n"), "Traceback" in refused.stderr) == (1, 1, False), refused.stderr
    assert (f"port {served.port}" if same_port else str(served.home.instance)) in refused.stderr


def test_a_changed_cron_line_takes_effect_in_web_server_and_daemon_after_a_reload(served: Served) -> None:
    before = served.web.ask(SCHEDULE, s=DAILY)["scheduleOrError"]
    assert (before["cronSchedule"], before["scheduleState"]["ticks"]) == ("0 0 1 1 *", [])
    served.config.write_text(
        served.config.read_text(encoding="utf-8").replace("0 0 1 1 *", "* * * * *") + "enabled: true\n", encoding="utf-8"
    )
    served.web.ask(RELOAD)
    seen: dict = {}
    for _ in until(TIMEOUT_SECONDS, every=1.0):  # two minutes at most: the daemon looks again every minute, and a tick is on the minute
        seen = served.web.ask(SCHEDULE, s=DAILY)["scheduleOrError"]
        if seen["scheduleState"]["ticks"]:
            break
    assert (seen["cronSchedule"], len(seen["scheduleState"]["ticks"])) == ("* * * * *", 1)


def test_ending_it_interrupts_the_run_that_is_under_way_and_leaves_no_process(served: Served) -> None:
    with served.instance as instance:
        runs: list = []
        for _ in until(TIMEOUT_SECONDS):  # that of the tick before
            runs = list(instance.get_runs(dg.RunsFilter(job_name="retrain", statuses=[dg.DagsterRunStatus.STARTED])))
            if runs:
                break
        assert runs, tail(served.log)
    served.look()
    served.process.send_signal(signal.SIGINT)
    assert served.process.wait(timeout=TIMEOUT_SECONDS) == 0, tail(served.log)
    served.await_end()
    with served.instance as instance:
        run = instance.get_run_by_id(runs[0].run_id)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.FAILURE


def test_if_the_parent_is_killed_everything_ends(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        sockets = Path(served.member("dagster-daemon").cmdline()[3])
        served.process.kill()
        served.process.wait()
        served.await_end()
        assert not sockets.exists()


def test_if_one_process_dies_all_end_with_a_sentence(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        served.member("dagster-daemon").kill()
        assert served.process.wait(timeout=TIMEOUT_SECONDS) == 1
        served.await_end()
        (sentence,) = (line for line in tail(served.log).splitlines() if line.startswith("Error:"))
        assert "its daemon ended by itself (signal 9)" in sentence
