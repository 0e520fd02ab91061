"""Delivery of events, and events about runs and pointer changes that Dagster has to be asked for."""
