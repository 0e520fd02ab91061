"""Figures of a replayed policy: how well its models would have predicted, what its promotions were worth, and what it cost."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.config.yaml_files import flatten
from taskclf_dagster.domain.backtest.labeled_history import LabeledHistory
from taskclf_dagster.domain.backtest.policy_replay import PolicyRun, ReplayedRun, ServedModel
from taskclf_dagster.domain.backtest.replay_record import Interval, PolicyDay, PolicyFigures, Promotion, ReplayedDecision
from taskclf_dagster.domain.backtest.served_predictions import NOT_PREDICTED, ServedPredictions, Succession
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.snapshot_rows import label_codes
from taskclf_dagster.domain.data.times import DAY_US, epoch_us
from taskclf_dagster.domain.evaluation.block_counts import UserDays, sum_blocks
from taskclf_dagster.domain.evaluation.confusion import REJECTED
from taskclf_dagster.domain.evaluation.significance import closed_form, student_bound

BAD_DIFFERENCE = 0.03
"""A promotion is bad if the new model is worse than the one before by more than this in macro-F1."""


WEEK = 7


_Int = npt.NDArray[np.int64]


class Spread(NamedTuple):
    """A figure and its interval over user-days; None where they are undefined."""

    value: float | None
    interval: Interval


class Truth:
    """The labeled windows of a replay, and the labels that are judged.

    Args:
        history: the windows.
        config: the present configuration.
    """

    def __init__(self, history: LabeledHistory, config: RetrainConfig) -> None:
        self.rows, self._config = history.rows, config
        self.true = label_codes(history.rows).astype(np.int64)
        self.day = epoch_us(history.rows["bucket_start_ts"]) // DAY_US
        self.judged = self._find_judged(self.true)

    @property
    def user_days(self) -> int:
        """Number of user-days with a labeled window."""
        return len(self._count(np.arange(len(self.true)), self.true, self.true).counts)

    @property
    def judged_labels(self) -> list[str]:
        return [LABELS[label] for label in self.judged]

    def score(self, rows: _Int, predicted: _Int) -> Spread:
        """Returns macro-F1 of predictions of some windows: its distance from one that is always right."""
        spread = self.compare(rows, predicted, self.true[rows], self.judged)
        low_high = None if spread.interval is None else (max(0.0, 1 + spread.interval[0]), min(1.0, 1 + spread.interval[1]))
        return Spread(None if spread.value is None else 1 + spread.value, low_high)

    def compare(self, rows: _Int, ours: _Int, theirs: _Int, judged: Sequence[int]) -> Spread:
        """Returns macro-F1 of predictions of some windows minus that of others of the same windows."""
        if not len(rows) or not judged:
            return Spread(None, None)
        days = self._count(rows, ours, theirs).counts
        difference, error = closed_form(days.take_labels(judged))
        if difference is None or error is None:
            return Spread(difference, None)
        half = student_bound(error, len(days), 1 - self._config.comparison.significance / 2)
        return Spread(difference, (difference - half, difference + half))

    def judge_succession(self, found: Succession) -> Promotion:
        """Returns a promotion with the difference between the new model and the one before, over the labels that can be judged."""
        spread = self.compare(found.rows, found.ours, found.theirs, self._find_judged(self.true[found.rows]))
        return Promotion(
            at=found.at,
            model_id=found.model_id,
            replaced_id=found.replaced_id,
            windows=len(found.rows),
            difference=spread.value,
            interval=spread.interval,
            bad=None if spread.value is None else spread.value < -BAD_DIFFERENCE,
        )

    def _find_judged(self, true: _Int) -> list[int]:
        enough = np.bincount(true, minlength=len(LABELS)) >= self._config.evaluation.min_class_windows
        return [int(label) for label in np.flatnonzero(enough)]

    def _count(self, rows: _Int, ours: _Int, theirs: _Int) -> UserDays:
        some = self.rows.iloc[rows]
        users = some["user_id"].cat.remove_unused_categories()
        return sum_blocks(users, some["bucket_start_ts"], self.true[rows], ours, theirs).by_user_day()


def summarize_policy(
    run: PolicyRun,
    predictions: ServedPredictions,
    truth: Truth,
    *,
    present: RetrainConfig,
    reference: ServedPredictions | None,
    first: datetime,
    last: datetime,
) -> PolicyFigures:
    """Returns the figures of a policy.

    Args:
        run: its replay.
        predictions: of its models.
        truth: the labeled windows.
        present: the present configuration, by which a model is stale and changes are listed.
        reference: the predictions of the policy to compare with; None for that policy itself.
        first: start of the replay.
        last: its end.
    """
    predicted = predictions.predicted
    rows = np.flatnonzero(predicted != NOT_PREDICTED)
    own, difference = truth.score(rows, predicted[rows]), Spread(None, None)
    both = rows if reference is None else rows[reference.predicted[rows] != NOT_PREDICTED]
    if reference is not None:
        difference = truth.compare(both, predicted[both], reference.predicted[both], truth.judged)
    days = [_describe_day(number, run.served, predicted, truth, last) for number in _list_days(first, last)]
    stale = present.scheduling.max_days_since_training
    return PolicyFigures(
        name=run.policy.name,
        rule=run.policy.rule,
        changes=_list_changes(run, present),
        windows=len(rows),
        macro_f1=own.value,
        interval=own.interval,
        reject_rate=float((predicted[rows] == REJECTED).mean()) if len(rows) else None,
        compared_windows=len(both),
        difference=difference.value,
        difference_interval=difference.interval,
        promotions=[truth.judge_succession(each) for each in predictions.successions],
        first_model_at=run.served[0].since if run.served else None,
        stale_days=sum(day.model_age is not None and day.model_age > stale for day in days),
        days_without_model=sum(day.model_id is None for day in days),
        blocked=run.blocked,
        fits=sum(each.outcome.challenger is not None for each in run.runs),
        cpu_seconds=round(sum(each.outcome.cpu_seconds for each in run.runs), 1),
        days=days,
        decisions=[_describe_run(each) for each in run.runs],
    )


def _list_days(first: datetime, last: datetime) -> range:
    """Returns the UTC days of the replay, in days since 1970; a last day that has only begun at midnight is none."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return range((first - epoch).days, (last - epoch - timedelta(microseconds=1)).days + 1)


def _describe_day(number: int, served: Sequence[ServedModel], predicted: _Int, truth: Truth, last: datetime) -> PolicyDay:
    begin = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=number)
    end = min(begin + timedelta(days=1), last)
    known = predicted != NOT_PREDICTED
    today = np.flatnonzero(known & (truth.day == number))
    week = np.flatnonzero(known & (truth.day <= number) & (truth.day > number - WEEK))
    of_day, of_week = truth.score(today, predicted[today]), truth.score(week, predicted[week])
    active = next((each for each in reversed(served) if each.since <= end), None)
    return PolicyDay(
        day=begin.date(),
        windows=len(today),
        macro_f1=of_day.value,
        interval=of_day.interval,
        week_macro_f1=of_week.value,
        week_interval=of_week.interval,
        model_id=None if active is None else active.model.bundle.model_id,
        model_age=None if active is None else (end - active.since) / timedelta(days=1),
    )


def _describe_run(run: ReplayedRun) -> ReplayedDecision:
    outcome = run.outcome
    gates = [] if outcome.decision is None else outcome.decision.gates
    return ReplayedDecision(
        at=run.at,
        cause=run.cause,
        outcome=outcome.outcome,
        promoted=outcome.promoted,
        model_id=None if outcome.challenger is None else outcome.challenger.model_id,
        reason=outcome.reason,
        failed=[gate.name for gate in gates if gate.status not in ("PASS", "NOT_APPLICABLE")],
    )


def _list_changes(run: PolicyRun, present: RetrainConfig) -> dict[str, object]:
    """Returns the keys that differ from the present configuration, but those that every replay changes."""
    then, now = dict(flatten(present.document)), dict(flatten(run.policy.config.document))
    same = {"auto_promote", "prove_reproducible"}
    return {key: value for key, value in now.items() if then.get(key) != value and key not in same}
