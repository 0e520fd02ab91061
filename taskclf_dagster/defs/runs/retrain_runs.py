"""The retrains that a Dagster instance has stored: their runs, by home and state.

A retrain is a run of the job `retrain`, or a run of Dagster's implicit job ("Materialize all") from labels to a decision. Any run of either
holds the run lock while it lasts. Add a query of stored runs here. Nothing is launched or decided here; tags are in `run_tags`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from taskclf_dagster.defs.dagster_internals import IMPLICIT_JOB
from taskclf_dagster.defs.runs.instance_home import find_home_tags, serves_many_homes
from taskclf_dagster.defs.runs.run_tags import BY_HAND, CAUSE_TAG, HOME_TAG, OUTCOME_TAG, PARTITION_TAG, SKIPPED, RunState
from taskclf_dagster.home import Home

RETRAIN, MONITOR, SCORE, CALIBRATE, BACKTEST = "retrain", "monitor", "score", "calibrate", "backtest"


REGISTRY_JOBS = frozenset({"rollback", "approve", "prune", "verify_registry"})


SHORT_JOBS = REGISTRY_JOBS | {MONITOR, SCORE, CALIBRATE, BACKTEST}
"""Jobs that retrain nothing, whose runs carry their worker process all the same, so that a dead one can be ended."""


WHOLE_GRAPH = frozenset({"labeled_windows", "promotion_decision"})
"""A run of the implicit job with these assets is a retrain, whatever other assets it has."""


UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


_PAGE = 100


_RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


@dataclass(frozen=True)
class RetrainRun:
    """A run of the job `retrain`, or of the implicit job.

    Attributes:
        run: the run as Dagster stores it.
        created: time of the launch.
        started: time at which its process began; None before that.
        finished: time at which it ended; None before that.
    """

    run: dg.DagsterRun
    created: datetime
    started: datetime | None
    finished: datetime | None

    @property
    def run_id(self) -> str:
        return self.run.run_id

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags of the run without empty ones: a re-execution empties those that Dagster copied and that are not about it."""
        return {name: value for name, value in self.run.tags.items() if value}

    @property
    def began(self) -> datetime:
        """Start of its process; time of the launch before that."""
        return self.started or self.created

    @property
    def state(self) -> RunState:
        """The state of the run."""
        if self.run.status in UNFINISHED:
            return "running" if self.run.status in (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING) else "queued"
        if self.run.status != dg.DagsterRunStatus.SUCCESS:
            return "failed"
        return "skipped" if self.tags.get(OUTCOME_TAG) == SKIPPED else "completed"

    @property
    def form(self) -> dict[str, Any] | None:
        """The launch form of the job `retrain` with the settings of this run; None if its run configuration has more."""
        given: Mapping[str, Any] = self.run.run_config
        of_many = PARTITION_TAG in self.run.tags  # the jobs for many homes have no flat launch form
        if self.run.job_name == RETRAIN and not of_many:
            return dict(given)
        resources = given.get("resources", {})
        if set(given) - ({"resources", "loggers"} if of_many else {"resources"}) or set(resources) - {"run_settings"}:
            return None
        return dict(resources.get("run_settings", {}).get("config", {}))

    @property
    def dry_run(self) -> bool:
        """True if the run decides and changes nothing."""
        return (self.form or {}).get("dry_run") is True


def iterate_retrains(
    instance: dg.DagsterInstance,
    home: Home,
    *,
    statuses: tuple[dg.DagsterRunStatus, ...] | None = None,
    tags: Mapping[str, str] | None = None,
    updated_after: datetime | None = None,
    whole: bool = True,
) -> Iterator[RetrainRun]:
    """Yields the retrains of a home, newest first. A run without a home tag counts for every home, unless the instance serves many.

    Args:
        instance: the instance that stores the runs.
        home: the taskclf home.
        statuses: only runs with these statuses; None for all.
        tags: only runs with these tags.
        updated_after: only runs that changed since this time.
        whole: if True, leaves out runs of the implicit job that execute a part of the graph only.
    """
    for run in _iterate_runs(instance, home, statuses=statuses, tags=tags, updated_after=updated_after):
        if _is_retrain(run.run, whole=whole):
            yield run


def iterate_retrains_of_all(
    instance: dg.DagsterInstance,
    *,
    statuses: tuple[dg.DagsterRunStatus, ...],
    updated_after: datetime | None = None,
    whole: bool = True,
) -> Iterator[RetrainRun]:
    """Yields the retrains of every home of an instance, newest first.

    Args:
        instance: the instance that stores the runs.
        statuses: only runs with these statuses.
        updated_after: only runs that changed since this time.
        whole: as of `iterate_retrains`.
    """
    for run in _iterate_runs(instance, None, statuses=statuses, updated_after=updated_after):
        if _is_retrain(run.run, whole=whole):
            yield run


def iterate_unfinished_runs(instance: dg.DagsterInstance, home: Home) -> Iterator[RetrainRun]:
    """Yields every unfinished run of a home: retrains, parts of the graph, the jobs of the registry, and monitoring."""
    for run in _iterate_runs(instance, home, statuses=UNFINISHED):
        if run.run.job_name in SHORT_JOBS or _is_retrain(run.run, whole=False):
            yield run


def _iterate_runs(
    instance: dg.DagsterInstance,
    home: Home | None,
    *,
    statuses: tuple[dg.DagsterRunStatus, ...] | None = None,
    tags: Mapping[str, str] | None = None,
    updated_after: datetime | None = None,
    run_ids: list[str] | None = None,
) -> Iterator[RetrainRun]:
    since = None if updated_after is None else updated_after.astimezone(UTC)  # Dagster ignores the offset
    cursor, own = None, frozenset[str]() if home is None else find_home_tags(instance, home)
    of_home = {HOME_TAG: sorted(own)} if home is not None and serves_many_homes(instance) else {}  # else a run without the tag counts too
    wanted: dict[str, Any] = {**(tags or {}), **of_home}
    filters = dg.RunsFilter(statuses=list(statuses) if statuses else None, tags=wanted, updated_after=since, run_ids=run_ids)
    while True:
        records = instance.get_run_records(filters, limit=_PAGE, cursor=cursor)
        for record in records:
            run = record.dagster_run
            if home is None or HOME_TAG not in run.tags or run.tags[HOME_TAG] in own:
                yield RetrainRun(run, _aware(record.create_timestamp), _moment(record.start_time), _moment(record.end_time))
        if len(records) < _PAGE:
            return
        cursor = records[-1].dagster_run.run_id


def find_unfinished_retrain(instance: dg.DagsterInstance, home: Home) -> RetrainRun | None:
    """Returns the oldest run that holds the run lock or waits for it; None if every run has ended."""
    return min(iterate_retrains(instance, home, statuses=UNFINISHED, whole=False), key=lambda run: run.created, default=None)


def find_retrain(instance: dg.DagsterInstance, home: Home, run_id: str) -> RetrainRun | None:
    """Returns a retrain of a home by the id of its run; None if there is none."""
    found = find_run(instance, home, run_id)
    return found if found is not None and _is_retrain(found.run, whole=True) else None


def find_run(instance: dg.DagsterInstance, home: Home, run_id: str) -> RetrainRun | None:
    """Returns a run of any job by its id; None if there is none, or it is one of another home."""
    if not is_run_id(run_id):
        return None
    return next(_iterate_runs(instance, home, run_ids=[run_id]), None)


def is_run_id(text: str) -> bool:
    """Returns True if a text can be the id of a run."""
    return _RUN_ID.fullmatch(text) is not None


def describe_unfinished_retrain(run: RetrainRun) -> str:
    """Returns the skip reason while a retrain is unfinished."""
    since = run.began
    cause = run.tags.get(CAUSE_TAG, BY_HAND)
    return f"a retrain is {run.state} already: run {run.run_id} (cause: {cause}) since {since:%Y-%m-%d %H:%M:%S %Z}"


def _is_retrain(run: dg.DagsterRun, *, whole: bool) -> bool:
    if run.job_name == RETRAIN:
        return True
    selection = run.asset_selection
    return run.job_name == IMPLICIT_JOB and (not whole or selection is None or {key.to_user_string() for key in selection} >= WHOLE_GRAPH)


def _moment(timestamp: float | None) -> datetime | None:
    return None if timestamp is None else datetime.fromtimestamp(timestamp, UTC)


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
