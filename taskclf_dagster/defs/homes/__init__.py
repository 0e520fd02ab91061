"""Schedules and sensors where one deployment serves many homes: each tick goes round all of them.

Not here: what is due in one home (`automation`, `events`).
May import: `automation`, `events`, `jobs`, `resources`, `runs`, `domain`.
"""
