"""Reads the newest retrain of each of many homes, with few questions to the Dagster instance whatever the number of homes.

Runs that have not ended are asked for each time; ended ones once, and then those that changed since.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

import dagster as dg

from taskclf_dagster.defs.runs.retrain_runs import FINISHED, UNFINISHED, RetrainRun, iterate_retrains_of_all
from taskclf_dagster.defs.runs.run_failures import explain_failure
from taskclf_dagster.defs.runs.run_tags import HOME_TAG

MAX_ENDED = 2000
"""Largest number of ended runs that are looked at when a reader begins; a home without one of them is described by its last decision."""


OVERLAP = timedelta(minutes=5)
"""The time before the last reading from which on runs are asked for again: the clocks of two processes may differ."""


@dataclass(frozen=True)
class HomeRuns:
    """The retrains of a home.

    Attributes:
        unfinished: the oldest that has not ended; None if all have.
        ended: the newest that has; None if none is known.
    """

    unfinished: RetrainRun | None = None
    ended: RetrainRun | None = None


class RunsReader:
    """Reads the retrains of many homes again and again. Not for several threads at once."""

    def __init__(self) -> None:
        self._ended: dict[str, RetrainRun] = {}
        self._failures: dict[str, str] = {}
        self._since: datetime | None = None

    def read(self, instance: dg.DagsterInstance, now: datetime) -> dict[str, HomeRuns]:
        """Returns the retrains by the value of HOME_TAG."""
        recent = iterate_retrains_of_all(instance, statuses=FINISHED, updated_after=self._since)
        self._keep(recent if self._since is not None else islice(recent, MAX_ENDED))
        self._since = now - OVERLAP
        unfinished: dict[str, RetrainRun] = {}
        for run in iterate_retrains_of_all(instance, statuses=UNFINISHED, whole=False):  # the newest first, so that the oldest stays
            unfinished[run.tags.get(HOME_TAG, "")] = run
        return {tag: HomeRuns(unfinished.get(tag), self._ended.get(tag)) for tag in {*unfinished, *self._ended}}

    def explain(self, instance: dg.DagsterInstance, run: RetrainRun) -> str:
        """Returns why a run failed; that of a run is read once."""
        if run.run_id not in self._failures:
            self._failures[run.run_id] = explain_failure(instance, run).message
        return self._failures[run.run_id]

    def _keep(self, runs: Iterable[RetrainRun]) -> None:
        for run in runs:
            tag = run.tags.get(HOME_TAG, "")
            known = self._ended.get(tag)
            if known is None or known.created <= run.created:
                self._ended[tag] = run
        kept = {run.run_id for run in self._ended.values()}
        self._failures = {run_id: reason for run_id, reason in self._failures.items() if run_id in kept}
