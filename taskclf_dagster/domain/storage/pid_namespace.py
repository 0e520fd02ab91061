"""The PID namespace of a process: where its number can be looked up. That is a machine, or one of the containers on it.

Linux numbers processes for each namespace, and each container has one: process 7 of one pod is not process 7 of another, even where both
have the name of their machine. So a process of another namespace is never looked up by its number.
"""

import platform
import sys
from pathlib import Path

_OF_THE_MACHINE = "pid:[4026531836]"
"""The namespace of the machine itself; its number is a constant of Linux."""


def find_pid_namespace() -> str:
    """Returns the name of this machine, in a container with the number of its namespace behind it."""
    number = _find_number()
    return platform.node() if number is None else f"{platform.node()}@{number}"


def _find_number() -> str | None:
    """Returns the number of the namespace of this process; None for that of the machine, and where there are none."""
    if sys.platform != "linux":
        return None
    try:
        link = str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # /proc is hidden: what is left is the name of the machine
        return None
    return None if link == _OF_THE_MACHINE else link.removeprefix("pid:[").removesuffix("]")
