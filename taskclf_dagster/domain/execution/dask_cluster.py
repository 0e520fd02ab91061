"""A cluster of dask: connects to its scheduler, and checks every worker before anything is computed there.

Parts are computed in `dask_engine`; what is compared is in `worker_checks`. Dask is an extra, so only its engine imports this.
"""

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, cast

import dask
from distributed import Client

from taskclf_dagster.domain.execution.worker_checks import COMPARED_PACKAGES, WorkerState, code_digest, describe_worker
from taskclf_dagster.domain.storage.files import remove_tree, temporary_path, write_text
from taskclf_dagster.errors import ClusterLostError, ClusterNotUsableError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import reason_of

if TYPE_CHECKING:
    from distributed.client import VersionsDict

CONNECT_SECONDS = 30.0
"""Longest wait for the scheduler, for the first worker, and for the answers of all workers."""

_CONFIG = {"distributed.admin.large-graph-warning-threshold": "1GiB"}
"""The function and the items of `Engine.map` are sent as they are: dask would warn of more than 10 MiB."""


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
    """

    client: Client
    address: str
    workers: tuple[ClusterWorker, ...]

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
    with dask.config.set(_CONFIG):
        client = _connect(address, connect_seconds)
        try:
            workers = _wait_for_workers(client, address, connect_seconds)
            names = {worker.address: worker.name for worker in workers}
            _compare_versions(client, address, names)
            _compare_homes(client, address, names, home, connect_seconds)
            yield Cluster(client, address, workers)
        finally:
            with suppress(TimeoutError, OSError):
                client.close(timeout=connect_seconds)


def _connect(address: str, seconds: float) -> Client:
    try:
        return Client(address, timeout=seconds, set_as_default=False, name="taskclf_dagster")
    except (OSError, TimeoutError) as error:
        raise ClusterLostError(address, "scheduler", f"no scheduler answered within {seconds:g} s ({reason_of(error)})") from error
    except (TypeError, ValueError, ImportError, RuntimeError) as error:
        fix = "For tls:// set distributed.comm.tls in the configuration of dask to certificates that exist, on this machine as well"
        raise ClusterNotUsableError(address, "settings", f"the connection cannot be made ({reason_of(error)})", fix) from error


def _wait_for_workers(client: Client, address: str, seconds: float) -> tuple[ClusterWorker, ...]:
    try:
        client.wait_for_workers(1, timeout=seconds)
    except (OSError, TimeoutError) as error:
        raise ClusterLostError(address, "workers", f"it has no worker after {seconds:g} s") from error
    return _list_workers(client, address)


def _list_workers(client: Client, address: str) -> tuple[ClusterWorker, ...]:
    lost = ClusterLostError(address, "scheduler", "the scheduler went away in the middle of the work")
    if client.status != "running":
        raise lost
    try:
        found = client.scheduler_info(n_workers=-1)["workers"]
    except (OSError, KeyError, RuntimeError, AttributeError) as error:  # closed in the meantime
        raise lost from error
    if client.status != "running":  # what was answered is old
        raise lost
    return tuple(sorted(ClusterWorker(str(worker["name"]), where, int(worker["nthreads"])) for where, worker in found.items()))


def _compare_versions(client: Client, address: str, names: Mapping[str, str]) -> None:
    versions = cast("VersionsDict", client.get_versions(packages=list(COMPARED_PACKAGES)))
    ours = versions["client"]["packages"]
    differing = [
        f"worker {names.get(where, where)} has {package} {theirs['packages'].get(package)} instead of {ours[package]}"
        for where, theirs in versions["workers"].items()
        for package in ("python", *COMPARED_PACKAGES)
        if theirs["packages"].get(package) != ours[package]
    ]
    if differing:
        fix = "Install the same versions on all machines, such as those of requirements.lock, and restart the workers"
        raise ClusterNotUsableError(address, "versions", "; ".join(differing), fix)


def _compare_homes(client: Client, address: str, names: Mapping[str, str], home: Home, seconds: float) -> None:
    """Writes a file into the home that each worker must read, and beside which it must write one."""
    home.require()
    folder, word = temporary_path(home.artifacts / "probe"), uuid.uuid4().hex
    probe = folder / "probe"
    try:
        write_text(probe, word)
        found = client.run(describe_worker, str(probe), workers=list(names), on_error="return", callback_timeout=seconds)
        for where, name in names.items():
            _require_equal(address, name, found.get(where), word, home)
    except (OSError, TimeoutError) as error:
        raise ClusterLostError(address, "workers", f"a worker did not answer within {seconds:g} s ({reason_of(error)})") from error
    finally:
        with suppress(OSError):
            remove_tree(folder)


def _require_equal(address: str, name: str, state: object, word: str, home: Home) -> None:
    fix = "Install the same commit on all machines and restart the workers"
    if isinstance(state, Exception):
        raise ClusterNotUsableError(address, "code", f"worker {name} cannot run taskclf_dagster ({reason_of(state)})", fix) from state
    if not isinstance(state, WorkerState) or state.code != code_digest():
        raise ClusterNotUsableError(address, "code", f"worker {name} runs other code of taskclf_dagster", fix)
    if state.probe != word or state.problem is not None:
        fix = "Mount the home at the same path on all machines, writable for the user of the worker"
        reason = f"worker {name} cannot use the home {home.root} ({state.problem or 'it sees another one'})"
        raise ClusterNotUsableError(address, "home", reason, fix)
