"""Runs in Dagster's storage: which are retrains, why one failed, and whether the process of a run is alive."""
