"""The record of a replay: figures of each policy on the same days."""

from datetime import date, datetime

from taskclf_dagster.domain.storage.records import Record

Interval = tuple[float, float] | None


class PolicyDay(Record):
    """One UTC day of a policy.

    Attributes:
        windows: number of windows that count.
        macro_f1: of them, over the judged labels that occur [0 to 1, higher is better]; None without any.
        interval: of it over user-days; None below two of them.
        week_macro_f1, week_interval: the same for the seven days that end with this one.
        model_id: the active model at the end of the day; None if there was none.
        model_age: days since it was trained.
    """

    day: date
    windows: int
    macro_f1: float | None
    interval: Interval
    week_macro_f1: float | None
    week_interval: Interval
    model_id: str | None
    model_age: float | None


class Promotion(Record):
    """A model that took the place of another.

    Attributes:
        windows: number of labeled windows of the next seven days that both predict.
        difference: macro-F1 of the new model minus that of the one before on them; None if no label has enough windows.
        interval: of the difference over user-days.
        bad: True if the new model is worse by more than `bad_difference`; None if the difference is.
    """

    at: datetime
    model_id: str
    replaced_id: str
    windows: int
    difference: float | None
    interval: Interval
    bad: bool | None


class ReplayedDecision(Record):
    """One retrain of a policy.

    Attributes:
        cause: of the launch.
        outcome: the verdict, or SKIP.
        reason: of the outcome.
        failed: names of the gates that fail, are inconclusive or in error.
    """

    at: datetime
    cause: str
    outcome: str
    promoted: bool
    model_id: str | None
    reason: str
    failed: list[str]


class PolicyFigures(Record):
    """One policy.

    Attributes:
        rule: by which a challenger becomes active.
        changes: keys of its configuration that differ from the present one, with their value.
        windows: number of labeled windows that its models predicted.
        macro_f1: of them [0 to 1, higher is better]; a rejected window counts as wrong. None without any.
        interval: of it over user-days.
        reject_rate: share of them that was rejected.
        compared_windows: number of windows that the reference predicted as well.
        difference: macro-F1 minus that of the reference on these; None for the reference itself, or without any.
        difference_interval: of the difference over user-days.
        promotions: those after the first model.
        first_model_at: the time from which there was a model; None if there never was.
        stale_days: number of days whose model was trained more than `max_days_since_training` days before.
        days_without_model: number of days without a model.
        blocked: number of times at which a retrain was due and there was nothing to learn from.
        fits: number of challengers that it trained.
        cpu_seconds: CPU time of its retrains, as if it had shared nothing [s].
    """

    name: str
    rule: str
    changes: dict[str, object]
    windows: int
    macro_f1: float | None
    interval: Interval
    reject_rate: float | None
    compared_windows: int
    difference: float | None
    difference_interval: Interval
    promotions: list[Promotion]
    first_model_at: datetime | None
    stale_days: int
    days_without_model: int
    blocked: int
    fits: int
    cpu_seconds: float
    days: list[PolicyDay]
    decisions: list[ReplayedDecision]

    @property
    def bad_promotions(self) -> int:
        """Number of promotions of a model that was worse by more than the bound in the next seven days."""
        return sum(promotion.bad is True for promotion in self.promotions)


class Replay(Record):
    """A replay of some policies.

    Attributes:
        first, last: the replayed time.
        labeled_windows: number of windows with a label of a person.
        user_days: number of user-days with one.
        judged_labels: labels with at least `min_class_windows` of them, over which macro-F1 is.
        confidence: of the intervals.
        bad_difference: a promotion is bad if the new model is worse by more than this.
        stale_after: age in days from which a model is stale.
        reference: the policy that the others are compared with.
        policies: in the order in which they were given.
    """

    home: str
    first: datetime
    last: datetime
    labeled_windows: int
    user_days: int
    judged_labels: list[str]
    confidence: float
    bad_difference: float
    stale_after: int
    reference: str
    policies: list[PolicyFigures]
