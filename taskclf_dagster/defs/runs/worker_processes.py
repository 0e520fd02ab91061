"""Processes of this machine: a name for one that no later process gets, and whether it is still there. Knows neither Dagster nor homes.

Start times come from the clock, which may be set while a process runs, so they are compared with some tolerance.
"""

import platform

import psutil

CLOCK_SECONDS = 60.0
"""How far the start of a process may seem to move when the clock is set."""


def describe_worker(process: psutil.Process) -> str:
    """Host, process and its start, which together name a process for ever."""
    return f"{platform.node()}:{process.pid}:{process.create_time():.2f}"


def has_worker_ended(worker: str) -> bool:
    """Whether a process of this machine has ended; one of another machine is never called gone."""
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
    """Whether a process lives and did so at a time [s since 1970]: what is older than it was made by another with the same number."""
    try:
        process = psutil.Process(number)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= at + CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return False
