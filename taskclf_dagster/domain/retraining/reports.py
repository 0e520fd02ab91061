"""Reports on challenger, champion and anchors on the same test windows, for gates and people.

Metrics are computed in `evaluation`; champion and anchors are found in `registry`.
"""

from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, open_snapshot
from taskclf_dagster.domain.decision.candidate_gates import check_candidate_gates
from taskclf_dagster.domain.decision.gate import RegressionResult
from taskclf_dagster.domain.decision.references import AppliedCalibration, AppliedThreshold, ChampionSource, ChampionState, RegistryRef
from taskclf_dagster.domain.evaluation.baselines import BASELINE_COLUMNS, BaselineScore, compare_with_baselines
from taskclf_dagster.domain.evaluation.evaluation_set import Evaluation, EvaluationSet
from taskclf_dagster.domain.evaluation.metrics import EvaluationReport
from taskclf_dagster.domain.evaluation.prediction_diff import predict_recent_windows, save_recent_predictions
from taskclf_dagster.domain.evaluation.score_interval import ScoreInterval, measure_score_interval
from taskclf_dagster.domain.evaluation.scored_windows import save_scored_windows
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.domain.models.bundle import LoadedModel, load_bundle
from taskclf_dagster.domain.models.bundle_files import BundleFiles, read_bundle_files
from taskclf_dagster.domain.models.bundle_paths import require_bundle, resolve_model_dir
from taskclf_dagster.domain.models.bundle_writer import add_test_figures, without_test_figures
from taskclf_dagster.domain.models.challenger import ChallengerModel, probe
from taskclf_dagster.domain.models.learned_rows import load_learned
from taskclf_dagster.domain.models.reproducibility import Reproduction, is_proof_wanted, reproduce
from taskclf_dagster.domain.registry.anchors import find_anchors
from taskclf_dagster.domain.registry.champion import Champion, resolve_active_model
from taskclf_dagster.domain.registry.ranking import ExclusionRecord
from taskclf_dagster.domain.registry.state import RegistryState, read_registry_state
from taskclf_dagster.domain.storage.path_names import InnerPath
from taskclf_dagster.domain.storage.records import Record, json_hash
from taskclf_dagster.domain.storage.signatures import NO_KEYS, Keys
from taskclf_dagster.domain.storage.stored_files import StoredFile
from taskclf_dagster.errors import BundleError, RecordsDoNotMatchError
from taskclf_dagster.home import Home
from taskclf_dagster.progress import Progress, Report, ignore_progress


class ChallengerReport(Record):
    """The evaluation of a challenger on the test split, with baselines and every candidate gate.

    Attributes:
        failure: the reason why it could not be evaluated; None if it could.
        files: SHA-256 of every file of the evaluated bundle; metadata.json has timings, so they are not part of the hash.
        recent_predictions: the file of its predictions for every window of the last days; None if there are none.
        reproduction: the result of training again; None if that was not done.
        probe_digest: SHA-256 of the probabilities of the first validation windows by the loaded bundle; None if it does not load.
        config_hash: hash of the policy by which the gates were judged.
    """

    unhashed: ClassVar[frozenset[str]] = frozenset({"files"})

    model_id: str
    dataset_hash: str
    failure: str | None
    files: dict[str, str]
    report: EvaluationReport | None
    recent_predictions: StoredFile | None
    rule_baseline: BaselineScore | None
    lookup_baseline: BaselineScore | None
    reproduction: Reproduction | None
    probe_digest: str | None
    gates: RegressionResult
    config_hash: str


class AnchorReport(Record):
    """The evaluation of an anchor model on the challenger's test windows.

    Attributes:
        ran_at: the time at which it became active.
        path: the bundle, relative to the home.
        problem: the reason why it could not be evaluated; None if it could.
    """

    model_id: str
    ran_at: datetime
    path: InnerPath
    predictions: StoredFile | None
    problem: str | None


class ChampionReport(Record):
    """The evaluation of the champion and the anchors on the challenger's test windows.

    Attributes:
        state: ok, none, unreadable or incompatible.
        source: where it was found: policy, pointer, last_known_good, best_by_rank or none.
        recent_predictions: the file of its predictions for every window of the last days; None if there are none.
        windows_without_features: test windows that the champion's own schema version does not have.
        windows_trained_on: number of test windows that the champion was trained on.
        trained_on_evidence: source of that number: row_hashes, training_dates, or none without a champion.
        anchors: the anchor models, the newest first.
        blocked: blocked models: hash of their trees by id.
        registry: pointer, policy and history when the champion was found.
        threshold: the reject threshold that taskclf applies to the champion; None without one.
        calibration: the calibrators that taskclf applies to its probabilities before that; None for none.
    """

    dataset_hash: str
    registry: RegistryRef
    state: ChampionState
    source: ChampionSource
    model_id: str | None
    model_dir: str | None
    reason: str
    warnings: list[str]
    excluded: list[ExclusionRecord]
    files: dict[str, str]
    report: EvaluationReport | None
    recent_predictions: StoredFile | None
    windows_without_features: int
    windows_trained_on: int
    trained_on_evidence: Literal["row_hashes", "training_dates", "none"]
    train_date_from: date | None
    train_date_to: date | None
    anchors: list[AnchorReport]
    blocked: dict[str, str | None]
    threshold: AppliedThreshold | None = None
    calibration: AppliedCalibration | None = None


def report_challenger(
    home: Home,
    snapshot: DatasetSnapshot,
    challenger: ChallengerModel,
    *,
    config: RetrainConfig,
    num_threads: int,
    on_progress: Report = ignore_progress,
    engine: Engine = LOCAL,
) -> ChallengerReport:
    """Loads a challenger from disk, evaluates it on the test split and judges the candidate gates; the engine trains it again.

    The test metrics are added to the bundle's metrics.json, unless a decision has moved the bundle.

    Raises:
        RecordsDoNotMatchError: the challenger was trained on another dataset.
        SnapshotError: the snapshot cannot be read, or was changed.
    """
    if challenger.dataset_hash != snapshot.dataset_hash:
        finding = (
            f"challenger {challenger.model_id} was trained on dataset {challenger.dataset_hash}, the snapshot is {snapshot.dataset_hash}"
        )
        raise RecordsDoNotMatchError([finding])
    stored = open_snapshot(home, snapshot)
    test = make_evaluation_set(stored.load(splits=("test",)), snapshot, config=config, num_threads=num_threads)
    files, failure, report, recent, rule, lookup, reproduction, probed = None, None, None, None, None, None, None, None
    try:
        files = _read_built_bundle(home, challenger)
        model = load_bundle(files)
        probed = probe(model, stored)
        report, scored, _, confidences = _evaluate(home, snapshot, test, model)
        recent = _predict_recent(home, model, snapshot, confidences, num_threads=num_threads)
        made = model.bundle.require()
        learned = load_learned(stored, refit=made.refit, uses_older=made.uses_older, columns=BASELINE_COLUMNS)
        rule, lookup = compare_with_baselines(learned, test.rows, scored.predictions, report.judged_labels)
        if is_proof_wanted(config.training.prove_reproducible, windows=sum(snapshot.rows.values())):
            again = partial(_report_again, on_progress)
            reproduction = reproduce(home, model, folds=False, stored=stored, on_progress=again, engine=engine)
        if files.folder.parent == home.challengers:
            labels, significance = report.judged_labels, config.comparison.significance
            spread = measure_score_interval(test.rows, scored, judged_labels=labels, significance=significance)
            files = add_test_figures(files, _test_figures(report, spread, snapshot))
    except BundleError as error:
        failure = str(error)
    return ChallengerReport(
        model_id=challenger.model_id,
        dataset_hash=snapshot.dataset_hash,
        failure=failure,
        files={} if files is None else files.hashes(),
        report=report,
        recent_predictions=recent,
        rule_baseline=rule,
        lookup_baseline=lookup,
        reproduction=reproduction,
        probe_digest=probed,
        gates=check_candidate_gates(
            report, failure=failure, rule=rule, lookup=lookup, reproduction=reproduction, settings=config.evaluation
        ),
        config_hash=json_hash(config.policy),
    )


def _report_again(report: Report, progress: Progress) -> None:
    """Reports a round of the fits by which it is proved that the model can be made again."""
    report(progress._replace(part=f"trained again, {progress.part}", line=None))


def _read_built_bundle(home: Home, challenger: ChallengerModel) -> BundleFiles:
    """Reads the bundle that the record of a challenger names, as it was built; only the test metrics may have been added since.

    Raises:
        BundleError: the bundle is missing, or was changed after it was built.
    """
    files = read_bundle_files(require_bundle(home, challenger.model_id))
    changed = without_test_figures(files).find_changed(challenger.files)
    if changed:
        raise BundleError(files.folder, "manifest", f"invalid: {', '.join(changed)} changed after the bundle was built")
    return files


def make_evaluation_set(rows: pd.DataFrame, snapshot: DatasetSnapshot, *, config: RetrainConfig, num_threads: int) -> EvaluationSet:
    """Returns the test rows of a snapshot with everything that an evaluation on them needs."""
    return EvaluationSet(
        rows=rows,
        schema_version=snapshot.schema_version,
        users=list(snapshot.users),
        unseen_users=snapshot.holdout_users,
        min_class_windows=config.evaluation.min_class_windows,
        num_threads=num_threads,
    )


def report_champion(
    home: Home, snapshot: DatasetSnapshot, *, config: RetrainConfig, num_threads: int, keys: Keys = NO_KEYS
) -> ChampionReport:
    """Evaluates the champion and the anchors on the test split, each with its own schema version, vocabularies and threshold.

    With public keys, only models of signed records are champion and anchors.
    """
    registry = read_registry_state(home, keys)
    champion = resolve_active_model(registry)
    described = _describe(champion, snapshot, registry)
    rows = open_snapshot(home, snapshot).load(splits=("test",))
    test = make_evaluation_set(rows, snapshot, config=config, num_threads=num_threads)
    if champion.model is not None:
        described = _report_model(home, snapshot, test, champion.model, described)
    own = described.report
    anchors = []
    for model_id, ran_at in find_anchors(registry.history, as_of=snapshot.as_of):
        path = f"{home.models.name}/{model_id}"
        if own is not None and model_id == own.model_id:
            anchors.append(AnchorReport(model_id=model_id, ran_at=ran_at, path=path, predictions=own.predictions, problem=None))
        else:
            anchors.append(_report_anchor(home, snapshot, test, model_id, ran_at, path))
    return described.model_copy(update={"anchors": anchors})


def _report_model(
    home: Home, snapshot: DatasetSnapshot, test: EvaluationSet, model: LoadedModel, described: ChampionReport
) -> ChampionReport:
    try:
        report, scored, missing, confidences = _evaluate(home, snapshot, test, model)
        recent = _predict_recent(home, model, snapshot, confidences, num_threads=test.num_threads)
    except BundleError as error:
        return described.model_copy(update={"state": "unreadable", "reason": error.reason})
    leakage = scored.distance.report()
    return described.model_copy(
        update={
            "report": report,
            "recent_predictions": recent,
            "windows_without_features": missing,
            "windows_trained_on": leakage.trained_on,
            "trained_on_evidence": leakage.basis,
        }
    )


def _report_anchor(home: Home, snapshot: DatasetSnapshot, test: EvaluationSet, model_id: str, ran_at: datetime, path: str) -> AnchorReport:
    predictions, problem = None, None
    try:
        predictions = _evaluate(home, snapshot, test, load_bundle(resolve_model_dir(home, path))).report.predictions
    except BundleError as error:
        problem = error.reason
    return AnchorReport(model_id=model_id, ran_at=ran_at, path=path, predictions=predictions, problem=problem)


def _evaluate(home: Home, snapshot: DatasetSnapshot, test: EvaluationSet, model: LoadedModel) -> Evaluation:
    """Evaluates a model and keeps its predictions in artifacts/predictions; the report names the file."""
    evaluation = test.evaluate(home, model)
    path = _predictions_folder(home, snapshot) / f"{model.bundle.model_id}.parquet"
    stored = save_scored_windows(home.root, path, evaluation.scored, test.windows)
    return evaluation._replace(report=evaluation.report.model_copy(update={"predictions": stored}))


def _predict_recent(
    home: Home, model: LoadedModel, snapshot: DatasetSnapshot, known: pd.DataFrame, *, num_threads: int
) -> StoredFile | None:
    """Predicts the windows of the last days while the model is loaded, but for the test windows that it predicted already."""
    recent = predict_recent_windows(home, model, as_of=snapshot.as_of, num_threads=num_threads, stored=snapshot.recent, known=known)
    if recent is None:
        return None
    path = _predictions_folder(home, snapshot) / f"{model.bundle.model_id}.recent.parquet"
    return save_recent_predictions(home.root, path, recent)


def _predictions_folder(home: Home, snapshot: DatasetSnapshot) -> Path:
    return home.predictions / snapshot.dataset_hash


def _describe(champion: Champion, snapshot: DatasetSnapshot, registry: RegistryState) -> ChampionReport:
    metadata = None if champion.model is None else champion.model.bundle.metadata
    return ChampionReport(
        dataset_hash=snapshot.dataset_hash,
        registry=registry.reference,
        state=champion.state,
        source=champion.source,
        model_id=None if champion.model is None else champion.model.bundle.model_id,
        model_dir=champion.model_dir,
        reason=champion.reason,
        warnings=champion.warnings,
        excluded=champion.excluded,
        files={} if champion.model is None else champion.model.files.hashes(),
        report=None,
        recent_predictions=None,
        windows_without_features=0,
        windows_trained_on=0,
        trained_on_evidence="none",
        train_date_from=None if metadata is None else metadata.train_date_from,
        train_date_to=None if metadata is None else metadata.train_date_to,
        anchors=[],
        blocked={name: model.tree_hash for name, model in registry.history.blocked.items()},
        threshold=champion.threshold,
        calibration=champion.calibration,
    )


def _test_figures(report: EvaluationReport, spread: ScoreInterval, snapshot: DatasetSnapshot) -> dict[str, object]:
    names = ("windows", "macro_f1", "weighted_f1", "all_labels_macro_f1", "all_labels_weighted_f1", "accuracy", "reject_rate")
    figures = report.model_dump(include={*names, "judged_labels", "expected_calibration_error", "flap_rate", "flap_rate_smoothed"})
    f1 = {label: report.per_class[label].f1 for label in report.judged_labels}
    over_days = {"macro_f1_interval": spread.interval, "confidence": spread.confidence, "user_days": spread.user_days}
    return {"dataset_hash": snapshot.dataset_hash, **figures, **over_days, "f1": f1}
