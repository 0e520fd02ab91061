"""What all seven assets share: group, pool, owner, and the wrapper that turns a record into a result. Dagster concept: assets.

They also all ask for the resource `supervisor`, without using it: it lets one retrain of a home run at a time and ends it in time.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import dagster as dg

from taskclf_dagster.domain.storage.records import Record

GROUP = "retrain"
POOL = "retrain"
OWNERS = ["team:taskclf"]

_Record = TypeVar("_Record", bound=Record)


def materialized(
    record: _Record, *, metadata: Mapping[str, Any], check_results: Sequence[dg.AssetCheckResult] = ()
) -> "dg.MaterializeResult[_Record]":
    """The result of an asset: its record, described, with the record's hash as data version."""
    return dg.MaterializeResult(
        value=record,
        metadata=dict(metadata),
        check_results=list(check_results),
        data_version=dg.DataVersion(record.record_hash),
    )
