"""The parts that all assets share: group, pool, owner, result and tags. Dagster concept: assets.

Every asset also requires the resource `supervisor` without using it: Dagster then sets it up, and it holds the run lock and the timeout.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import dagster as dg

from taskclf_dagster.defs.display.metadata import make_result_showable, make_showable
from taskclf_dagster.domain.storage.records import Record

GROUP = "retrain"
POOL = "retrain"
OWNERS = ["team:taskclf"]
MONITORING_TAG = "monitoring"
MONITORING_TAGS = {MONITORING_TAG: ""}
"""Of the assets that watch the active model; the job `retrain` does not make them."""

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


def tag_run(context: dg.AssetExecutionContext, tags: Mapping[str, str]) -> None:
    """Adds tags to the run of a step."""
    context.instance.add_run_tags(context.run.run_id, dict(tags))
