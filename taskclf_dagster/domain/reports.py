"""Reports on challenger and champion, scored on the same test windows: what the gates and a person look at.

Scoring itself belongs to `evaluation`, who the champion is to `registry`.
"""

from contextlib import suppress
from datetime import date, timedelta
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.domain.baseline import BaselineScore, compare_with_baseline, fit_lookup, predict_baseline
from taskclf_dagster.domain.bundle import TRAINING_ROWS, LoadedModel, add_test_figures, bundle_hashes, load_bundle
from taskclf_dagster.domain.challenger import ChallengerModel
from taskclf_dagster.domain.champion import Champion, ChampionSource, ChampionState, resolve_active_model
from taskclf_dagster.domain.evaluation import EvaluationReport, Predictions, evaluate, save_predictions
from taskclf_dagster.domain.features import DEFAULT_USER, WINDOW_SECONDS
from taskclf_dagster.domain.files import Record
from taskclf_dagster.domain.gates import RegressionResult, check_candidate_gates
from taskclf_dagster.domain.hashing import hash_row_keys
from taskclf_dagster.domain.registry import pointer_state, require_bundle
from taskclf_dagster.domain.selection import ExclusionRecord
from taskclf_dagster.domain.snapshot import DatasetSnapshot, label_codes, read_snapshot_rows
from taskclf_dagster.domain.windows import read_windows
from taskclf_dagster.errors import BundleError, NoWindowsError, RecordsDoNotMatchError, UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster.settings import RetrainConfig

_Float = npt.NDArray[np.float64]


class ChallengerReport(Record):
    """A challenger on the test split, beside the baselines, with the verdict of every candidate gate.

    Attributes:
        failure: why it could not be scored; None where it could.
        files: SHA-256 of every file of the bundle that was scored; metadata.json has timings, so they are not part of the hash.
    """

    unhashed: ClassVar[frozenset[str]] = frozenset({"files"})

    model_id: str
    dataset_hash: str
    failure: str | None
    files: dict[str, str]
    report: EvaluationReport | None
    rule_baseline: BaselineScore | None
    lookup_baseline: BaselineScore | None
    gates: RegressionResult


class ChampionReport(Record):
    """The champion on the challenger's test windows.

    Attributes:
        state: ok, none, unreadable or incompatible.
        source: policy, pointer, last_known_good, best_by_rank or none: why this one.
        windows_without_features: test windows that the champion's own schema version does not have.
        windows_trained_on: test windows that the champion learned from.
        trained_on_evidence: how that is known: row_hashes, training_dates, or none without a champion.
        pointer_hash, policy_hash: SHA-256 of active.json and inference_policy.json when the champion was looked up.
    """

    dataset_hash: str
    pointer_hash: str | None
    policy_hash: str | None
    state: ChampionState
    source: ChampionSource
    model_id: str | None
    model_dir: str | None
    reason: str
    warnings: list[str]
    excluded: list[ExclusionRecord]
    files: dict[str, str]
    report: EvaluationReport | None
    windows_without_features: int
    windows_trained_on: int
    trained_on_evidence: str
    train_date_from: date | None
    train_date_to: date | None


def report_challenger(
    home: Home, snapshot: DatasetSnapshot, challenger: ChallengerModel, *, config: RetrainConfig, num_threads: int
) -> ChallengerReport:
    """Scores a challenger from disk on the test split and judges it by the candidate gates.

    The test figures are added to the bundle's metrics.json, as long as no decision has moved the bundle.

    Raises:
        RecordsDoNotMatchError: the challenger was trained on another dataset.
        SnapshotError: the snapshot cannot be read.
    """
    if challenger.dataset_hash != snapshot.dataset_hash:
        finding = (
            f"challenger {challenger.model_id} was trained on dataset {challenger.dataset_hash}, the snapshot is {snapshot.dataset_hash}"
        )
        raise RecordsDoNotMatchError([finding])
    path = home.root / snapshot.path
    rows = read_snapshot_rows(path, splits=("test",))
    folder, failure, report, rule, lookup = None, None, None, None, None
    try:
        folder = require_bundle(home, challenger.model_id)
        report, predictions = _score(home, load_bundle(folder), rows, snapshot, config=config, num_threads=num_threads)
        lookup_table = fit_lookup(read_snapshot_rows(path, columns=["app_id", "app_category", "label", "split"], splits=("train",)))
        rule = compare_with_baseline(predictions, predict_baseline(rows), report.judged_labels)
        lookup = compare_with_baseline(predictions, lookup_table.predict(rows), report.judged_labels)
        if folder.parent == home.challengers:
            add_test_figures(folder, _test_figures(report, snapshot))
    except BundleError as error:
        failure = str(error)
    return ChallengerReport(
        model_id=challenger.model_id,
        dataset_hash=snapshot.dataset_hash,
        failure=failure,
        files={} if folder is None else bundle_hashes(folder),
        report=report,
        rule_baseline=rule,
        lookup_baseline=lookup,
        gates=check_candidate_gates(report, failure=failure, rule=rule, lookup=lookup, config=config),
    )


def report_champion(home: Home, snapshot: DatasetSnapshot, *, config: RetrainConfig, num_threads: int) -> ChampionReport:
    """Finds the champion and scores it on the test split, with its own schema version, vocabularies and threshold."""
    found_at = pointer_state(home)
    champion = resolve_active_model(home)
    described = _describe(champion, snapshot, found_at)
    if champion.model is None:
        return described
    rows = read_snapshot_rows(home.root / snapshot.path, splits=("test",))
    own, missing = _rows_for(champion.model, home, rows, snapshot)
    try:
        report, predictions = _score(home, champion.model, own, snapshot, config=config, num_threads=num_threads)
    except BundleError as error:
        return described.model_copy(update={"state": "unreadable", "reason": error.reason})
    trained_on, evidence = _count_trained_on(champion.model, rows, predictions)
    return described.model_copy(
        update={
            "report": report,
            "windows_without_features": missing,
            "windows_trained_on": trained_on,
            "trained_on_evidence": evidence,
        }
    )


def _score(
    home: Home, model: LoadedModel, rows: pd.DataFrame, snapshot: DatasetSnapshot, *, config: RetrainConfig, num_threads: int
) -> tuple[EvaluationReport, Predictions]:
    import lightgbm

    folder = model.bundle.path
    try:
        probabilities = model.predict_rows(rows, num_threads=num_threads)
    except lightgbm.basic.LightGBMError as error:
        raise BundleError(folder, f"invalid: it does not predict: {error}") from error
    _check_probabilities(model, probabilities)
    report, predictions = evaluate(
        rows,
        label_codes(rows).astype(np.int64),
        probabilities,
        model_id=model.bundle.model_id,
        schema_version=model.schema.version,
        reject_threshold=model.reject_threshold,
        min_class_windows=config.min_class_windows,
        unseen_users=snapshot.holdout_users,
    )
    path = home.predictions / snapshot.dataset_hash / f"{model.bundle.model_id}.parquet"
    save_predictions(path, predictions)
    return report.model_copy(update={"predictions_path": str(path.relative_to(home.root))}), predictions


def _check_probabilities(model: LoadedModel, probabilities: _Float) -> None:
    bad = ~(np.isfinite(probabilities).all(axis=1) & (np.abs(probabilities.sum(axis=1) - 1) < 1e-6))
    if bad.any():
        raise BundleError(model.bundle.path, f"invalid: {int(bad.sum())} of {len(bad)} test windows get no valid probabilities")


def _rows_for(model: LoadedModel, home: Home, rows: pd.DataFrame, snapshot: DatasetSnapshot) -> tuple[pd.DataFrame, int]:
    """The test rows with the inputs of the model's own schema version, and how many of them it does not have.

    Features of another version come from that version's own partitions, matched by user and time (v2 rows have one implicit user: by
    time, and only where the snapshot has one user).
    """
    if model.schema.version == snapshot.schema_version or rows.empty:
        return rows, 0
    starts = rows["bucket_start_ts"]
    end = starts.max().to_pydatetime() + timedelta(seconds=WINDOW_SECONDS)
    try:
        reading = read_windows(
            home, start=starts.min().to_pydatetime(), end=end, schema_version=model.schema.version, skip_unreadable_days=True
        )
    except (NoWindowsError, UnreadableFileError):
        return rows.head(0), len(rows)
    if reading.frame is None or reading.findings:
        return rows.head(0), len(rows)
    own = reading.frame
    users = list(snapshot.users)
    if model.schema.version == "v2" and len(users) == 1:
        own = own.assign(user_id=own["user_id"].cat.rename_categories({DEFAULT_USER: users[0]}))
    keys = hash_row_keys(rows)
    _, mine, theirs = np.intersect1d(keys, hash_row_keys(own), assume_unique=True, return_indices=True)
    order = np.argsort(mine)
    matched = own.take(theirs[order]).reset_index(drop=True)
    base = rows.take(mine[order]).reset_index(drop=True)
    keep = ["user_id", "session_id", "bucket_start_ts"]
    inputs = [column for column in model.schema.model_inputs if column not in keep]
    return pd.concat([base[[*keep, "label"]], matched[inputs]], axis=1), len(rows) - len(base)


def _count_trained_on(model: LoadedModel, rows: pd.DataFrame, predictions: Predictions) -> tuple[int, str]:
    with suppress(OSError, ValueError, EOFError):  # missing or damaged: the training dates are the next best evidence
        return int(np.isin(predictions.key, np.load(model.bundle.path / TRAINING_ROWS)).sum()), "row_hashes"
    metadata = model.bundle.metadata
    if metadata is None:
        return 0, "none"
    days = rows["bucket_start_ts"].dt.date
    inside = (days >= metadata.train_date_from) & (days <= metadata.train_date_to)
    return int(inside.sum()), "training_dates"


def _describe(champion: Champion, snapshot: DatasetSnapshot, found_at: tuple[str | None, str | None]) -> ChampionReport:
    metadata = None if champion.model is None else champion.model.bundle.metadata
    return ChampionReport(
        dataset_hash=snapshot.dataset_hash,
        pointer_hash=found_at[0],
        policy_hash=found_at[1],
        state=champion.state,
        source=champion.source,
        model_id=None if champion.model is None else champion.model.bundle.model_id,
        model_dir=champion.model_dir,
        reason=champion.reason,
        warnings=champion.warnings,
        excluded=champion.excluded,
        files={} if champion.model is None else bundle_hashes(champion.model.bundle.path),
        report=None,
        windows_without_features=0,
        windows_trained_on=0,
        trained_on_evidence="none",
        train_date_from=None if metadata is None else metadata.train_date_from,
        train_date_to=None if metadata is None else metadata.train_date_to,
    )


def _test_figures(report: EvaluationReport, snapshot: DatasetSnapshot) -> dict[str, object]:
    names = ("windows", "macro_f1", "weighted_f1", "all_labels_macro_f1", "all_labels_weighted_f1", "accuracy", "reject_rate")
    figures = report.model_dump(include={*names, "judged_labels", "expected_calibration_error", "flap_rate", "flap_rate_smoothed"})
    return {"dataset_hash": snapshot.dataset_hash, **figures}
