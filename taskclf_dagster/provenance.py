"""Versions of code and libraries, which bundles and decisions record, and the number of processors."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

LIBRARIES = ("taskclf-dagster", "dagster", "lightgbm", "numpy", "pandas", "pyarrow", "scikit-learn")


def code_version() -> str:
    """Returns the commit of this package's checkout, with `+changes` if tracked files differ from it; "unknown" outside a checkout.

    Git is run in the package's folder, and only if it tracks the package there.
    """
    package = Path(__file__).resolve().parent
    if not _git(package, "ls-files", "--error-unmatch", "__init__.py"):
        return "unknown"
    commit = _git(package, "rev-parse", "HEAD")
    return f"{commit}+changes" if _git(package, "status", "--porcelain", "--untracked-files=no", ".") else commit or "unknown"


def library_versions() -> dict[str, str]:
    """Returns the versions of Python and of the libraries that shape a model."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in LIBRARIES}}


def cores() -> int:
    """Returns the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _git(folder: Path, *arguments: str) -> str:
    try:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603  # fixed arguments
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
