"""Definitions for ticks of schedules and sensors."""

from functools import cache

import dagster as dg

from taskclf_dagster.definitions import build_definitions


@cache
def tick_definitions() -> dg.Definitions:
    """Those of no home in particular, made once: a tick gets home, settings and clock from its context."""
    return build_definitions()
