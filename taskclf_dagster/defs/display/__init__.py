"""Metadata: tables, numbers and pictures that Dagster shows with assets and checks.

Not here: anything that a decision depends on.
May import: `dagster_internals`, `domain`.
"""
