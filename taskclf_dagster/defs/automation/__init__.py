"""Schedules, sensors and freshness policies: what launches a retrain by itself.

Not here: deciding if one is due (`domain.scheduling`).
May import: `resources`, `runs`, `domain`.
"""
