"""The registry lock: at most one writer to `models/`."""

from collections.abc import Iterator
from contextlib import contextmanager

from taskclf_dagster.domain.registry.write_problems import find_link_problem, refusal
from taskclf_dagster.domain.storage.files import make_folders
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.home import Home


@contextmanager
def write_lock(home: Home) -> Iterator[None]:
    """Holds the registry lock within the block.

    Raises:
        RegistryRefusedError: models/ is a link that leaves the home.
        RegistryBusyError: another writer did not release it in time.
        UnsafeFileSystemError: the file system has no locks that work.
    """
    for problem in find_link_problem(home):
        raise refusal(problem)
    make_folders(home.models)
    with file_system().lock(home.registry_lock):
        yield
