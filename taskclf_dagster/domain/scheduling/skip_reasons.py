"""The reason why a trigger launches no run now: a kind for programs, a message for people."""

from typing import Literal

from taskclf_dagster.domain.storage.records import Record

SkipKind = Literal["few_labels", "labeling", "attempts_exhausted", "next_day", "answered"]


class SkipReason(Record):
    """The reason why a trigger launches no run now.

    Attributes:
        kind: `few_labels`: fewer changed spans than `min_new_labels`. `labeling`: the label store changed moments ago.
            `attempts_exhausted`: `max_attempts` runs for the trigger failed. `next_day`: a run failed less than a day ago.
            `answered`: a challenger was trained after the trigger.
        message: the reason in one sentence, without a full stop.
    """

    kind: SkipKind
    message: str
