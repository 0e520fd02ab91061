"""The resources that a run is given: the taskclf home, the settings of the run, and the clock. Dagster concept: resources.

Add a resource here when assets, sensors or jobs need a value from outside. Computing belongs to `domain`, limits of a run to
`run_supervisor`. With `event_sinks` and `signing_keys` this is the only module that reads the environment. Definitions load anywhere,
because a resource reads nothing when it is constructed.
"""

from datetime import UTC, datetime

import dagster as dg
from pydantic import Field, PrivateAttr

from taskclf_dagster.config.loading import resolve_config, resolve_signing
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.config.signing_settings import SigningSettings
from taskclf_dagster.entry_paths import require_absolute
from taskclf_dagster.errors import AsOfError
from taskclf_dagster.home import Home, default_home

EARLIEST_YEAR, LATEST_YEAR = 1990, 9000  # room for any look-back on either side


class HomeResource(dg.ConfigurableResource[None]):
    """The taskclf home."""

    root: str | None = Field(
        default=None,
        description="Absolute path of the taskclf home's folder; default: TASKCLF_HOME, else where taskclf keeps its data.",
    )

    def open(self) -> Home:
        """Returns the home, even if its folder does not exist.

        Raises:
            PathError: the path is relative.
        """
        return Home(require_absolute(self.root, "home.root")) if self.root else Home(default_home())


class ClockResource(dg.ConfigurableResource[None]):
    """The present time: the default of `as_of`, and the date of pointer changes."""

    fixed: str | None = Field(default=None, description="An ISO time to return always; default: the clock of the machine.")

    def now(self) -> datetime:
        """Returns the present time, with a time zone."""
        return datetime.now(UTC) if self.fixed is None else parse_as_of(self.fixed)


class RunSettingsResource(dg.ConfigurableResource[None]):
    """The settings of a single run, with the fields of the launch form of the job `retrain`, and the configuration that it chooses.

    The configuration is loaded once a run, by whatever asks for it first, the supervisor where there is one; a file that is edited in the
    middle of a run changes nothing. Ticks of schedules and sensors, and functions called without a run, read the present files.
    """

    force: bool = False
    dry_run: bool = False
    as_of: str | None = None
    holdout_user_fraction: float = Field(default=0.0, ge=0, lt=1)
    config_path: str | None = None
    bootstrap: bool = False
    _is_in_run: bool = PrivateAttr(default=False)
    _config: RetrainConfig | None = PrivateAttr(default=None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Notes if this is a run, whose configuration is kept. Nothing is loaded yet, so that a tick can skip with what is wrong."""
        self._is_in_run = context.run is not None

    def load_config(self, home: Home | None) -> RetrainConfig:
        """Returns the configuration of the run; outside a run reads it: configs/retrain.yaml, overridden by the home's and by config_path.

        Without a config_path, the file that TASKCLF_DAGSTER_CONFIG names overrides; without a home, no home does.

        Raises:
            PathError: config_path is relative.
            SettingsError: the configuration is not valid.
        """
        if self._config is not None:
            return self._config
        config = resolve_config(self._chosen, home)
        if self._is_in_run:
            self._config = config
        return config

    def load_signing(self) -> SigningSettings:
        """Reads only the signing settings, so that an invalid value elsewhere cannot stop a rollback or a repair.

        Raises:
            PathError: config_path is relative.
            SettingsError: a file cannot be read, or a signing key is invalid.
        """
        return resolve_signing(self._chosen)

    @property
    def _chosen(self) -> str | None:
        return str(require_absolute(self.config_path, "config_path")) if self.config_path else None

    def resolve_as_of(self, clock: ClockResource) -> datetime:
        """Returns the as-of time of the run; by default the present second.

        Raises:
            AsOfError: as_of is not an ISO date or time.
        """
        return parse_as_of(self.as_of) if self.as_of else clock.now().replace(microsecond=0)


def parse_as_of(value: str) -> datetime:
    """Parses an ISO date or time. A date is its first moment; a time without an offset is in UTC.

    Raises:
        AsOfError: the value is neither, or its year is not between 1990 and 9000.
    """
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise AsOfError(value) from error
    if not EARLIEST_YEAR <= moment.year <= LATEST_YEAR:
        raise AsOfError(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
