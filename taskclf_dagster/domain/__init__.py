"""Retraining in plain Python: no Dagster, no clock, no environment.

One package per subject, each of which may import only packages that stand above it in docs/architecture.md. `make check` enforces it
(import-linter).
"""
