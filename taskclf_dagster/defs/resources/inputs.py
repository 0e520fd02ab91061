"""Resources: the taskclf home, the settings of a run, and the clock. With `event_sinks` the only place that looks at the environment.

A resource reads when it is asked, not when it is made, so that definitions load anywhere. Dagster concept: resources.
"""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from pydantic import Field

from taskclf_dagster.config.loading import resolve_config
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.errors import AsOfError
from taskclf_dagster.home import Home, default_home

EARLIEST_YEAR, LATEST_YEAR = 1990, 9000  # room for any look-back on either side


class HomeResource(dg.ConfigurableResource[None]):
    """Where the taskclf home is."""

    root: str | None = Field(
        default=None, description="Folder of the taskclf home; default: TASKCLF_HOME, else where taskclf keeps its data."
    )

    def open(self) -> Home:
        """The home, whether or not the folder exists."""
        return Home(Path(self.root).expanduser().absolute()) if self.root else Home(default_home())


class ClockResource(dg.ConfigurableResource[None]):
    """The time. It enters a run once, as the default of as_of; and it dates the changes of the pointer."""

    fixed: str | None = Field(default=None, description="ISO time to stand still at; default: the machine's clock.")

    def now(self) -> datetime:
        """The present time with a time zone."""
        return datetime.now(UTC) if self.fixed is None else parse_as_of(self.fixed)


class RunSettingsResource(dg.ConfigurableResource[None]):
    """What a single run may change. The launch form of the job `retrain` shows the same fields."""

    force: bool = False
    dry_run: bool = False
    as_of: str | None = None
    holdout_user_fraction: float = Field(default=0.0, ge=0, lt=1)
    config_path: str | None = None
    bootstrap: bool = False

    def load_config(self) -> RetrainConfig:
        """The retrain configuration: config_path, else TASKCLF_DAGSTER_CONFIG, laid over configs/retrain.yaml."""
        return resolve_config(self.config_path)

    def resolve_as_of(self, clock: ClockResource) -> datetime:
        """The as-of time of a run; without one, the present second."""
        return parse_as_of(self.as_of) if self.as_of else clock.now().replace(microsecond=0)


def parse_as_of(value: str) -> datetime:
    """Reads an ISO date or time; a date is its first moment, and without an offset UTC is meant.

    Raises:
        AsOfError: the value is neither.
    """
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise AsOfError(value) from error
    if not EARLIEST_YEAR <= moment.year <= LATEST_YEAR:
        raise AsOfError(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
