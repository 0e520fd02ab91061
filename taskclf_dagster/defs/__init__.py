"""Everything that Dagster loads: assets, checks, jobs, resources, runs, automation, events, display.

Not here: logic (`domain`).
May import: `domain`, `config`.
"""
