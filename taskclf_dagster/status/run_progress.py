"""Reads the progress of a retrain: its steps in plain words, the rounds of training, and the time that is left by the last retrains.

Steps are in Dagster's event log, rounds in the file of `domain.scheduling.run_progress`. Any process may ask; nothing is written.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from statistics import median
from typing import NamedTuple

import dagster as dg

from taskclf_dagster.defs.dagster_internals import list_planned_steps
from taskclf_dagster.defs.runs.retrain_runs import RetrainRun, iterate_retrains
from taskclf_dagster.defs.runs.run_tags import OUTCOME_TAG, SKIPPED
from taskclf_dagster.domain.scheduling.run_progress import read_run_progress
from taskclf_dagster.home import Home
from taskclf_dagster.status.records import Progress

MAX_LOG_EVENTS = 200


LAST_RUNS = 5
"""Number of retrains whose times count."""


PACE_BOUNDS = (0.5, 4.0)
"""The time of this retrain as a multiple of that of the last ones, by its steps so far, is taken to be within these bounds."""


LEAST_SHARE = 0.1
"""A step that takes longer than it used to is taken to need this share of its time still."""


STEP_TITLES = {
    "labeled_windows": "reading windows and labels",
    "dataset_snapshot": "making the dataset",
    "challenger_model": "training the new model",
    "challenger_report": "testing the new model",
    "champion_report": "testing the running model",
    "promotion_decision": "comparing both and deciding",
    "active_pointer": "carrying out the decision",
}


CHECK_TITLE = "checking what was made"
"""The title of every other step, which are checks."""


WAITS, STARTS, ENDS = "waiting in the queue", "starting", "finishing"


class StepTimes(NamedTuple):
    """Times of the last retrains of a home that trained a model.

    Attributes:
        by_step: median time of each step [s].
        whole: median time from the start to the end [s]; None without one.
    """

    by_step: Mapping[str, float]
    whole: float | None


class StepTimesReader:
    """Reads the times of the last retrains; those of each ended run are read once."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, float]] = {}

    def read(self, instance: dg.DagsterInstance, home: Home) -> StepTimes:
        """Returns the times of the last LAST_RUNS retrains that ended with a decision."""
        ended = iterate_retrains(instance, home, statuses=(dg.DagsterRunStatus.SUCCESS,))
        runs = list(islice((run for run in ended if run.tags.get(OUTCOME_TAG) != SKIPPED), LAST_RUNS))
        self._known = {run.run_id: self._known.get(run.run_id) or _read_times(instance, run.run_id) for run in runs}
        steps = {step for times in self._known.values() for step in times}
        by_step = {step: median(times[step] for times in self._known.values() if step in times) for step in steps}
        trained = [run for run in runs if "challenger_model" in self._known[run.run_id]]
        whole = [(run.finished - run.began).total_seconds() for run in trained if run.finished is not None]
        return StepTimes(by_step, median(whole) if whole else None)


def read_progress(instance: dg.DagsterInstance, home: Home, run: RetrainRun, *, now: datetime, times: StepTimes) -> Progress:
    """Returns the progress of a run.

    Args:
        instance: the Dagster instance.
        home: the taskclf home.
        run: the unfinished run.
        now: the present time.
        times: those of the last retrains, from which the time that is left is estimated.
    """
    begun = [step for step in instance.get_run_step_stats(run.run_id) if step.start_time is not None]
    executing = [step for step in begun if step.end_time is None]
    records = instance.get_records_for_run(run.run_id, limit=MAX_LOG_EVENTS, ascending=False).records
    planned = list_planned_steps(instance, run.run)
    step = executing[-1].step_key if executing else None
    rounds = None if step is None else read_run_progress(home, run.run_id)
    ended = {each.step_key: each.end_time - each.start_time for each in begun if each.end_time is not None and each.start_time is not None}
    elapsed = {each.step_key: now.timestamp() - each.start_time for each in executing if each.start_time is not None}
    return Progress(
        run_id=run.run_id,
        since=run.began,
        steps_done=len(ended),
        steps=len(begun) if planned is None else len(planned),
        step=step,
        step_title=_say_step(run, step, is_over=planned is not None and len(ended) == len(planned)),
        message=next((record.event_log_entry.user_message for record in records if not record.event_log_entry.is_dagster_event), None),
        round=None if rounds is None else rounds.done,
        rounds=None if rounds is None else rounds.total,
        seconds_elapsed=max(0.0, (now - run.began).total_seconds()),
        seconds_left=estimate_seconds_left(list(times.by_step) if planned is None else planned, ended, elapsed, times.by_step),
    )


def estimate_seconds_left(
    planned: Sequence[str], ended: Mapping[str, float], executing: Mapping[str, float], medians: Mapping[str, float]
) -> float | None:
    """Returns the time that a run still needs [s], by the median times of its steps; None if none of those left has one.

    The medians are multiplied by the pace of the run: how long its ended steps took beside their medians, within PACE_BOUNDS.

    Args:
        planned: the steps of the run.
        ended: time of each step that has ended [s].
        executing: time so far of each step that runs [s].
        medians: by step [s].
    """
    left = [step for step in planned if step not in ended and step in medians]
    if not left:
        return None
    expected = sum(medians[step] for step in ended if step in medians)
    taken = sum(seconds for step, seconds in ended.items() if step in medians)
    pace = min(max(taken / expected, PACE_BOUNDS[0]), PACE_BOUNDS[1]) if expected >= 1.0 else 1.0
    return sum(max(pace * medians[step] - executing.get(step, 0.0), LEAST_SHARE * pace * medians[step]) for step in left)


def title_of(step: str) -> str:
    """Returns what a step does, in plain words."""
    return STEP_TITLES.get(step, CHECK_TITLE)


def _say_step(run: RetrainRun, step: str | None, *, is_over: bool) -> str:
    if step is not None:
        return title_of(step)
    if run.state == "queued":
        return WAITS
    return ENDS if is_over else STARTS


def _read_times(instance: dg.DagsterInstance, run_id: str) -> dict[str, float]:
    return {
        step.step_key: step.end_time - step.start_time
        for step in instance.get_run_step_stats(run_id)
        if step.start_time is not None and step.end_time is not None
    }
