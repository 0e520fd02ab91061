"""Model bundles: the folder that taskclf loads (contract, section 7). Writes them whole, reads and verifies them.

Which bundle is the champion, and where a bundle may lie, is decided in `registry` and `selection`.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from taskclf_dagster.domain.data.feature_schema import LABELS, SCHEMAS, FeatureSchema
from taskclf_dagster.domain.models.encoding import encode_inputs
from taskclf_dagster.domain.models.manifest import MANIFEST, find_manifest_problem
from taskclf_dagster.domain.models.training import predict
from taskclf_dagster.domain.storage.files import file_hash
from taskclf_dagster.errors import BundleError

if TYPE_CHECKING:
    import lightgbm


MODEL, METADATA, METRICS = "model.txt", "metadata.json", "metrics.json"


CONFUSION, ENCODERS, TRAINING_ROWS = "confusion_matrix.csv", "categorical_encoders.json", "training_rows.npy"


_NOT_A_NUMBER = re.compile(r"^leaf_value=.*\b(?:nan|inf)", re.IGNORECASE | re.MULTILINE)


Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Foreign(BaseModel):
    """A file that taskclf writes too: keys we do not know are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class BundleMetadata(_Foreign):
    """metadata.json, as far as retraining needs it."""

    schema_version: str
    schema_hash: str
    label_set: list[str]
    train_date_from: date
    train_date_to: date
    dataset_hash: str
    reject_threshold: Score
    data_provenance: Literal["real", "synthetic", "mixed"]
    created_at: datetime
    artifact_hash: str | None = None
    tree_hash: str | None = None

    @field_validator("created_at")
    @classmethod
    def _naive_means_utc(cls, value: datetime) -> datetime:
        return value if value.tzinfo else value.replace(tzinfo=UTC)

    @model_validator(mode="after")
    def _dates_are_in_order(self) -> "BundleMetadata":
        if not self.train_date_from <= self.train_date_to < date(9000, 1, 1):
            msg = f"train_date_from {self.train_date_from} to train_date_to {self.train_date_to} is not a range of days"
            raise ValueError(msg)
        return self


class BundleMetrics(_Foreign):
    """metrics.json: validation split, arg-max without reject, all eight labels [0 to 1, higher is better]."""

    macro_f1: Score
    weighted_f1: Score
    confusion_matrix: list[list[Annotated[int, Field(ge=0)]]]
    label_names: list[str]

    @model_validator(mode="after")
    def _matrix_is_square(self) -> "BundleMetrics":
        n = len(self.label_names)
        if len(self.confusion_matrix) != n or any(len(row) != n for row in self.confusion_matrix):
            msg = f"confusion_matrix must be {n} x {n}, one row and column for each of label_names"
            raise ValueError(msg)
        return self


class ModelBundle(BaseModel):
    """One folder of a models directory, as found.

    Attributes:
        invalid_reason: why the bundle cannot be used at all; None where it can.
        metadata: None exactly where the bundle is invalid; so is metrics.
    """

    model_config = ConfigDict(frozen=True)

    model_id: str
    path: Path
    invalid_reason: str | None
    metadata: BundleMetadata | None = None
    metrics: BundleMetrics | None = None


@dataclass(frozen=True)
class LoadedModel:
    """A bundle ready to predict, with its own schema version, vocabularies and threshold."""

    bundle: ModelBundle
    booster: "lightgbm.Booster"
    schema: FeatureSchema
    encoders: dict[str, list[str]]
    reject_threshold: float

    def predict_rows(self, rows: pd.DataFrame, *, num_threads: int) -> npt.NDArray[np.float64]:
        """Class probabilities of shape (n_rows, 8) for rows that have the model inputs of this model's schema; no rows need none."""
        if rows.empty:
            return np.empty((0, len(LABELS)))
        return predict(self.booster, encode_inputs(rows, self.schema, self.encoders), num_threads=num_threads)


def parse_bundle(folder: Path) -> ModelBundle:
    """Reads a bundle without loading the model; never raises: what is wrong is in `invalid_reason`.

    model.txt is checked for being whole by the tree sizes it states, which a truncated file does not fulfil.
    """
    model_id = folder.name
    try:
        missing = [name for name in (MODEL, METADATA, METRICS, CONFUSION, ENCODERS) if not (folder / name).is_file()]
        if missing:
            return ModelBundle(model_id=model_id, path=folder, invalid_reason=f"invalid: missing {', '.join(missing)}")
        metadata = BundleMetadata.model_validate(json.loads((folder / METADATA).read_text(encoding="utf-8")))
        metrics = BundleMetrics.model_validate(json.loads((folder / METRICS).read_text(encoding="utf-8")))
        _check_confusion_csv(folder / CONFUSION)
        read_encoders(folder)
        check_model_text((folder / MODEL).read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "top level"
        return ModelBundle(model_id=model_id, path=folder, invalid_reason=f"invalid: {error.title}: {where}: {first['msg']}")
    except (OSError, ValueError, RecursionError) as error:
        return ModelBundle(model_id=model_id, path=folder, invalid_reason=f"invalid: {str(error).strip() or type(error).__name__}")
    return ModelBundle(model_id=model_id, path=folder, invalid_reason=None, metadata=metadata, metrics=metrics)


def incompatible_reason(bundle: ModelBundle) -> str | None:
    """Why a bundle cannot serve with the contract's schemas and labels, or None; an invalid bundle keeps its own reason."""
    if bundle.metadata is None:
        return bundle.invalid_reason
    known = {str(version): schema.schema_hash for version, schema in SCHEMAS.items()}
    if known.get(bundle.metadata.schema_version) != bundle.metadata.schema_hash:
        return "incompatible: schema_hash mismatch"
    if sorted(bundle.metadata.label_set) != list(LABELS):
        return "incompatible: label_set mismatch"
    if bundle.metadata.label_set != list(LABELS):
        return "incompatible: label_set is not in alphabetical order, which is the order of the model's classes"
    return None


def load_bundle(folder: Path) -> LoadedModel:
    """Loads a bundle for prediction.

    Raises:
        BundleError: the bundle is invalid, incompatible, or LightGBM cannot load it as a model of its schema.
    """
    import lightgbm

    bundle = parse_bundle(folder)
    problem = find_manifest_problem(folder)
    reason = incompatible_reason(bundle) or (f"invalid: {problem}" if problem else None)
    if reason is not None or bundle.metadata is None:
        raise BundleError(folder, reason or "invalid")
    schema = next(schema for version, schema in SCHEMAS.items() if version == bundle.metadata.schema_version)
    encoders = read_encoders(folder)
    lacking = [column for column in schema.categorical if column not in encoders]
    if lacking:
        raise BundleError(folder, f"invalid: {ENCODERS} lacks {', '.join(lacking)}")
    if bundle.metadata.artifact_hash not in (None, file_hash(folder / MODEL)):
        raise BundleError(folder, f"invalid: {MODEL} is not the one that {METADATA} names")
    try:
        booster = lightgbm.Booster(model_str=(folder / MODEL).read_text(encoding="utf-8"))
    except (lightgbm.basic.LightGBMError, OSError, ValueError) as error:
        raise BundleError(folder, f"invalid: LightGBM cannot load {MODEL}: {error}") from error
    if booster.num_feature() != len(schema.model_inputs) or booster.num_model_per_iteration() != len(LABELS):
        found = f"{booster.num_feature()} inputs and {booster.num_model_per_iteration()} classes"
        raise BundleError(folder, f"incompatible: {MODEL} has {found}, {schema.version} needs {len(schema.model_inputs)} and {len(LABELS)}")
    return LoadedModel(bundle, booster, schema, encoders, bundle.metadata.reject_threshold)


def bundle_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a bundle but its manifest and hidden files, which file managers leave, by name."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name != MANIFEST and not path.name.startswith(".")]
    return {path.name: file_hash(path) for path in files}


def tree_hash(model_text: str) -> str:
    """SHA-256 over the tree section of model.txt: the model itself, without the parameter block that carries num_threads."""
    begin, end = model_text.find("Tree=0"), model_text.find("end of trees")
    return hashlib.sha256(model_text[begin:end].encode()).hexdigest()


def hash_trees(model: LoadedModel) -> str:
    """The tree hash of a loaded bundle, from its model.txt and not from what metadata.json says."""
    return tree_hash((model.bundle.path / MODEL).read_text(encoding="utf-8"))


def check_model_text(text: str) -> None:
    """Checks that a LightGBM text model is whole.

    Raises:
        ValueError: it does not begin as one, its trees do not have the sizes that its header states, or a leaf is not a number.
    """
    sizes = next((line for line in text[: text.find("Tree=0")].split("\n") if line.startswith("tree_sizes=")), None)
    if not text.startswith("tree") or sizes is None:
        msg = f"{MODEL} is not a LightGBM text model"
        raise ValueError(msg)
    begin = text.find("Tree=0")
    expected = begin + sum(int(size) for size in sizes.removeprefix("tree_sizes=").split())
    if text.find("end of trees") != expected or "\nend of parameters\n" not in text[expected:]:
        msg = f"{MODEL} is truncated or damaged: its trees do not have the sizes its header states, or its parameters do not end"
        raise ValueError(msg)
    if _NOT_A_NUMBER.search(text, begin, expected):
        msg = f"{MODEL} has leaves that are not numbers, so it predicts none"
        raise ValueError(msg)


def read_encoders(folder: Path) -> dict[str, list[str]]:
    """The categorical vocabularies of a bundle.

    Raises:
        OSError: the file is missing.
        ValueError: it is not a JSON object of lists of strings.
    """
    content = json.loads((folder / ENCODERS).read_text(encoding="utf-8"))
    whole = isinstance(content, dict) and all(
        isinstance(values, list) and all(isinstance(value, str) for value in values) for values in content.values()
    )
    if not whole:
        msg = f"{ENCODERS} must be an object of lists of strings"
        raise ValueError(msg)
    return dict(content)


def _check_confusion_csv(path: Path) -> None:
    table = pd.read_csv(StringIO(path.read_text(encoding="utf-8")), index_col=0)
    numeric = all(pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes)
    if table.empty or list(table.index) != list(table.columns) or not numeric:
        msg = f"{CONFUSION} must be a square table of counts with the labels as header and index"
        raise ValueError(msg)
