"""Model bundles: the folder that taskclf loads (contract, section 7), parsed, verified and loaded for prediction.

Writing them belongs to `bundle_writer`, and which bundle is the champion to `registry`.
"""

import csv
import hashlib
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
from taskclf_dagster.domain.execution.training_recipe import TrainingRecipe
from taskclf_dagster.domain.models.bundle_files import (
    CONFUSION,
    ENCODERS,
    METADATA,
    METRICS,
    MODEL,
    REQUIRED,
    BundleFiles,
    has_bundle_files,
    read_bundle_files,
)
from taskclf_dagster.domain.models.bundle_problem import BundleProblem
from taskclf_dagster.domain.models.calibrator_store import CalibratorStore
from taskclf_dagster.domain.models.chosen_settings import ChosenSettings
from taskclf_dagster.domain.models.encoding import are_categories_known
from taskclf_dagster.domain.models.fitting import predict_rows
from taskclf_dagster.domain.models.manifest import find_manifest_problem
from taskclf_dagster.domain.models.model_text import check_model_text, tree_hash
from taskclf_dagster.domain.storage.json_files import has_half_character, parse_json
from taskclf_dagster.errors import BundleError, BundleErrorCode
from taskclf_dagster.validation_text import describe_validation_error

if TYPE_CHECKING:
    import lightgbm


Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Foreign(BaseModel):
    """Base of files that taskclf writes, too: unknown keys are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class BundleMetadata(_Foreign):
    """The keys of metadata.json that retraining needs."""

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
    holdout_users: list[str] = []
    refit: bool = False
    uses_older: bool = True
    chosen_settings: ChosenSettings | None = None
    recipe: TrainingRecipe | None = None

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
    """The content of metrics.json: validation split, arg-max without reject, all eight labels [0 to 1, higher is better]."""

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
    """One bundle, parsed but not loaded.

    Attributes:
        problem: the reason why the bundle cannot be used; None if it can.
        metadata: None if the bundle is invalid; so is metrics.
        encoders: the categorical vocabularies by column; empty if the bundle is invalid.
        artifact_hash: SHA-256 of model.txt; None if the bundle is invalid.
    """

    model_config = ConfigDict(frozen=True)

    model_id: str
    path: Path
    problem: BundleProblem | None
    metadata: BundleMetadata | None = None
    metrics: BundleMetrics | None = None
    encoders: dict[str, list[str]] = Field(default_factory=dict, repr=False)
    artifact_hash: str | None = None

    @property
    def valid(self) -> bool:
        """True if every required file exists and can be read; it may still be of another schema or label set."""
        return self.metadata is not None

    @property
    def created_at(self) -> datetime | None:
        """The time at which the model was made; None if the bundle is invalid."""
        return None if self.metadata is None else self.metadata.created_at

    @property
    def has_named_model(self) -> bool:
        """True if model.txt is the one that metadata.json names, or it names none."""
        return self.require().artifact_hash in (None, self.artifact_hash)

    def require(self) -> BundleMetadata:
        """Returns the metadata.

        Raises:
            BundleError: the bundle is invalid.
        """
        if self.metadata is None:
            raise bundle_error(self.path, self.problem)
        return self.metadata


@dataclass(frozen=True)
class LoadedModel:
    """A bundle ready to predict, with its own schema version, vocabularies and threshold.

    Attributes:
        reject_threshold: the confidence below which a prediction is rejected: after calibration, if there are calibrators [0 to 1].
        files: the files that it was loaded from.
        calibrators: what taskclf applies to its probabilities; None for nothing, as when a bundle is loaded by itself.
    """

    bundle: ModelBundle
    booster: "lightgbm.Booster"
    schema: FeatureSchema
    encoders: dict[str, list[str]]
    reject_threshold: float
    files: BundleFiles
    calibrators: CalibratorStore | None = None

    @property
    def tree_hash(self) -> str:
        """The hash of the trees in model.txt, not that of metadata.json."""
        return tree_hash(self.files.text(MODEL))

    def predict_rows(self, rows: pd.DataFrame, *, num_threads: int) -> npt.NDArray[np.float64]:
        """Returns the class probabilities that taskclf decides by, shape (n_rows, 8): calibrated, if there are calibrators.

        Args:
            rows: the model inputs of this model's schema, and user_id if there are calibrators; no rows need none.
            num_threads: of LightGBM.
        """
        return self.calibrate(self.predict_uncalibrated(rows, num_threads=num_threads), rows)

    def calibrate(self, probabilities: npt.NDArray[np.float64], rows: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Returns probabilities as taskclf decides by them, shape (n_rows, 8): as they are without calibrators.

        Args:
            probabilities: of this model, uncalibrated, shape (n_rows, 8).
            rows: user_id of each.
        """
        return probabilities if self.calibrators is None or rows.empty else self.calibrators.calibrate(probabilities, rows["user_id"])

    def predict_uncalibrated(self, rows: pd.DataFrame, *, num_threads: int) -> npt.NDArray[np.float64]:
        """Returns the class probabilities as the booster gives them, shape (n_rows, 8); the arguments are those of `predict_rows`."""
        return predict_rows(self.booster, rows, self.schema, self.encoders, num_threads=num_threads)

    def knows_categories(self, rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """Returns True for each row whose categories are all in this model's vocabularies, shape (n_rows,); see `are_categories_known`."""
        return are_categories_known(rows, self.schema, self.encoders)


def parse_bundle(source: Path | BundleFiles) -> ModelBundle:
    """Reads a bundle, from its folder or its files, without loading the model. Never raises: see `problem`.

    A truncated model.txt is found by the tree sizes that it states.
    """
    files = source if isinstance(source, BundleFiles) else read_bundle_files(source)
    missing = [name for name in REQUIRED if name not in files.names]
    if missing and files.folder.is_dir() and not has_bundle_files(files):
        return _invalid(files, "missing_file", "it is no model: no file of a bundle is in the folder")
    if missing:
        return _invalid(files, "missing_file", f"missing {', '.join(missing)}")
    code: BundleErrorCode = "metadata"
    name = METADATA
    try:
        metadata = BundleMetadata.model_validate(parse_json(files.content(name)))
        code, name = "metrics", METRICS
        metrics = BundleMetrics.model_validate(parse_json(files.content(name)))
        code, name = "confusion_matrix", CONFUSION
        _check_confusion_csv(files.text(name))
        code, name = "encoders", ENCODERS
        encoders = _parse_encoders(files.content(name))
        code, name = "model_text", MODEL
        check_model_text(files.text(name))
    except ValidationError as error:
        return _invalid(files, code, f"{name}: {describe_validation_error(error)}")
    except (OSError, ValueError, RecursionError) as error:
        return _invalid(files, code, f"{name}: {str(error).strip() or type(error).__name__}")
    return ModelBundle(
        model_id=files.model_id,
        path=files.folder,
        problem=None,
        metadata=metadata,
        metrics=metrics,
        encoders=encoders,
        artifact_hash=hashlib.sha256(files.content(MODEL)).hexdigest(),
    )


def find_bundle_problem(bundle: ModelBundle) -> BundleProblem | None:
    """Returns the problem of a bundle with the contract's schemas and labels, or None; an invalid bundle keeps its own problem."""
    if bundle.metadata is None:
        return bundle.problem
    known = {str(version): schema.schema_hash for version, schema in SCHEMAS.items()}
    if known.get(bundle.metadata.schema_version) != bundle.metadata.schema_hash:
        return BundleProblem(code="schema_hash", detail="schema_hash mismatch")
    if sorted(bundle.metadata.label_set) != list(LABELS):
        return BundleProblem(code="label_set", detail="label_set mismatch")
    if bundle.metadata.label_set != list(LABELS):
        detail = "label_set is not in alphabetical order, which is the order of the model's classes"
        return BundleProblem(code="label_order", detail=detail)
    return None


def load_bundle(source: Path | BundleFiles) -> LoadedModel:
    """Loads a bundle for prediction.

    Args:
        source: its folder, or its files if already read.

    Raises:
        BundleError: the bundle is invalid, incompatible, or LightGBM cannot load it as a model of its schema.
    """
    import lightgbm

    files = source if isinstance(source, BundleFiles) else read_bundle_files(source)
    bundle = parse_bundle(files)
    problem = find_bundle_problem(bundle) or find_manifest_problem(files) or _find_load_problem(bundle)
    if problem is not None:
        raise bundle_error(files.folder, problem)
    metadata, schema = bundle.require(), _schema_of(bundle)
    try:
        booster = lightgbm.Booster(model_str=files.text(MODEL))
    except (lightgbm.basic.LightGBMError, OSError, ValueError) as error:
        raise bundle_error(files.folder, BundleProblem(code="not_loadable", detail=f"LightGBM cannot load {MODEL}: {error}")) from error
    shape = booster.num_feature(), booster.num_model_per_iteration()
    if shape != (len(schema.model_inputs), len(LABELS)):
        found = f"{MODEL} has {shape[0]} inputs and {shape[1]} classes"
        detail = f"{found}, {schema.version} needs {len(schema.model_inputs)} and {len(LABELS)}"
        raise bundle_error(files.folder, BundleProblem(code="model_shape", detail=detail))
    return LoadedModel(bundle, booster, schema, bundle.encoders, metadata.reject_threshold, files)


def bundle_error(folder: Path, problem: BundleProblem | None) -> BundleError:
    """Returns the error for the problem of a bundle."""
    problem = problem or BundleProblem(code="metadata", detail="no metadata")
    return BundleError(folder, problem.code, problem.reason)


def _find_load_problem(bundle: ModelBundle) -> BundleProblem | None:
    """Returns a problem that only matters for loading: a vocabulary, or a model.txt that the metadata does not name."""
    lacking = [column for column in _schema_of(bundle).categorical if column not in bundle.encoders]
    if lacking:
        return BundleProblem(code="encoders", detail=f"{ENCODERS} lacks {', '.join(lacking)}")
    if not bundle.has_named_model:
        return BundleProblem(code="artifact_hash", detail=f"{MODEL} is not the one that {METADATA} names")
    return None


def _schema_of(bundle: ModelBundle) -> FeatureSchema:
    return next(schema for version, schema in SCHEMAS.items() if version == bundle.require().schema_version)


def _invalid(files: BundleFiles, code: BundleErrorCode, detail: str) -> ModelBundle:
    return ModelBundle(model_id=files.model_id, path=files.folder, problem=BundleProblem(code=code, detail=detail))


def _parse_encoders(content: bytes) -> dict[str, list[str]]:
    """Returns the categorical vocabularies of a bundle.

    Raises:
        ValueError: it is not a JSON object of lists of strings.
    """
    vocabularies = parse_json(content)
    if not isinstance(vocabularies, dict) or not all(_is_vocabulary(values) for values in vocabularies.values()):
        msg = "it must be an object of lists of strings"
        raise ValueError(msg)
    return vocabularies


def _is_vocabulary(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) and not has_half_character(value) for value in values)


def _check_confusion_csv(text: str) -> None:
    try:
        header, *rows = [row for row in csv.reader(StringIO(text)) if row]
        counts = [[float(value) for value in row[1:]] for row in rows]
    except (csv.Error, ValueError):
        header, rows, counts = [], [], []
    labels = header[1:]
    if not labels or labels != [row[0] for row in rows] or {len(row) for row in counts} != {len(labels)}:
        msg = "it must be a square table of counts with the labels as header and index"
        raise ValueError(msg)
