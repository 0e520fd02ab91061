"""The parts that assets share: group, pool, owner, result and tags. Dagster concept: assets.

Every asset of a retrain also requires the resource `supervisor` without using it: Dagster then sets it up, and it holds the run lock and
the timeout.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import dagster as dg

from taskclf_dagster.defs.display.metadata import make_result_showable, make_showable
from taskclf_dagster.defs.resources.inputs import HomeResource
from taskclf_dagster.defs.runs.instance_home import require_own_instance
from taskclf_dagster.defs.runs.run_tags import HOME_TAG, WORKER_TAG, home_tag
from taskclf_dagster.defs.runs.worker_processes import describe_worker
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.home import Home

GROUP = "retrain"
POOL = "retrain"
OWNERS = ["team:taskclf"]
MONITORING_TAG = "monitoring"
MONITORING_TAGS = {MONITORING_TAG: ""}
"""Of the assets that watch the active model; the job `monitor` makes them, and the job `retrain` does not."""


RETRAIN_ASSETS = (
    "labeled_windows",
    "dataset_snapshot",
    "challenger_model",
    "challenger_report",
    "champion_report",
    "promotion_decision",
    "active_pointer",
)
"""The assets of a retrain, in their order. The others of the group watch the active model."""


SCORING_TAG = {"scoring": ""}


_Record = TypeVar("_Record", bound=Record)


def materialized(
    record: _Record, *, metadata: Mapping[str, Any], check_results: Sequence[dg.AssetCheckResult] = ()
) -> "dg.MaterializeResult[_Record]":
    """Returns the result of an asset: its record with metadata and check results, and the record's hash as data version.

    Every text is made safe to show here.
    """
    return dg.MaterializeResult(
        value=record,
        metadata=make_showable(metadata),
        check_results=[make_result_showable(result) for result in check_results],
        data_version=dg.DataVersion(record.record_hash),
    )


def open_watched_home(context: dg.AssetExecutionContext, home: HomeResource) -> Home:
    """Returns the home of a run without a supervisor; its tags name home and worker process, so that a dead run can be ended.

    Raises:
        HomeNotFoundError: there is no such home.
        InstanceError: the instance belongs to another home.
    """
    taskclf_home = home.open()
    taskclf_home.require()
    tag_run(context, {HOME_TAG: home_tag(taskclf_home), WORKER_TAG: describe_worker(os.getpid())})
    require_own_instance(context.instance, taskclf_home)
    return taskclf_home


def tag_run(context: dg.AssetExecutionContext, tags: Mapping[str, str]) -> None:
    """Adds tags to the run of a step."""
    context.instance.add_run_tags(context.run.run_id, dict(tags))
