"""The registry lock: at most one writer to `models/`."""

from collections.abc import Iterator
from contextlib import contextmanager

from taskclf_dagster.domain.storage.files import make_folders
from taskclf_dagster.domain.storage.filesystem import file_system
from taskclf_dagster.errors import RegistryRefusedError
from taskclf_dagster.home import Home


@contextmanager
def write_lock(home: Home) -> Iterator[None]:
    """Holds the registry lock within the block.

    Raises:
        RegistryRefusedError: models/ is a link that leaves the home.
        RegistryBusyError: another writer did not release it in time.
        UnsafeFileSystemError: the file system has no locks that work.
    """
    if not home.models.resolve().is_relative_to(home.root.resolve()):
        raise RegistryRefusedError(
            f"Writing to {home.models}", "folder_leaves_home", "it is a link that leaves the home", "Make it a folder of the home."
        )
    make_folders(home.models)
    with file_system().lock(home.registry_lock):
        yield
