"""What the Dagster instance knows of retrains: their runs, by home, and the tags that tell what a run was about.

Reads the instance's storage; nothing is launched or decided here. A retrain is a run of the job `retrain`, or of Dagster's implicit job
("Materialize all") that goes from labels to a decision; any run of either occupies the place of a retrain while it lasts.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import dagster as dg

from taskclf_dagster.home import Home

RETRAIN = "retrain"


REGISTRY_JOBS = frozenset({"rollback", "approve", "prune", "verify_registry"})


IMPLICIT_JOB = "__ASSET_JOB"


WHOLE_GRAPH = frozenset({"labeled_windows", "promotion_decision"})
"""A run of the implicit job that has these is a retrain, whatever else it has."""


HOME_TAG = "taskclf/home"


CAUSE_TAG = "taskclf/cause"


REASON_TAG = "taskclf/reason"
"""Why a run was launched, in words."""


EXCLUSIVE_TAG = "taskclf/exclusive"
"""The run queue lets one run with this tag through at a time (dagster.yaml)."""


OUTCOME_TAG = "taskclf/outcome"


OUTCOME_REASON_TAG = "taskclf/outcome_reason"


MODEL_TAG = "taskclf/model"


DECISION_TAG = "taskclf/decision"


TRIGGER_TAG = "taskclf/demand"
"""What a run answers: the content of a label store, or of a drift report."""


ATTEMPT_TAG = "taskclf/attempt"


RETRY_OF_TAG = "taskclf/retry_of"


RETRY_TAG = "taskclf/retry"


FAILURE_TAG = "taskclf/failure"
"""Why a run was ended from outside."""


WORKER_TAG = "taskclf/worker"
"""Host, process and its start: whether that process still lives is what tells a slow run from a dead one."""


UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


_PAGE = 100


BY_HAND = "by hand"


COMMAND_LINE = "command line"
"""Causes of runs that nothing of ours launched by itself."""


State = Literal["queued", "running", "completed", "skipped", "failed"]


@dataclass(frozen=True)
class RetrainRun:
    """A run of the job `retrain`, or of the implicit job.

    Attributes:
        run: as Dagster stores it.
        created: when it was asked for.
        started: when its process began; None before that.
        finished: when it ended; None before that.
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
        return self.run.tags

    @property
    def state(self) -> State:
        """Queued, running, or how it ended: a canceled run failed, one that found nothing new was skipped."""
        if self.run.status in UNFINISHED:
            return "running" if self.run.status in (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING) else "queued"
        if self.run.status != dg.DagsterRunStatus.SUCCESS:
            return "failed"
        return "skipped" if self.tags.get(OUTCOME_TAG) == "SKIP" else "completed"

    @property
    def form(self) -> dict[str, Any] | None:
        """The launch form of the job `retrain` that says what this run was told; None where it was told more than a form can say."""
        told: Mapping[str, Any] = self.run.run_config
        if self.run.job_name == RETRAIN:
            return dict(told)
        resources = told.get("resources", {})
        if set(told) - {"resources"} or set(resources) - {"run_settings"}:
            return None
        return dict(resources.get("run_settings", {}).get("config", {}))

    @property
    def dry_run(self) -> bool:
        """Whether it was told to move nothing."""
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
    """The retrains of a home, the newest first; a run that never said which home it is about counts for every home.

    Args:
        instance: where runs are recorded.
        home: the taskclf home.
        statuses: only these; None is all.
        tags: only runs with these tags.
        updated_after: only runs that changed since.
        whole: leave out runs of the implicit job that are only a part of the graph.
    """
    for run in _iterate_runs(instance, home, statuses=statuses, tags=tags, updated_after=updated_after):
        if _is_retrain(run.run, whole=whole):
            yield run


def iterate_unfinished_runs(instance: dg.DagsterInstance, home: Home) -> Iterator[RetrainRun]:
    """Every run about a home that has not ended: retrains, parts of the graph, and the jobs of the registry."""
    for run in _iterate_runs(instance, home, statuses=UNFINISHED):
        if run.run.job_name in REGISTRY_JOBS or _is_retrain(run.run, whole=False):
            yield run


def _iterate_runs(
    instance: dg.DagsterInstance,
    home: Home,
    *,
    statuses: tuple[dg.DagsterRunStatus, ...] | None = None,
    tags: Mapping[str, str] | None = None,
    updated_after: datetime | None = None,
) -> Iterator[RetrainRun]:
    since = None if updated_after is None else updated_after.astimezone(UTC)  # Dagster would only drop the offset
    filters = dg.RunsFilter(statuses=list(statuses) if statuses else None, tags=dict(tags or {}), updated_after=since)
    cursor = None
    while True:
        records = instance.get_run_records(filters, limit=_PAGE, cursor=cursor)
        for record in records:
            run = record.dagster_run
            if run.tags.get(HOME_TAG, home_tag(home)) == home_tag(home):
                yield RetrainRun(run, _aware(record.create_timestamp), _moment(record.start_time), _moment(record.end_time))
        if len(records) < _PAGE:
            return
        cursor = records[-1].dagster_run.run_id


def find_unfinished_retrain(instance: dg.DagsterInstance, home: Home) -> RetrainRun | None:
    """The oldest run that has, or waits for, the place of a retrain; None where nothing is under way."""
    return min(iterate_retrains(instance, home, statuses=UNFINISHED, whole=False), key=lambda run: run.created, default=None)


def describe_unfinished_retrain(run: RetrainRun) -> str:
    """Why nothing else is launched now, in words."""
    since = run.started or run.created
    cause = run.tags.get(CAUSE_TAG, BY_HAND)
    return f"a retrain is {run.state} already: run {run.run_id} (cause: {cause}) since {since:%Y-%m-%d %H:%M:%S %Z}"


def home_tag(home: Home) -> str:
    """How runs name their home."""
    return str(home.root.resolve())


def _is_retrain(run: dg.DagsterRun, *, whole: bool) -> bool:
    if run.job_name == RETRAIN:
        return True
    selection = run.asset_selection
    return run.job_name == IMPLICIT_JOB and (not whole or selection is None or {key.to_user_string() for key in selection} >= WHOLE_GRAPH)


def _moment(timestamp: float | None) -> datetime | None:
    return None if timestamp is None else datetime.fromtimestamp(timestamp, UTC)


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
