"""Runs in Dagster's storage: retrains and their tags, reasons of failures, worker processes, and the watchdog.

Not here: when a run is launched (`automation`).
May import: `dagster_internals`, `domain`.
"""
