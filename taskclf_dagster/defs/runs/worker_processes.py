"""Worker processes: a permanent name for each, and whether it still runs. Uses neither Dagster nor homes.

Start times are those of `process_start`, because the clock may be set while a process runs. Numbers mean something in one PID
namespace only: a process of another machine or container is left to Dagster's run monitoring, which asks its launcher.
"""

from taskclf_dagster.domain.storage.pid_namespace import find_pid_namespace
from taskclf_dagster.domain.storage.process_start import find_mark, find_start


def describe_worker(number: int) -> str:
    """Returns PID namespace, number and start of a process of this one, which name it permanently."""
    return f"{find_pid_namespace()}:{number}:{find_start(number)}"


def has_worker_ended(worker: str) -> bool:
    """Returns True if a process of this PID namespace has ended; False for every process of another machine or container."""
    before, _, started = worker.rpartition(":")
    namespace, _, number = before.rpartition(":")
    return namespace == find_pid_namespace() and find_start(int(number)) != started


def is_running(number: int, mark: str) -> bool:
    """Returns True if a process runs here now and is the one with this mark; a later process may have the same number."""
    return find_mark(number) == mark
