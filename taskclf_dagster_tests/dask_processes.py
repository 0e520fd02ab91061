"""A cluster of dask on loopback: scheduler and workers as people start them, processes of their own, gone when the test is over."""

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from distributed import Client

from taskclf_dagster_tests.servers import PROJECT, end_session, start, tail, until

TIMEOUT_SECONDS = 240
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass
class DaskProcesses:
    """Running processes.

    Attributes:
        folder: of their logs and temporary files.
        scheduler: the process, which leads a session of its own.
        workers: the nannies by name; the process that computes is their child.
        address: of the scheduler.
    """

    folder: Path
    env: Mapping[str, str]
    stack: ExitStack
    address: str = ""
    scheduler: psutil.Popen | None = None
    workers: dict[str, psutil.Popen] = field(default_factory=dict)
    _started: int = 0

    @property
    def file(self) -> Path:
        return self.folder / "scheduler.json"

    def start_scheduler(self) -> None:
        options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show", "--scheduler-file", self.file)
        self.scheduler = self._start("scheduler", *options)
        for _ in until(TIMEOUT_SECONDS, every=0.1):
            if self.file.exists() and self.file.read_bytes().endswith(b"}"):
                break
        assert self.file.exists(), tail(self.folder / "scheduler.log")
        self.address = str(json.loads(self.file.read_text(encoding="utf-8"))["address"])

    def start_worker(self, name: str, *options: str, env: Mapping[str, str] | None = None) -> None:
        local = self.folder / name
        given = ("--nthreads", "1", "--name", name, "--no-dashboard", "--local-directory", local, "--host", "127.0.0.1", *options)
        self.workers[name] = self._start("worker", self.address, *given, log=name, env=env)

    def await_workers(self, number: int) -> None:
        """Returns when so many workers are known to the scheduler."""
        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(number, timeout=TIMEOUT_SECONDS)

    def start_again(self, number: int, *options: str) -> None:
        """Replaces what tests have killed: the scheduler, and workers up to this number, which get other names."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            for name in list(self.workers):
                self.kill(name)
            self.file.unlink(missing_ok=True)
            self.start_scheduler()
        while len(self.workers) < number:
            self._started += 1
            self.start_worker(f"worker-{self._started}", *options)
        with Client(self.address, set_as_default=False) as client:
            for _ in until(TIMEOUT_SECONDS, every=0.1):
                known = {worker["name"] for worker in client.scheduler_info(n_workers=-1)["workers"].values()}
                if known == set(self.workers):
                    return
        raise AssertionError(self.logs())

    def child_of(self, name: str) -> psutil.Process:
        """The process of a worker that computes."""
        for _ in until(TIMEOUT_SECONDS, every=0.1):
            for child in psutil.Process(self.workers[name].pid).children():
                if any("spawn_main" in word for word in child.cmdline()):
                    return child
        raise AssertionError(tail(self.folder / f"{name}.log"))

    def logs(self) -> str:
        return "\n".join(tail(path) for path in sorted(self.folder.glob("*.log")))

    def kill(self, name: str) -> None:
        """Kills a worker with its nanny, as a machine that loses its power."""
        end_session(self.workers.pop(name))

    def kill_scheduler(self) -> None:
        assert self.scheduler is not None
        self.scheduler.send_signal(signal.SIGKILL)
        self.scheduler.wait(TIMEOUT_SECONDS)

    def _start(self, kind: str, *arguments: object, log: str = "scheduler", env: Mapping[str, str] | None = None) -> psutil.Popen:
        command = [sys.executable, "-m", "distributed.cli.dask_" + kind, *map(str, arguments)]
        process = start(command, self.folder / f"{log}.log", cwd=self.folder, env={**self.env, **(env or {})})
        self.stack.callback(end_session, process)
        return process


@contextmanager
def dask_processes(folder: Path, *workers: str, env: Mapping[str, str] | None = None) -> Iterator[DaskProcesses]:
    """A scheduler with workers of these names for as long as the block lasts."""
    folder.mkdir()
    with ExitStack() as stack:
        cluster = DaskProcesses(folder, {**os.environ, "PYTHONPATH": str(PROJECT), **dict.fromkeys(THREADS, "1"), **(env or {})}, stack)
        cluster.start_scheduler()
        for name in workers:
            cluster.start_worker(name)
        yield cluster
