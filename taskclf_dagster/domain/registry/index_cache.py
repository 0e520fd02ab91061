"""Writes and reads `models/index.json`, which is informational: selection never reads it."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from taskclf_dagster.domain.models.bundle import ModelBundle
from taskclf_dagster.domain.registry.bundle_cache import BundleCache
from taskclf_dagster.domain.registry.pointer import POLICY_VERSION
from taskclf_dagster.domain.registry.ranking import ExclusionRecord, find_best_model, relative_path, score
from taskclf_dagster.domain.storage.files import write_json
from taskclf_dagster.domain.storage.json_files import read_json_object
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home


class IndexCacheBundleSummary(Record):
    """One ranked bundle in index.json."""

    model_id: str
    path: str
    macro_f1: float
    weighted_f1: float
    created_at: datetime
    eligible: Literal[True] = True


class IndexCache(BaseModel):
    """models/index.json: informational, selection never reads it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    generated_at: datetime
    schema_hash: str | None
    policy_version: int
    ranked: list[IndexCacheBundleSummary]
    excluded: list[ExclusionRecord]
    best_model_id: str | None


def write_index_cache(home: Home, *, at: datetime, bundles: BundleCache | None = None) -> IndexCache:
    """Writes models/index.json from the bundles found; paths are relative to the home.

    Args:
        home: the taskclf home.
        at: the time that the file states.
        bundles: those that were read already.
    """
    report = find_best_model(home.models, bundles=bundles)
    best = report.best
    index = IndexCache(
        generated_at=at,
        schema_hash=None if best is None or best.metadata is None else best.metadata.schema_hash,
        policy_version=POLICY_VERSION,
        ranked=[summarize(bundle) for bundle in report.ranked],
        excluded=report.excluded,
        best_model_id=None if best is None else best.model_id,
    )
    write_json(home.index, index.model_dump(mode="json"))
    return index


def read_index_cache(home: Home) -> IndexCache | None:
    """Reads models/index.json; None where it is missing or not usable, because nothing may depend on it."""
    try:
        return IndexCache.model_validate(read_json_object(home.index))
    except (UnreadableFileError, ValidationError):
        return None


def summarize(bundle: ModelBundle) -> IndexCacheBundleSummary:
    """Returns the entry of an eligible bundle in index.json."""
    _, macro_f1, weighted_f1, created_at = score(bundle)
    return IndexCacheBundleSummary(
        model_id=bundle.model_id, path=relative_path(bundle), macro_f1=macro_f1, weighted_f1=weighted_f1, created_at=created_at
    )
