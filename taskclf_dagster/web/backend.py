"""The needs of page and API of the server that they run in. `dagster_webserver` has those that run."""

from collections.abc import Mapping
from typing import Protocol

import dagster as dg

from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.home import Home
from taskclf_dagster.web.site_paths import SitePaths


class Backend(Protocol):
    """One home, its Dagster instance, and the ways to launch.

    Attributes:
        home: the home; the only one of its server, or one of many.
        paths: where page and API of this home are.
        instance: the Dagster instance, for reading.
        read_only: True if the server changes nothing.
        cron_effect: the time from which a changed cron line counts, once `reload_definitions` was called.
    """

    @property
    def home(self) -> Home: ...

    @property
    def paths(self) -> SitePaths: ...

    @property
    def instance(self) -> dg.DagsterInstance: ...

    @property
    def read_only(self) -> bool: ...

    @property
    def cron_effect(self) -> str: ...

    def load_config(self) -> RetrainConfig:
        """Reads the configuration as it is now.

        Raises:
            SettingsError: it is not valid.
        """

    def launch(self, job: str, form: Mapping[str, object], *, tags: Mapping[str, str]) -> str:
        """Launches a job through Dagster's queue and returns the id of its run.

        Args:
            job: name of the job, such as `retrain`, `approve` or `rollback`.
            form: its launch form.
            tags: of the run; that of the home is added.

        Raises:
            LaunchRefusedError: Dagster refuses the form, or has no such job.
        """

    def reload_definitions(self) -> None:
        """Loads schedules and sensors again, so that changed cron lines take effect."""


class HomesBackend(Protocol):
    """Many homes and their Dagster instance.

    Attributes:
        directory: lists them.
        instance: the Dagster instance of all of them, for reading.
        read_only: True if the server changes nothing.
    """

    @property
    def directory(self) -> HomeDirectory: ...

    @property
    def instance(self) -> dg.DagsterInstance: ...

    @property
    def read_only(self) -> bool: ...

    def open(self, name: str) -> Backend:
        """Returns the backend of one of the homes.

        Raises:
            BrokenHomeError: it cannot be used.
            HomesFileError: the homes file is not valid.
            UnknownHomeError: there is none with this name.
        """
