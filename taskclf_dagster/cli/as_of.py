"""The as-of time of a command."""

from datetime import datetime

from taskclf_dagster.defs.resources.inputs import ClockResource, RunSettingsResource


def resolve_as_of(as_of: str | None) -> datetime:
    """Returns the time that the option --as-of names, as the launch form of a job does; by default the present second.

    Raises:
        AsOfError: it is not an ISO date or time.
    """
    return RunSettingsResource(as_of=as_of).resolve_as_of(ClockResource())
