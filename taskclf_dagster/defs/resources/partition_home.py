"""The home of a run where one deployment serves many: that of the partition of the run. Dagster concepts: resources, partitions.

Everything that opens a home in a run does so through this resource, so a run has the one home that its partition names, from its first to
its last step. `home_directory` has the homes.
"""

from pathlib import Path

import dagster as dg
from pydantic import Field, PrivateAttr

from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.config.homes_file import require_homes_file
from taskclf_dagster.defs.resources.inputs import HomeResource
from taskclf_dagster.defs.runs.instance_home import find_instance_folder
from taskclf_dagster.defs.runs.run_tags import HOME_TAG, PARTITION_TAG, home_tag
from taskclf_dagster.domain.storage.instance_homes import claim_for_homes
from taskclf_dagster.entry_paths import require_absolute
from taskclf_dagster.errors import HomeChangedError, PartitionMissingError
from taskclf_dagster.home import Home

HOMES = "homes"
"""The name of the partitions, and of the sensor that keeps them."""


def build_partitions() -> dg.DynamicPartitionsDefinition:
    """Returns the partitions: one for each home, by its name."""
    return dg.DynamicPartitionsDefinition(name=HOMES)


class HomesResource(dg.ConfigurableResource[None]):
    """The homes that the deployment serves, for sensors."""

    homes_file: str | None = Field(default=None, description="Absolute path of the homes file; default: TASKCLF_DAGSTER_HOMES.")

    def open(self) -> HomeDirectory:
        """Returns the homes; nothing is read yet.

        Raises:
            HomesNotNamedError: no homes file is named.
            PathError: its path is relative.
        """
        return HomeDirectory(require_absolute(self.homes_file, "homes_file") if self.homes_file else require_homes_file())


class PartitionHome(HomeResource):
    """The home of the run's partition; a `root` that is given as well must be that of this home."""

    homes_file: str | None = Field(default=None, description="Absolute path of the homes file; default: TASKCLF_DAGSTER_HOMES.")
    _opened: Home | None = PrivateAttr(default=None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Finds the home, before anything of it is read.

        Raises:
            BrokenHomeError: it cannot be used.
            HomeChangedError: it has another folder than when the run was launched.
            HomesFileError: the homes file is not valid.
            InstanceError: the instance serves the homes of another file.
            PartitionMissingError: the run names no home, or several.
            UnknownHomeError: the homes file has no home of this name.
        """
        run, instance = context.run, context.instance
        if run is None or instance is None:
            return
        if PARTITION_TAG not in run.tags:
            raise PartitionMissingError(run.job_name)
        directory = HomesResource(homes_file=self.homes_file).open()
        folder = find_instance_folder(instance)
        if folder is not None:
            claim_for_homes(folder, directory)
        home = directory.open(run.tags[PARTITION_TAG])
        for launched in filter(None, (run.tags.get(HOME_TAG), self.root)):
            if home_tag(Home(Path(launched))) != home_tag(home):
                raise HomeChangedError(run.tags[PARTITION_TAG], launched, home_tag(home))
        self._opened = home

    def open(self) -> Home:
        """Returns the home of the run.

        Raises:
            PartitionMissingError: this is no run of a partition.
        """
        if self._opened is None:
            raise PartitionMissingError("the definitions for many homes")
        return self._opened
