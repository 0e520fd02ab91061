"""Reads and builds `inference_policy.json`, which taskclf's inference reads before the pointer."""

from datetime import datetime

from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.registry.pointer import MAX_POINTER_BYTES
from taskclf_dagster.domain.storage.files import read_json_object
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home


def read_policy(home: Home) -> dict[str, object] | None:
    """inference_policy.json; None where it is missing or unreadable."""
    if not home.inference_policy.exists():
        return None
    try:
        return read_json_object(home.inference_policy, max_bytes=MAX_POINTER_BYTES)
    except UnreadableFileError:
        return None


INFERENCE_POLICY_VERSION = "v1"


def build_policy(model: LoadedModel, *, at: datetime, source: str, code_version: str = "unknown") -> dict[str, object]:
    """What taskclf's inference reads first: a model in models/ and its threshold. Calibrators belong to another model and are gone."""
    metadata = model.bundle.metadata
    return {
        "policy_version": INFERENCE_POLICY_VERSION,
        "model_dir": f"models/{model.bundle.model_id}",
        "model_schema_hash": model.schema.schema_hash,
        "model_label_set": [] if metadata is None else metadata.label_set,
        "calibrator_store_dir": None,
        "calibration_method": None,
        "reject_threshold": model.reject_threshold,
        "per_user_reject_thresholds": None,
        "created_at": at.isoformat(),
        "source": source,
        "git_commit": code_version,
    }
