"""Worker processes: a permanent name for each, and whether it still runs. Uses neither Dagster nor homes.

Start times come from the clock, which may be set while a process runs, so they are compared with a tolerance.
"""

import platform

import psutil

CLOCK_SECONDS = 60.0
"""Tolerance for start times: setting the clock moves them."""


def describe_worker(process: psutil.Process) -> str:
    """Returns host, process number and start time, which name a process permanently."""
    return f"{platform.node()}:{process.pid}:{process.create_time():.2f}"


def has_worker_ended(worker: str) -> bool:
    """Returns True if a process of this machine has ended; False for every process of another machine."""
    host_and_number, _, started = worker.rpartition(":")
    host, _, number = host_and_number.rpartition(":")
    if host != platform.node():
        return False
    try:
        process = psutil.Process(int(number))
        return process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - float(started)) > CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return True


def was_running(number: int, at: float) -> bool:
    """Returns True if a process runs now and ran at a time [s since 1970]; a later process may have the same number."""
    try:
        process = psutil.Process(number)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= at + CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return False
