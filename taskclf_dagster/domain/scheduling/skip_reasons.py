"""The reason why a trigger launches no run now: a kind for programs, a message for people."""

from typing import Literal

from taskclf_dagster.domain.storage.records import Record

SkipKind = Literal[
    "disabled",
    "error",
    "running",
    "not_due",
    "first_start",
    "few_labels",
    "labeling",
    "nothing_to_learn_from",
    "attempts_exhausted",
    "next_day",
    "no_report",
    "no_drop",
    "answered",
]


class SkipReason(Record):
    """The reason why a trigger launches no run now.

    Attributes:
        kind: `disabled`: the settings turn the trigger off. `error`: a file or setting cannot be read. `running`: a retrain is
            unfinished. `not_due`: neither cadence, labels nor age trigger a retrain. `first_start`: no retrain was ever decided.
            `few_labels`: fewer changed spans than `min_new_labels`. `labeling`: the label store changed moments ago.
            `nothing_to_learn_from`: a blocking check would end the run. `attempts_exhausted`: `max_attempts` runs for the trigger failed.
            `next_day`: a run failed less than a day ago. `no_report`: no drift report is as grave as `drift_trigger`. `no_drop`: the
            active model was not found to perform clearly worse. `answered`: a challenger was trained after the trigger, or a run
            succeeded for it.
        message: the reason in one sentence, without a full stop.
    """

    kind: SkipKind
    message: str
