"""Schedules, sensors and freshness policies."""
