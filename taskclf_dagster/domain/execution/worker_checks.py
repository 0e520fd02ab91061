"""The state of a worker, which must be equal on all workers of a cluster: libraries, code of this package, and the home that it sees.

Compared in `dask_cluster`, which calls `describe_worker` on each worker.
"""

import hashlib
import uuid
from functools import cache
from pathlib import Path
from typing import NamedTuple

from taskclf_dagster import domain
from taskclf_dagster.shown_text import reason_of

COMPARED_PACKAGES = ("taskclf-dagster", "lightgbm", "numpy", "pandas", "pyarrow", "scikit-learn", "dask", "distributed", "cloudpickle")
"""Packages whose versions must be equal on all workers, as the version of Python must be."""


class WorkerState(NamedTuple):
    """The state of one worker.

    Attributes:
        code: SHA-256 of the modules of this package, in hex.
        probe: the content of the file that only this home has; None if it cannot be read.
        problem: the error of reading, or of writing beside it; None if there was none.
    """

    code: str
    probe: str | None
    problem: str | None


def describe_worker(probe: str) -> WorkerState:
    """Describes this process, which reads a file and writes one beside it.

    Args:
        probe: path of the file to read.
    """
    found = None
    try:
        found = Path(probe).read_text(encoding="utf-8")
        Path(probe).with_name(uuid.uuid4().hex).write_text(found, encoding="utf-8")
    except OSError as error:
        return WorkerState(code_digest(), found, reason_of(error))
    return WorkerState(code_digest(), found, None)


@cache
def code_digest() -> str:
    """Returns the SHA-256 of the modules of this package, in hex."""
    package = Path(domain.__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
