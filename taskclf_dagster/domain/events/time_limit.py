"""Calls with a time limit, for libraries whose own timeouts are about single reads of a socket."""

from collections.abc import Callable
from threading import Thread
from typing import TypeVar

Result = TypeVar("Result")


def call_within(seconds: float, call: Callable[[], Result]) -> Result:
    """Calls a function in a thread that is abandoned after a time: a receiver that answers a byte at a time outlives every socket timeout.

    Args:
        seconds: the longest time [s].
        call: the function; what it raises is raised here.

    Raises:
        TimeoutError: it took longer.
    """
    results: list[Result] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(call())
        except Exception as error:  # raised again in the thread that waits
            errors.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError
    return results[0]
