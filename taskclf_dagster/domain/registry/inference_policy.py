"""Reads and builds `inference_policy.json`, which taskclf's inference reads before the pointer."""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.storage.json_files import MAX_INNER_DEPTH, JsonFile, look_at_json
from taskclf_dagster.home import Home

INFERENCE_POLICY_VERSION = "v1"


DEFAULT_REJECT_THRESHOLD = 0.55
"""The threshold that taskclf applies where there is no policy, whatever the bundle says."""


MAX_POLICY_BYTES = 8 * 1024 * 1024
"""Thresholds of 100,000 users."""


_PLACEHOLDER = re.compile(r"<[^<>/]*>")
"""A part of a path that a person is to replace, as in `models/<run_id>` of taskclf's starter template."""


@dataclass(frozen=True)
class PolicyFile:
    """models/inference_policy.json as found in one read."""

    file: JsonFile

    @property
    def digest(self) -> str | None:
        """SHA-256 of the file in hex; None if it does not exist."""
        return self.file.digest

    @property
    def exists(self) -> bool:
        return self.file.exists

    @property
    def is_readable(self) -> bool:
        """True if the file is a JSON object, or does not exist."""
        return self.file.error is None

    @property
    def document(self) -> dict[str, object] | None:
        """The policy; None if the file does not exist or cannot be read."""
        return self.file.document

    @property
    def model_dir(self) -> str | None:
        """The bundle that taskclf's inference loads, relative to the home; None if the policy names none."""
        model_dir = None if self.document is None else self.document.get("model_dir")
        return model_dir if isinstance(model_dir, str) else None

    @property
    def is_template(self) -> bool:
        """True if the file is taskclf's starter template, with a placeholder for the model: taskclf goes on without a policy."""
        return any(_PLACEHOLDER.fullmatch(part) is not None for part in (self.model_dir or "").split("/"))


def read_policy_file(home: Home) -> PolicyFile:
    """Reads models/inference_policy.json; never raises."""
    return PolicyFile(look_at_json(home.inference_policy, max_bytes=MAX_POLICY_BYTES, max_depth=MAX_INNER_DEPTH))


def read_policy(home: Home) -> dict[str, object] | None:
    """Returns the inference policy; None if it does not exist or cannot be read."""
    return read_policy_file(home).document


def reject_threshold_in_force(policy: dict[str, object] | None, model: LoadedModel) -> float:
    """Returns the threshold that taskclf applies to a model [0 to 1]: that of the policy if it names the model, else taskclf's default."""
    if policy is None or not names_model(policy, model.bundle.model_id):
        return DEFAULT_REJECT_THRESHOLD
    threshold = policy.get("reject_threshold")
    return float(threshold) if isinstance(threshold, int | float) else model.reject_threshold


def names_model(policy: dict[str, object], model_id: str) -> bool:
    """Returns True if a policy names the bundle with this id."""
    return Path(str(policy.get("model_dir"))).name == model_id


def build_policy(
    model: LoadedModel, *, at: datetime, source: str, code_version: str = "unknown", reject_threshold: float | None = None
) -> dict[str, object]:
    """Builds the policy for a model in models/, without calibrators: those belong to another model.

    Args:
        model: the model.
        at: the time that the policy states.
        source: the change that makes it.
        code_version: recorded.
        reject_threshold: None for the model's own.
    """
    metadata = model.bundle.metadata
    return {
        "policy_version": INFERENCE_POLICY_VERSION,
        "model_dir": f"models/{model.bundle.model_id}",
        "model_schema_hash": model.schema.schema_hash,
        "model_label_set": [] if metadata is None else metadata.label_set,
        "calibrator_store_dir": None,
        "calibration_method": None,
        "reject_threshold": model.reject_threshold if reject_threshold is None else reject_threshold,
        "per_user_reject_thresholds": None,
        "created_at": at.isoformat(),
        "source": source,
        "git_commit": code_version,
    }
