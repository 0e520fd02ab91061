"""The code, the libraries and the processors of this process. Bundles and decision receipts record the first two.

Add here what identifies the program that made a model. Settings belong to `config`.
"""

import math
import os
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
"""The limit of a container or a systemd unit: microseconds of processor time in each period, and the period."""

LIBRARIES = ("taskclf-dagster", "dagster", "lightgbm", "numpy", "pandas", "pyarrow", "scikit-learn")


@cache
def code_version() -> str:
    """Returns the commit of this package's own checkout, with `+changes` if tracked files differ from it; "unknown" outside a checkout.

    Read once a process, whose code does not change either. Asks git for the package's folder, not for the current one, and only if git
    tracks the package there.
    """
    package = Path(__file__).resolve().parent
    if not _git(package, "ls-files", "--error-unmatch", "__init__.py"):
        return "unknown"
    commit = _git(package, "rev-parse", "HEAD")
    return f"{commit}+changes" if _git(package, "status", "--porcelain", "--untracked-files=no", ".") else commit or "unknown"


@cache
def _library_version(name: str) -> str:
    return metadata.version(name)


def library_versions() -> dict[str, str]:
    """Returns the versions of Python and of the libraries that a model depends on."""
    return {"python": platform.python_version(), **{name: _library_version(name) for name in LIBRARIES}}


def cores() -> int:
    """Returns the number of processors that this process may use; a container may be limited to fewer than it sees, at least one."""
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        time, period = map(int, CPU_LIMIT.read_text(encoding="ascii").split())
    except (OSError, ValueError):  # no such file outside of Linux; its first word is "max" where there is no limit
        return seen
    return max(1, min(seen, math.ceil(time / period)))


def _git(folder: Path, *arguments: str) -> str:
    """Returns the output of git; an empty text if it fails or is not installed."""
    try:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603  # fixed arguments
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
