"""Lets the newest contender serve a share of batch scores, and stops that for good at the first sign of harm.

taskclf's own inference is never shared: nothing in `models/` is written here. Which windows are served is decided in `served_windows`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import pandas as pd

from taskclf_dagster.config.settings import GateThresholds, RetrainConfig
from taskclf_dagster.domain.decision.serving import ServingRecord, ServingStop, StopCause, list_serving, read_serving, write_serving
from taskclf_dagster.domain.decision.trial import TrialRecord, list_trials
from taskclf_dagster.domain.decision.trial_gate import describe_bounds
from taskclf_dagster.domain.evaluation.window_scores import LEAST_WINDOWS, ScoreQuality, score_windows
from taskclf_dagster.domain.models.bundle import LoadedModel, load_bundle
from taskclf_dagster.domain.models.bundle_files import read_bundle_files
from taskclf_dagster.domain.models.bundle_paths import require_bundle
from taskclf_dagster.domain.monitoring.contender_scores import write_beside
from taskclf_dagster.domain.monitoring.day_scores import ScoringModel, ServedElsewhere, end_of
from taskclf_dagster.domain.monitoring.score_files import CONTENDER, SERVED
from taskclf_dagster.domain.monitoring.served_windows import Assignment, find_session_starts
from taskclf_dagster.errors import BundleError, DataContractError, UnreadableFileError
from taskclf_dagster.home import Home

EARLY_SIGNIFICANCE = 0.25
"""The chance that a contender which is not worse is stopped by its labels over a whole trial; the trial itself goes on."""


@dataclass
class Sharing:
    """The contender that serves in one run; a stop holds for the days that follow.

    Attributes:
        home: the taskclf home.
        trial: its trial.
        model: the contender, with its own reject threshold.
        gates: the bounds of the share of rejected windows.
        record: what it serves.
        num_threads: of LightGBM.
    """

    home: Home
    trial: TrialRecord
    model: LoadedModel
    gates: GateThresholds
    record: ServingRecord
    num_threads: int

    def serve(self, day: date, rows: pd.DataFrame, as_of: datetime) -> ServedElsewhere:
        """Scores the windows of a UTC day with the contender, and writes them with the marks of those that it serves, unless it must stop.

        A day before the windows of the trial is left alone, and stops nothing.

        Args:
            day: the day.
            rows: its windows, as `WindowReading.frame`, with the inputs of the contender's schema version.
            as_of: the time up to which they are scored; on a day that is not over nothing is stopped because of its rejected windows.
        """
        nothing = ServedElsewhere(np.zeros(len(rows), dtype=bool), None)
        if self.record.stop is not None:
            return nothing
        if end_of(day) <= self.trial.windows_from:  # both models may have learned from it, and it serves none of it
            return nothing
        try:
            scores = score_windows(self.model, rows, num_threads=self.num_threads)
            starts = find_session_starts(self.home, self.model, rows, day, since=self.trial.windows_from)
        except BundleError as error:
            self._stop("not_usable", f"it does not predict: {error.reason}", as_of)
            return nothing
        except (DataContractError, UnreadableFileError):  # of a day before, so that nobody knows when a session began
            return nothing
        problem = _find_problem(day, ScoreQuality.of(scores), self.gates)
        if problem is not None:
            cause, reason = problem
            if cause != "reject_rate" or as_of >= end_of(day):
                self._stop(cause, reason, as_of)
            return nothing
        served = Assignment(self.record.model_id, self.record.share, self.trial.windows_from).choose(rows, starts)
        return ServedElsewhere(served, write_beside(self.home, day, self.model, CONTENDER, scores.assign(**{SERVED: served}), as_of))

    def _stop(self, cause: StopCause, reason: str, at: datetime) -> None:
        self.record = _stop(self.home, self.record, cause, reason, at)


def open_sharing(home: Home, scorer: ScoringModel, config: RetrainConfig, *, as_of: datetime, num_threads: int) -> Sharing | None:
    """Returns the contender that serves a share in this run; None if none does. What every contender serves is recorded.

    It is that of the newest trial that goes on, beside the active model, whatever became of earlier ones.

    Args:
        home: the taskclf home.
        scorer: the active model, found once.
        config: its share of user-days, and the bounds of the gate for rejected windows.
        as_of: recorded.
        num_threads: of LightGBM.
    """
    share = config.trials.challenger_share
    records, damaged = list_serving(home)
    if not share and not records:
        return None
    trials = {trial.model_id: trial for trial in list_trials(home)[0]}
    newest = next((trial for trial in trials.values() if trial.is_open), None)
    if not share or (newest is not None and newest.champion_id != scorer.model_id):
        newest = None
    _end_others(home, records, trials, newest, as_of)
    if newest is None or any(each.path.stem == newest.model_id for each in damaged):
        return None
    record = records.get(newest.model_id)
    if record is not None and record.stop is not None:
        return None
    since = as_of if record is None else record.since
    record = ServingRecord(model_id=newest.model_id, champion_id=newest.champion_id, share=share, since=since)
    early = newest.model_copy(update={"significance": EARLY_SIGNIFICANCE}).bounds
    if early.shows_worse:
        reason = f"it is probably worse: {describe_bounds(early)}, with a chance of error of {early.significance:.0%}"
        _stop(home, record, "labels", reason, as_of)
        return None
    try:
        model = load_bundle(read_bundle_files(require_bundle(home, newest.model_id)))
    except BundleError as error:
        _stop(home, record, "not_usable", f"it does not load: {error.reason}", as_of)
        return None
    if scorer.model is None or model.schema.version != scorer.model.schema.version:
        return None
    write_serving(home, record)
    return Sharing(home, newest, model, config.evaluation.gates, record, num_threads)


def list_present_serving(home: Home) -> tuple[tuple[ServingRecord, ...], list[UnreadableFileError]]:
    """Returns what the contenders on trial serve or served, stops whose event is not written yet, and the files that cannot be read."""
    records, damaged = list_serving(home)
    on_trial = {trial.model_id for trial in list_trials(home)[0] if trial.is_open} if records else set()
    shown = (each for name, each in records.items() if name in on_trial or (each.stop is not None and not each.stop.alerted))
    return tuple(shown), damaged


def _end_others(
    home: Home, records: Mapping[str, ServingRecord], trials: Mapping[str, TrialRecord], serving: TrialRecord | None, as_of: datetime
) -> None:
    """Records that contenders serve nothing any more: for good if their trial ended."""
    for record in records.values():
        trial = trials.get(record.model_id)
        if record.stop is not None or (serving is not None and record.model_id == serving.model_id):
            continue
        if trial is not None and not trial.is_open:
            _stop(home, record, "trial_over", f"its trial ended: {trial.waits_for}", as_of)
        elif record.share:
            write_serving(home, record.model_copy(update={"share": 0.0}))


def _find_problem(day: date, quality: ScoreQuality, gates: GateThresholds) -> tuple[StopCause, str] | None:
    """Returns why the contender must not serve a day; None if it may."""
    if quality.bad_probabilities:
        return "not_usable", f"its probabilities of {quality.bad_probabilities} windows of {day} are not finite or do not sum to 1"
    rate = quality.reject_rate
    if quality.windows < LEAST_WINDOWS or rate is None or gates.allows_rejecting(rate):
        return None
    return "reject_rate", f"it rejects {rate:.1%} of the {quality.windows} windows of {day}, and {gates.rejecting_allowed} are allowed"


def _stop(home: Home, record: ServingRecord, cause: StopCause, reason: str, at: datetime) -> ServingRecord:
    known = read_serving(home, record.model_id)
    if known is not None and known.stop is not None:  # another run was faster
        return known
    stopped = record.model_copy(update={"stop": ServingStop(cause=cause, stopped_at=at, reason=reason.rstrip("."))})
    write_serving(home, stopped)
    return stopped
