"""Everything that imports dagster: assets, checks, jobs, schedules, sensors and resources. Logic belongs to `domain`."""
