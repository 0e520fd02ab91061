"""Finds the time at which a model was made, after which it can have learned nothing."""

import re
from datetime import UTC, datetime, time, timedelta

from taskclf_dagster.domain.models.bundle import parse_bundle
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.home import Home

_MADE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}_[0-9]{6})_")
"""The time in the id of a model, as taskclf and this program name models."""


def find_time_made(home: Home, model_id: str) -> datetime | None:
    """Returns the time after which a model can have learned nothing; None if nobody knows."""
    match = _MADE.match(model_id)
    try:
        if match is not None:
            return datetime.strptime(match[1], "%Y-%m-%d_%H%M%S").replace(tzinfo=UTC)
    except ValueError:  # no date, such as a month 13
        pass
    folder = find_bundle(home, model_id)
    metadata = None if folder is None else parse_bundle(folder).metadata
    return None if metadata is None else datetime.combine(metadata.train_date_to + timedelta(days=1), time(), UTC)
