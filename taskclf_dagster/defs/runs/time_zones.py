"""The time zone of cron lines. Dagster concept: schedules."""

from tzlocal import get_localzone_name

from taskclf_dagster.config.settings import ScheduleSettings


def time_zone(settings: ScheduleSettings) -> str:
    """Returns the IANA name of the time zone of the cron lines."""
    return settings.timezone or get_localzone_name() or "UTC"
