"""Worker processes: a permanent name for each, and whether it still runs. Uses neither Dagster nor homes.

Start times are those of `process_start`, because the clock may be set while a process runs.
"""

import platform

from taskclf_dagster.domain.storage.process_start import find_mark, find_start


def describe_worker(number: int) -> str:
    """Returns host, process number and start of a process, which name it permanently."""
    return f"{platform.node()}:{number}:{find_start(number)}"


def has_worker_ended(worker: str) -> bool:
    """Returns True if a process of this machine has ended; False for every process of another machine."""
    host_and_number, _, started = worker.rpartition(":")
    host, _, number = host_and_number.rpartition(":")
    return host == platform.node() and find_start(int(number)) != started


def is_running(number: int, mark: str) -> bool:
    """Returns True if a process runs now and is the one with this mark; a later process may have the same number."""
    return find_mark(number) == mark
