"""Opens the engine that the settings name."""

from collections.abc import Iterator
from contextlib import contextmanager

from taskclf_dagster.config.execution_settings import ExecutionSettings
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.errors import ClusterNotUsableError
from taskclf_dagster.home import Home


@contextmanager
def open_engine(settings: ExecutionSettings, home: Home) -> Iterator[Engine]:
    """Opens an engine for as long as the block lasts.

    Args:
        settings: the engine, and where its scheduler listens.
        home: the taskclf home, which every worker of a cluster must see at the same path.

    Raises:
        ClusterLostError: the scheduler or its workers cannot be reached.
        ClusterNotUsableError: dask is not installed, or a worker is not like this process.
    """
    if settings.scheduler_address is None or settings.engine == "local":
        yield LOCAL
        return
    address = settings.scheduler_address
    try:
        from taskclf_dagster.domain.execution.dask_cluster import open_cluster
        from taskclf_dagster.domain.execution.dask_engine import DaskEngine
    except ImportError as error:
        fix = "Install the extra dask on all machines: pip install 'taskclf-dagster[dask]'"
        raise ClusterNotUsableError(address, "not_installed", f"engine is dask, and {error.name} is not installed here", fix) from error
    with open_cluster(address, home) as cluster:
        yield DaskEngine(cluster)
