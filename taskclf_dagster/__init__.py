"""Retraining of taskclf's activity classifier as a Dagster project.

Import from the submodules; this package re-exports nothing, so that importing it costs nothing.
"""
