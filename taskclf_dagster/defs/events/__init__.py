"""The sensor that delivers events, and events about runs and pointer changes, derived from Dagster's records."""
