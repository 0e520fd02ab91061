"""A cluster of dask: connects to its scheduler, and checks every worker before anything is computed there.

Parts are computed in `dask_engine`; what is compared is in `worker_checks`. Dask is an extra, so only its engine imports this.
"""

import ssl
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import dask
from distributed import Client

from taskclf_dagster.domain.execution.worker_checks import Difference, Requirement, find_difference, require_here
from taskclf_dagster.domain.storage.files import remove_tree, temporary_path, write_text
from taskclf_dagster.errors import ClusterLostError, ClusterNotUsableError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import reason_of

CONNECT_SECONDS = 30.0
"""Longest wait for the scheduler, for the first worker, and for the answers of all workers."""

SCHEDULER_WENT = "the scheduler went away in the middle of the work"

_CONFIG = {"distributed.admin.large-graph-warning-threshold": "1GiB"}
"""The function and the items of `Engine.map` are sent as they are: dask would warn of more than 10 MiB."""


_FIXES = {
    "versions": "Install the same versions on all machines, such as those of requirements.lock, and restart the workers",
    "code": "Install the same commit on all machines, and restart the workers",
    "home": "Mount the home at the same path on all machines, writable for the user of the worker",
}


class ClusterWorker(NamedTuple):
    """One worker: the name that it was started with (else its address), where it listens, and its number of threads."""

    name: str
    address: str
    threads: int


@dataclass(frozen=True)
class Cluster:
    """A connection to a scheduler whose workers were checked.

    Attributes:
        client: the connection.
        address: of the scheduler.
        workers: those that were there at the beginning, sorted by name.
        required: what each worker must be like, those that join later as well.
    """

    client: Client
    address: str
    workers: tuple[ClusterWorker, ...]
    required: Requirement

    def present_workers(self) -> tuple[ClusterWorker, ...]:
        """Returns the workers of this moment, sorted by name.

        Raises:
            ClusterLostError: the scheduler went away.
        """
        return _list_workers(self.client, self.address)

    def watch(self) -> "Watch":
        """Returns a watch over the workers that were there at the beginning."""
        return Watch(self)


@dataclass
class Watch:
    """Notices that the scheduler or one of its workers went away. It asks at most once in `seconds`."""

    cluster: Cluster
    seconds: float = 1.0
    _next: float = field(default=0.0, init=False)

    def find_loss(self) -> ClusterLostError | None:
        """Returns the error to raise; None while everything that was there at the beginning still is."""
        if self.cluster.client.status == "running" and time.monotonic() < self._next:
            return None
        self._next = time.monotonic() + self.seconds
        try:
            present = {worker.address for worker in self.cluster.present_workers()}
        except ClusterLostError as error:
            return error
        lost = [worker.name for worker in self.cluster.workers if worker.address not in present]
        names = ", ".join(lost)
        return ClusterLostError(self.cluster.address, "workers", f"worker {names} went away in the middle of the work") if lost else None


@contextmanager
def open_cluster(address: str, home: Home, *, connect_seconds: float = CONNECT_SECONDS) -> Iterator[Cluster]:
    """Connects to a scheduler, checks its workers, and closes the connection at the end, which cancels what is not done.

    Args:
        address: of the scheduler, such as tcp://scheduler:8786. Certificates of tls:// are in the configuration of dask.
        home: the taskclf home, which every worker must see at the same path.
        connect_seconds: longest wait for the scheduler, for the first worker, and for the answers of all workers [seconds].

    Raises:
        ClusterLostError: the scheduler or its workers cannot be reached.
        ClusterNotUsableError: a worker has other versions, other code, or another home.
    """
    with dask.config.set(_CONFIG), _probe(home) as required:
        client = _connect(address, connect_seconds)
        try:
            workers = _wait_for_workers(client, address, connect_seconds)
            _check_workers(client, address, {worker.address: worker.name for worker in workers}, required, connect_seconds)
            yield Cluster(client, address, workers, required)
        finally:
            with suppress(TimeoutError, OSError):
                client.close(timeout=connect_seconds)


@contextmanager
def _probe(home: Home) -> Iterator[Requirement]:
    """Writes a file into the home, by which workers recognise it, for as long as the block lasts."""
    home.require()
    folder, word = temporary_path(home.artifacts / "probe"), uuid.uuid4().hex
    try:
        write_text(folder / "probe", word)
        yield require_here(folder / "probe", word)
    finally:
        with suppress(OSError):
            remove_tree(folder)


def _connect(address: str, seconds: float) -> Client:
    try:
        return Client(address, timeout=seconds, set_as_default=False, name="taskclf_dagster")
    except (TypeError, ValueError, ImportError, RuntimeError, FileNotFoundError, PermissionError, ssl.SSLError) as error:
        fix = "For tls:// set distributed.comm.tls in the configuration of dask to certificates that exist, on this machine as well"
        raise ClusterNotUsableError(address, "settings", f"the connection cannot be made ({reason_of(error)})", fix) from error
    except (OSError, TimeoutError) as error:
        raise ClusterLostError(address, "scheduler", f"no scheduler answered within {seconds:g} s ({reason_of(error)})") from error
    except AssertionError as error:  # distributed asserts that its thread runs after ten seconds, which a machine that stalls does not keep
        raise ClusterLostError(address, "scheduler", "dask could not start on this machine, which is too busy") from error


def _wait_for_workers(client: Client, address: str, seconds: float) -> tuple[ClusterWorker, ...]:
    try:
        client.wait_for_workers(1, timeout=seconds)
    except (OSError, TimeoutError) as error:
        raise ClusterLostError(address, "workers", f"it has no worker after {seconds:g} s") from error
    return _list_workers(client, address)


def _list_workers(client: Client, address: str) -> tuple[ClusterWorker, ...]:
    lost = ClusterLostError(address, "scheduler", SCHEDULER_WENT)
    scheduler = client.scheduler
    if client.status != "running" or scheduler is None:
        raise lost
    try:
        # Not `scheduler_info`: it returns what the client has stored, which its own polling replaces by an answer without workers.
        found = client.sync(scheduler.identity, n_workers=-1, callback_timeout=CONNECT_SECONDS)["workers"]
    except (OSError, KeyError, RuntimeError, AttributeError) as error:  # closed in the meantime
        raise lost from error
    if client.status != "running":  # what was answered is old
        raise lost
    return tuple(sorted(ClusterWorker(str(worker["name"]), where, int(worker["nthreads"])) for where, worker in found.items()))


def _check_workers(client: Client, address: str, names: Mapping[str, str], required: Requirement, seconds: float) -> None:
    try:
        found = client.run(find_difference, required, workers=list(names), on_error="return", callback_timeout=seconds)
    except (OSError, TimeoutError) as error:
        raise ClusterLostError(address, "workers", f"a worker did not answer within {seconds:g} s ({reason_of(error)})") from error
    for where, name in names.items():
        difference = found.get(where)
        if difference is not None:
            raise refuse_worker(address, name, difference)


def refuse_worker(address: str, name: str, difference: Difference | Exception) -> ClusterNotUsableError:
    """Returns the error of a worker that is not as required, or that raised an exception when it was asked."""
    if isinstance(difference, Exception):
        difference = Difference("code", f"cannot run taskclf_dagster ({reason_of(difference)})")
    return ClusterNotUsableError(address, difference.kind, f"worker {name} {difference.text}", _FIXES[difference.kind])
