"""Errors about model bundles."""

from pathlib import Path
from typing import Literal

from taskclf_dagster.errors.base import TaskclfDagsterError

BundleErrorCode = Literal[
    "missing_file",
    "metadata",
    "metrics",
    "confusion_matrix",
    "encoders",
    "model_text",
    "manifest",
    "artifact_hash",
    "not_loadable",
    "location",
    "not_found",
    "recipe",
    "predictions",
    "schema_hash",
    "label_set",
    "label_order",
    "model_shape",
]
"""The check of a bundle that failed."""


BundleErrorKind = Literal["invalid", "incompatible"]


INCOMPATIBLE_CODES: frozenset[BundleErrorCode] = frozenset({"schema_hash", "label_set", "label_order", "model_shape"})
"""The bundle is whole, but of another schema or label set."""


class BundleError(TaskclfDagsterError):
    """A model bundle is invalid, or not compatible with this version of the schema.

    Attributes:
        code: which check failed.
        kind: incompatible where the bundle is whole, but of another schema or label set; invalid otherwise.
        reason: what was found.
    """

    def __init__(self, bundle: Path, code: BundleErrorCode, reason: str) -> None:
        self.code: BundleErrorCode = code
        self.kind: BundleErrorKind = "incompatible" if code in INCOMPATIBLE_CODES else "invalid"
        self.reason = reason
        super().__init__(f"Model bundle {bundle} cannot be used: {reason}.")
