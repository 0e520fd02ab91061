"""The cost of what a replay does, in CPU time: wall time says little on a machine that others use as well."""

from collections.abc import Callable

CpuClock = Callable[[], float]
"""Returns the CPU time of this process [s]."""
