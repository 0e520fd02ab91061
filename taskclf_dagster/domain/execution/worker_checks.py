"""The state of a worker, which must be equal on all workers of a cluster: libraries, code of this package, and the home that it sees.

Compared in `dask_cluster` when it connects, and by each worker itself before it computes, because workers may join later.
"""

import hashlib
import platform
import uuid
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

from taskclf_dagster import domain
from taskclf_dagster.shown_text import reason_of

COMPARED_PACKAGES = ("taskclf-dagster", "lightgbm", "numpy", "pandas", "pyarrow", "scikit-learn", "dask", "distributed", "cloudpickle")
"""Packages whose versions must be equal on all workers, as the version of Python must be."""


class Difference(NamedTuple):
    """A difference between a worker and the requirement: its kind, and the text that follows the name of the worker."""

    kind: Literal["versions", "code", "home"]
    text: str


class Requirement(NamedTuple):
    """The state that a worker must have.

    Attributes:
        code: see `code_digest`.
        versions: see `list_versions`.
        probe: path of a file that only this home has.
        word: its content.
    """

    code: str
    versions: tuple[tuple[str, str], ...]
    probe: str
    word: str


def require_here(probe: Path, word: str) -> Requirement:
    """Returns the requirement that workers are like this process, and see a file with this content."""
    return Requirement(code_digest(), list_versions(), str(probe), word)


@cache
def find_difference(required: Requirement) -> Difference | None:
    """Returns the first difference of this process, which reads the file and writes one beside it; None if there is none."""
    for (name, here), (_, there) in zip(list_versions(), required.versions, strict=False):
        if here != there:
            return Difference("versions", f"has {name} {here} instead of {there}")
    if code_digest() != required.code:
        return Difference("code", "runs other code of taskclf_dagster")
    probe = Path(required.probe)
    try:
        word = probe.read_text(encoding="utf-8")
        probe.with_name(uuid.uuid4().hex).write_text(word, encoding="utf-8")
    except OSError as error:
        return Difference("home", f"cannot use the home {probe.parents[2]} ({reason_of(error)})")
    return None if word == required.word else Difference("home", f"sees another home at {probe.parents[2]}")


@cache
def list_versions() -> tuple[tuple[str, str], ...]:
    """Returns names and versions of Python and of the compared packages."""
    return ("python", platform.python_version()), *((name, _version(name)) for name in COMPARED_PACKAGES)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


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
