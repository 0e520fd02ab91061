"""Retraining in plain Python: no Dagster, no clock, no environment.

One package per subject, each of which may import only those above it in this list: `storage`, `events`, `data`, `models`, `evaluation`,
`decision`, `registry`, and then `scheduling` and `retraining`, which do not import each other. `make check` enforces it (import-linter).
"""
