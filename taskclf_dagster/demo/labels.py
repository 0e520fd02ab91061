"""The label spans that a person gives to a day."""

from datetime import date

import numpy as np

from taskclf_dagster.demo.columns import Columns
from taskclf_dagster.demo.habits import AWAY, BREAK, CONFUSED_WITH
from taskclf_dagster.demo.people import Person
from taskclf_dagster.demo.timeline import Blocks
from taskclf_dagster.domain.data.feature_schema import LABELS

PROVENANCE = "manual:demo"


def label_day(person: Person, blocks: Blocks, day: date, rng: np.random.Generator) -> Columns:
    """Returns the person's label spans: most blocks, with some wrong labels and some edges off by a minute or two."""
    n, start, length, task = len(blocks), blocks.start, blocks.length, blocks.task
    works = task != BREAK  # the lock screen makes breaks plain to see
    labeled = (task != AWAY) & (length >= 5) & (rng.random(n) < np.where(works, 0.74, 0.9))
    free_before, free_after = ~np.append(False, labeled[:-1]), ~np.append(labeled[1:], False)
    begin, end = start * 60, (start + length) * 60
    for edge, outward, free in ((begin, -1, free_before), (end, 1, free_after)):
        sign = np.where(free & (rng.random(n) < 0.5), outward, -outward)
        edge += np.where(works & (rng.random(n) < 0.12), sign * 60 * rng.integers(1, 3, n), 0)
        edge -= np.where(rng.random(n) < 0.25, outward * rng.integers(1, 59, n), 0)
    hasty = (length <= 15) & (rng.random(n) < 0.06)  # short blocks are labelled with less care
    label = np.where(hasty, CONFUSED_WITH[task], task)
    chosen = labeled & (end - begin >= 300)
    midnight = np.datetime64(day, "us")
    count = int(chosen.sum())
    return {
        "start_ts": midnight + begin[chosen].astype("timedelta64[s]"),
        "end_ts": midnight + end[chosen].astype("timedelta64[s]"),
        "label": np.array(LABELS, dtype=object)[label[chosen]],
        "provenance": [PROVENANCE] * count,
        "user_id": [person.user_id] * count,
        "confidence": rng.beta(9, 2, n)[chosen].round(2),
        "extend_forward": [False] * count,
    }
