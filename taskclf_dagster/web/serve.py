"""The process tree of `taskclf-dagster serve`: code server, web server and daemon, started together and ended together.

Each is a process of `member` in a session of its own, so that Ctrl-C in a terminal reaches this process only, which ends each of them with
what it started, such as the runs of the code server. If this process is killed, they notice and end by themselves.
"""

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import requests
import yaml
from filelock import FileLock, Timeout

from taskclf_dagster.defs.dagster_internals import LOCATION
from taskclf_dagster.errors import ServeError
from taskclf_dagster.shown_text import counted
from taskclf_dagster.web.health import HEALTH
from taskclf_dagster.web.member import WEB_SERVER
from taskclf_dagster.web.rules import TOKEN_VARIABLE

LOCK = "serve.lock"
"""The file in the folder of the instance whose lock the running server holds: two daemons would launch everything twice."""

POLL_SECONDS = 0.2

START_SECONDS = 180.0
"""The time that one process has to begin its work; loading the project takes seconds, on a busy machine a minute."""

END_SECONDS = 20.0
"""The time that a process has to end before it is killed; a run records its interruption in less."""

SOCKET_CHARACTERS = 100
"""The longest path of a socket that every system takes."""


@dataclass(frozen=True)
class ServeOptions:
    """The definitions to serve, and the address.

    Attributes:
        module: with the definitions that the code server loads.
        instance: folder of the Dagster instance.
        reference: the instance as a text for other processes, where DAGSTER_HOME does not name it; else None.
        environment: of the processes.
        host: address or name to listen on.
        port: to listen on.
        read_only: True if nothing may be changed.
        log_level: of Dagster's logs.
    """

    module: str
    instance: Path
    reference: str | None
    environment: Mapping[str, str]
    host: str
    port: int
    read_only: bool
    log_level: str

    @property
    def url(self) -> str:
        """The address for this machine."""
        return f"http://{f'[{self.reached_at}]' if ':' in self.reached_at else self.reached_at}:{self.port}"

    @property
    def reached_at(self) -> str:
        return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104  # what it is reached at


@dataclass
class _Member:
    name: str
    process: subprocess.Popen[bytes]


@dataclass
class ProcessTree:
    """The processes, in the order in which they were started."""

    options: ServeOptions
    folder: Path
    stopped: Callable[[], bool]
    members: list[_Member] = field(default_factory=list)

    def start(self) -> None:
        """Starts all three, and returns when all work, or when the server is asked to stop.

        Raises:
            ServeError: one of them ended, or does not begin its work in time.
        """
        options, code_socket = self.options, self.folder / "code.sock"
        workspace = self.folder / "workspace.yaml"
        workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": {"socket": str(code_socket), "location_name": LOCATION}}]}))
        instance = [] if options.reference is None else ["--instance-ref", options.reference]
        level = ["--log-level", options.log_level]
        code = ["code-server", "start", "--socket", str(code_socket), "-m", options.module, "--location-name", LOCATION]
        self._add("code server", "dagster", [*code, *level, *instance])
        self._await("code server", lambda: _listens(code_socket))  # it loads the project before it listens
        web = ["--host", options.host, "--port", str(options.port), "-w", str(workspace), "--dagster-log-level", options.log_level]
        self._add("web server", WEB_SERVER, [*web, *(["--read-only"] if options.read_only else []), *instance])
        self._add("daemon", "dagster-daemon", ["run", "-w", str(workspace), *level, *instance])
        self._await("web server", lambda: _answers(options.url))

    def watch(self) -> None:
        """Returns when the server is asked to stop.

        Raises:
            ServeError: a process ended by itself.
        """
        while not self.stopped():
            self._require_all()
            time.sleep(POLL_SECONDS)

    def end(self, hurries: Callable[[], bool]) -> None:
        """Ends every process and what it started: with SIGINT, and after END_SECONDS, or if `hurries` returns True, with SIGKILL."""
        for member in self.members:
            _signal_group(member, signal.SIGINT)
        deadline = time.monotonic() + END_SECONDS
        while any(_lives(member) for member in self.members) and time.monotonic() < deadline and not hurries():
            time.sleep(POLL_SECONDS / 4)
        for member in self.members:
            _signal_group(member, signal.SIGKILL)
            member.process.wait()

    def _add(self, name: str, program: str, arguments: Sequence[str]) -> None:
        if self.stopped():
            return
        environment = {key: value for key, value in self.options.environment.items() if program == WEB_SERVER or key != TOKEN_VARIABLE}
        command = [sys.executable, "-m", "taskclf_dagster.web.member", str(self.folder), program, *arguments]
        process = subprocess.Popen(  # noqa: S603  # our own module, and programs of Dagster
            command, stdin=subprocess.PIPE, cwd=self.options.instance, env=environment, start_new_session=True
        )
        self.members.append(_Member(name, process))

    def _await(self, name: str, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.stopped():
            self._require_all()
            if is_ready():
                return
            if time.monotonic() > deadline:
                reason = f"the {name} did not begin its work within {counted(START_SECONDS / 60, 'minute')}"
                raise ServeError("ended", reason, "What it printed is above")
            time.sleep(POLL_SECONDS)

    def _require_all(self) -> None:
        for member in self.members:
            code = member.process.poll()
            if code is not None:
                how = f"signal {-code}" if code < 0 else f"exit code {code}"
                reason = f"its {member.name} ended by itself ({how}), so everything was ended"
                raise ServeError("ended", reason, "What it printed is above. Start the server again")


@contextmanager
def claim_place(instance: Path, host: str, port: int) -> Iterator[None]:
    """Makes sure that nobody else serves this instance or listens there, for as long as the block lasts.

    Raises:
        ServeError: somebody does, or the machine has no such address.
    """
    lock = FileLock(instance / LOCK, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        reason = f"another `taskclf-dagster serve` runs with the Dagster instance {instance}, and two daemons would launch everything twice"
        raise ServeError("running", reason, "Use that one, or stop it") from error
    try:
        _require_free(host, port)
        yield
    finally:
        lock.release()


def run_server(options: ServeOptions, announce: Callable[[], None]) -> None:
    """Runs the server until SIGINT, SIGTERM or SIGHUP.

    Args:
        options: what is served, and where.
        announce: called when everything works.

    Raises:
        ServeError: a process cannot be started, or ended by itself.
    """
    signals = _Signals()
    with signals.caught(), ExitStack() as stack:
        folder = _make_folder()
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        tree = ProcessTree(options, folder, stopped=lambda: signals.count > 0)
        try:
            tree.start()
            if not signals.count:
                announce()
            tree.watch()
        finally:
            tree.end(hurries=lambda: signals.count > 1)


class _Signals:
    """Counts the signals that ask for the end; the second one is from somebody who does not want to wait."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Counts them within the block, also where a shell started this process deaf to SIGINT; `nohup` stays deaf to SIGHUP."""
        wanted = [signal.SIGINT, signal.SIGTERM]
        wanted += [] if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else [signal.SIGHUP]
        former = {number: signal.signal(number, self._count) for number in wanted}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _count(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1


def _require_free(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno != errno.EADDRINUSE:
            raise ServeError("address", f"it cannot listen on {host} ({error.strerror})", "Give an address of this machine") from error
        reason = f"another program listens on port {port} of {host} already"
        raise ServeError("port", reason, "Stop it, or choose another port with --port") from error


def _make_folder() -> Path:
    """Returns a new folder that only this user can open, with a path short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="taskclf-"))
    if len(str(folder)) <= SOCKET_CHARACTERS - 10:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="taskclf-", dir="/tmp"))  # the parent of a folder with a unique name


def _listens(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
    except OSError:
        return False
    return True


def _answers(url: str) -> bool:
    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy between this process and its own server
            return session.get(url + HEALTH, timeout=5).status_code == 200
    except requests.RequestException:
        return False


def _signal_group(member: _Member, number: signal.Signals) -> None:
    try:
        os.killpg(member.process.pid, number)
    except ProcessLookupError:
        return


def _lives(member: _Member) -> bool:
    """Returns True if a process, or one that it started, has not ended."""
    member.process.poll()
    try:
        os.killpg(member.process.pid, 0)
    except ProcessLookupError:
        return False
    return True
