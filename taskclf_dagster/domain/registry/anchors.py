"""Finds the anchor models: models that were active lately, so that a slow decline in tolerated steps is stopped.

They are evaluated in `retraining.reports` and compared in `evaluation.comparison`.
"""

from datetime import datetime, timedelta

from taskclf_dagster.domain.registry.history import History

ANCHOR_DAYS = 60


ANCHOR_MODELS = 5


def find_anchors(history: History, *, as_of: datetime) -> list[tuple[str, datetime]]:
    """Returns model id and time of the newest five models that became active in the 60 days before, the newest first.

    A model that a rollback left is not an anchor.
    """
    since = as_of - timedelta(days=ANCHOR_DAYS)
    anchors: dict[str, datetime] = {}
    for entry in reversed(history.moves):
        at = entry.at if entry.at.tzinfo else entry.at.replace(tzinfo=as_of.tzinfo)
        if entry.action == "calibrate":
            continue  # the model was active before
        if entry.new is not None and at >= since and entry.new.name not in history.blocked:
            anchors.setdefault(entry.new.name, at)
    return list(anchors.items())[:ANCHOR_MODELS]
