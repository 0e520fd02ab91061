"""The run queue of an instance that serves many homes. Dagster concept: run coordinators.

Dagster's own queue, given two things: the limits of the homes file, and for each run that enters it the home of its partition and a turn
among the homes. What a turn is belongs to `domain.scheduling.turns`. dagster.yaml names this class, so it holds for every launch route that
goes through the queue: schedules, sensors, page, API and Dagster's own pages.
"""

from collections.abc import Mapping
from contextlib import suppress

import dagster as dg

from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.config.homes_file import HomesFile, require_homes_file
from taskclf_dagster.defs.dagster_internals import QueuedRun, RunQueue, RunQueueLimits
from taskclf_dagster.defs.runs.instance_home import find_instance_folder
from taskclf_dagster.defs.runs.retrain_runs import REGISTRY_JOBS, UNFINISHED
from taskclf_dagster.defs.runs.run_tags import (
    FAILED,
    HOME_TAG,
    OUTCOME_REASON_TAG,
    OUTCOME_TAG,
    PARTITION_TAG,
    PLACE_TAG,
    REGISTRY_PLACE_TAG,
    TURN_TAG,
    home_tag,
)
from taskclf_dagster.domain.scheduling.turns import find_turn
from taskclf_dagster.domain.storage.instance_homes import find_directory
from taskclf_dagster.errors import PartitionMissingError, TaskclfDagsterError

REGISTRY_PLACES = 2
"""Runs of the registry's jobs, such as a rollback, that are admitted besides those that compute, so that they wait for no retrain."""


WAITS = (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED)


class HomeQueue(RunQueue[dg.DagsterInstance]):
    """Dagster's queue with places for each home: one run of a home computes at a time, `max_concurrent_runs` in all, in fair turns.

    Runs of the registry's jobs have REGISTRY_PLACES of their own, also in fair turns and one of a home at a time.
    """

    _limits: HomesFile | None = None

    def get_run_queue_config(self) -> RunQueueLimits:
        """Returns the limits of the present homes file; of the last valid one while it is not valid."""
        with suppress(TaskclfDagsterError):
            self._limits = self._directory.limits
        places = self._limits.max_concurrent_runs if self._limits is not None else 1
        limits = []
        for tag, number in ((PLACE_TAG, places), (REGISTRY_PLACE_TAG, REGISTRY_PLACES)):
            limits += [{"key": tag, "value": {"applyLimitPerUniqueValue": True}, "limit": 1}, {"key": tag, "limit": number}]
        return super().get_run_queue_config()._replace(max_concurrent_runs=places + REGISTRY_PLACES, tag_concurrency_limits=limits)

    def submit_run(self, context: QueuedRun) -> dg.DagsterRun:
        """Queues a run under the name of its home; a run without one, or with one that cannot be used, has failed, with the reason."""
        run = context.dagster_run
        try:
            tags = self._describe(run)
        except TaskclfDagsterError as error:
            self._instance.add_run_tags(run.run_id, {OUTCOME_TAG: FAILED, OUTCOME_REASON_TAG: str(error)})
            self._instance.report_run_failed(run, message=str(error))
            return self._instance.get_run_by_id(run.run_id) or run
        self._instance.add_run_tags(run.run_id, dict(tags))
        return super().submit_run(context)

    @property
    def _directory(self) -> HomeDirectory:
        folder = find_instance_folder(self._instance)
        found = None if folder is None else find_directory(folder)
        return found or HomeDirectory(require_homes_file())

    def _describe(self, run: dg.DagsterRun) -> Mapping[str, str]:
        """Returns the tags of a run that enters the queue.

        Raises:
            TaskclfDagsterError: it has no partition, or that is no home that can be used.
        """
        if PARTITION_TAG not in run.tags:
            raise PartitionMissingError(run.job_name)
        name = run.tags[PARTITION_TAG]
        tags = {HOME_TAG: home_tag(self._directory.open(name))}
        place = REGISTRY_PLACE_TAG if run.job_name in REGISTRY_JOBS else PLACE_TAG
        unfinished = self._instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)))
        others = [other for other in unfinished if place in other.tags and other.run_id != run.run_id]
        turn = find_turn(
            served=[_turn(other) for other in others if other.status not in WAITS],
            waiting=[_turn(other) for other in others if other.status in WAITS],
            own=[_turn(other) for other in others if other.tags[place] == name],
        )
        return {**tags, place: name, TURN_TAG: str(-turn)}


def _turn(run: dg.DagsterRun) -> int:
    return -int(run.tags.get(TURN_TAG, "0"))
