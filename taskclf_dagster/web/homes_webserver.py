"""The web server of many homes, and the backend of each of them on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
from starlette.routing import BaseRoute

from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.config.loading import resolve_config
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.jobs.partition_forms import fill_form
from taskclf_dagster.defs.resources.partition_home import HOMES
from taskclf_dagster.defs.runs.instance_home import find_instance_folder, require_own_instance
from taskclf_dagster.defs.runs.run_tags import HOME_TAG, PARTITION_TAG, home_tag
from taskclf_dagster.domain.storage.instance_homes import claim_for_homes
from taskclf_dagster.home import Home
from taskclf_dagster.web.access import AccessRules
from taskclf_dagster.web.dagster_webserver import GuardedWebserver
from taskclf_dagster.web.routes import build_homes_routes
from taskclf_dagster.web.site_paths import SitePaths, paths_of


class HomesWebserver(GuardedWebserver):
    """The web server of many homes, with our pages and API. It is their `HomesBackend`.

    Args:
        process_context: as of `GuardedWebserver`.
        directory: lists the homes.
        rules: who may ask.
        live_data_poll_rate: as of Dagster's web server [ms].
    """

    def __init__(self, process_context: Any, directory: HomeDirectory, rules: AccessRules, live_data_poll_rate: int | None = None) -> None:
        self._directory = directory
        super().__init__(process_context, rules, live_data_poll_rate)

    @property
    def directory(self) -> HomeDirectory:
        return self._directory

    def build_own_routes(self) -> list[BaseRoute]:
        """Returns the routes of pages and API."""
        return build_homes_routes(self)

    def open(self, name: str) -> "HomeOfMany":
        """Returns the backend of one of the homes.

        Raises:
            BrokenHomeError: it cannot be used.
            HomesFileError: the homes file is not valid.
            UnknownHomeError: there is none with this name.
        """
        return HomeOfMany(self, name, self._directory.open(name))


@dataclass(frozen=True)
class HomeOfMany:
    """One home of a server for many, as page and API need it.

    Attributes:
        server: the server.
        name: name of the home, which is the partition that its runs are of.
        home: the home.
    """

    server: HomesWebserver
    name: str
    home: Home

    @property
    def paths(self) -> SitePaths:
        return paths_of(self.name)

    @property
    def instance(self) -> dg.DagsterInstance:
        return self.server.instance

    @property
    def read_only(self) -> bool:
        return self.server.read_only

    def load_config(self) -> RetrainConfig:
        """Reads the configuration of the home as it is now.

        Raises:
            SettingsError: it is not valid.
        """
        return resolve_config(None, self.home)

    @property
    def cron_effect(self) -> str:
        return "within two minutes: the sensors read the cron lines of each home anew"

    def launch(self, job: str, form: Mapping[str, object], *, tags: Mapping[str, str]) -> str:
        """Launches a job for the partition of this home, as `GuardedWebserver.launch_run`.

        Raises:
            InstanceError: the instance does not serve this home.
            LaunchRefusedError: as `GuardedWebserver.launch_run`.
        """
        if not self.read_only:
            folder = find_instance_folder(self.instance)
            if folder is not None:
                claim_for_homes(folder, self.server.directory)
            require_own_instance(self.instance, self.home)
            self.instance.add_dynamic_partitions(HOMES, [self.name])  # the sensor that keeps them may not have seen a new home yet
        run_config = fill_form(job, form)
        return self.server.launch_run(job, run_config, tags={**tags, HOME_TAG: home_tag(self.home), PARTITION_TAG: self.name})

    def reload_definitions(self) -> None:
        """Does nothing: the sensors over all homes read the configuration of each at every tick."""
