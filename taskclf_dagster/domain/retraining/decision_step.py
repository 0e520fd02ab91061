"""Makes the promotion decision from the records of the earlier steps."""

from collections.abc import Callable
from functools import cache, partial

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.decision.comparative_gates import check_regression_gates
from taskclf_dagster.domain.decision.decision import RECEIPT_VERSION, DecisionContent, PromotionDecision, seal, sign_decision
from taskclf_dagster.domain.decision.decision_store import find_replaced, save_decision
from taskclf_dagster.domain.decision.floors import judge_floors
from taskclf_dagster.domain.decision.gate import RegressionResult
from taskclf_dagster.domain.decision.references import ChampionRef, DatasetRef, ModelRef, RunOptions
from taskclf_dagster.domain.decision.verdict import REQUIRED_GATES, decide
from taskclf_dagster.domain.evaluation.comparison import (
    AnchorComparison,
    Comparison,
    compare,
    compare_with_anchor,
    derive_seed,
    unscored_anchor,
)
from taskclf_dagster.domain.evaluation.prediction_diff import PredictionDiff, diff_predictions, load_recent_predictions
from taskclf_dagster.domain.evaluation.scored_windows import StoredPredictions, load_scored_windows
from taskclf_dagster.domain.evaluation.unusual_days import UnusualDay, find_days_of_disagreement
from taskclf_dagster.domain.models.challenger import ChallengerModel
from taskclf_dagster.domain.retraining.label_advice import advise_on_windows
from taskclf_dagster.domain.retraining.reports import ChallengerReport, ChampionReport
from taskclf_dagster.domain.storage.home_id import ensure_home_id
from taskclf_dagster.domain.storage.records import json_hash
from taskclf_dagster.domain.storage.signatures import NO_KEYS, Keys
from taskclf_dagster.domain.storage.stored_files import StoredFile
from taskclf_dagster.errors import RecordsDoNotMatchError
from taskclf_dagster.home import Home

PredictionLoader = Callable[[StoredFile], StoredPredictions]


def load_predictions_once(home: Home) -> PredictionLoader:
    """Returns a function that reads stored predictions as `load_scored_windows` does, each file once."""
    return cache(partial(load_scored_windows, home.root))


def find_disagreeing_days(challenger: ChallengerReport, champion: ChampionReport, load: PredictionLoader) -> list[UnusualDay]:
    """Returns the test days whose labels neither model agrees with; without a champion, those that the challenger disagrees with."""
    reports = [report for report in (challenger.report, champion.report) if report is not None]
    return find_days_of_disagreement([load(report.predictions) for report in reports if report.predictions is not None])


def make_decision(
    home: Home,
    snapshot: DatasetSnapshot,
    challenger: ChallengerModel,
    challenger_report: ChallengerReport,
    champion_report: ChampionReport,
    *,
    config: RetrainConfig,
    options: RunOptions,
    code_version: str,
    keys: Keys = NO_KEYS,
    load: PredictionLoader | None = None,
) -> PromotionDecision:
    """Compares both models, judges the comparative gates and decides; the receipt is kept in artifacts/decisions.

    Args:
        home: the taskclf home.
        snapshot: the dataset.
        challenger: the challenger.
        challenger_report: its metrics and candidate gates.
        champion_report: the champion on the same windows.
        config: the policy.
        options: of the run.
        code_version: recorded.
        keys: sign the receipt.
        load: reads stored predictions; by default `load_predictions_once`.

    The decision carries the registry's state from when the champion was found, so that it only holds against that champion.

    Raises:
        RecordsDoNotMatchError: the records are about different datasets or models, or the candidate gates were judged by another policy.
    """
    _require_same(snapshot, challenger, challenger_report, champion_report, config)
    load = load or load_predictions_once(home)
    comparison, anchors = _compare(load, snapshot, challenger_report, champion_report, config)
    rolled_back_as = next((name for name, trees in champion_report.blocked.items() if trees == challenger.tree_hash), None)
    sums = None if comparison is None else comparison.sums
    candidate = judge_floors(challenger_report.gates.gates, sums, held_out=snapshot.holdout_users, config=config)
    comparative = check_regression_gates(
        comparison,
        champion_state=champion_report.state,
        champion_reason=champion_report.reason,
        anchors=anchors,
        rolled_back_as=rolled_back_as,
        history_damaged=champion_report.registry.history_damaged,
        bootstrap=options.bootstrap,
        settings=config.comparison,
        more_windows=advise_on_windows(home, snapshot, comparison, config),
        bootstrap_helps=RegressionResult(gates=candidate).all_passed,
    )
    gates = [*candidate, *comparative.gates]
    verdict, reason = decide(gates, snapshot.feasibility, auto_promote=config.promotion.auto_promote)
    content = DecisionContent(
        receipt_version=RECEIPT_VERSION,
        verdict=verdict,
        reason=reason,
        as_of=snapshot.as_of,
        home=snapshot.home,
        demo=snapshot.demo,
        code_version=code_version,
        options=options,
        dataset=_refer_to_dataset(snapshot),
        challenger=_refer_to_model(challenger.model_id, challenger_report),
        champion=_refer_to_champion(champion_report),
        registry=champion_report.registry,
        comparison=comparison,
        anchors=anchors,
        rolled_back_as=rolled_back_as,
        gates=gates,
        required_gates=list(REQUIRED_GATES),
        policy=config.policy,
        prediction_diff=_diff_predictions(home, snapshot, challenger_report, champion_report),
        protections=_list_protections(config, challenger_report, comparison, anchors, options),
        home_id=ensure_home_id(home),
        training=challenger.settings,
        recipe=challenger.recipe,
    )
    decision = sign_decision(seal(content.model_copy(update={"replaces": find_replaced(home, content)})), keys)
    save_decision(home, decision)
    return decision


def _require_same(
    snapshot: DatasetSnapshot,
    challenger: ChallengerModel,
    challenger_report: ChallengerReport,
    champion_report: ChampionReport,
    config: RetrainConfig,
) -> None:
    datasets = {
        "challenger_model": challenger.dataset_hash,
        "challenger_report": challenger_report.dataset_hash,
        "champion_report": champion_report.dataset_hash,
    }
    findings = [
        f"{name} is about dataset {dataset}, the snapshot is {snapshot.dataset_hash}"
        for name, dataset in datasets.items()
        if dataset != snapshot.dataset_hash
    ]
    if challenger_report.model_id != challenger.model_id:
        findings.append(f"challenger_report is about {challenger_report.model_id}, the challenger is {challenger.model_id}")
    if challenger_report.config_hash != json_hash(config.policy):
        findings.append("challenger_report judged the candidate gates by another configuration than the present one")
    if findings:
        raise RecordsDoNotMatchError(findings)


def _compare(
    load: PredictionLoader, snapshot: DatasetSnapshot, challenger: ChallengerReport, champion: ChampionReport, config: RetrainConfig
) -> tuple[Comparison | None, list[AnchorComparison]]:
    """Compares the challenger with champion and anchors, each pair on the test windows that neither was trained on."""
    if challenger.report is None or challenger.report.predictions is None:
        return None, []
    (ours, rows), settings, fewest = load(challenger.report.predictions), config.comparison, config.evaluation.min_class_windows
    comparison = None
    if champion.report is not None and champion.report.predictions is not None:
        seed = derive_seed(snapshot.dataset_digest, [champion.files, challenger.files], config.policy)
        theirs = load(champion.report.predictions).scored
        comparison = compare(rows, ours, theirs, settings=settings, min_class_windows=fewest, seed=seed)
    anchors = []
    for anchor in champion.anchors:
        if anchor.predictions is None:
            problem = anchor.problem or "it could not be evaluated"
            anchors.append(unscored_anchor(anchor.model_id, ran_at=anchor.ran_at, problem=problem))
            continue
        scored = load(anchor.predictions).scored
        anchors.append(compare_with_anchor(rows, ours, scored, ran_at=anchor.ran_at, settings=settings, min_class_windows=fewest))
    return comparison, anchors


def _diff_predictions(
    home: Home, snapshot: DatasetSnapshot, challenger: ChallengerReport, champion: ChampionReport
) -> PredictionDiff | None:
    ours, theirs = challenger.recent_predictions, champion.recent_predictions
    if ours is None or theirs is None:
        return None
    return diff_predictions(load_recent_predictions(home.root, ours), load_recent_predictions(home.root, theirs), as_of=snapshot.as_of)


def _list_protections(
    config: RetrainConfig,
    challenger: ChallengerReport,
    comparison: Comparison | None,
    anchors: list[AnchorComparison],
    options: RunOptions,
) -> list[str]:
    """Returns a summary of what protected the decision, and of what was switched off."""
    lines = [
        f"evidence policy {config.comparison.evidence_policy}, significance {config.comparison.significance:g}",
        f"leaked windows excluded: {0 if comparison is None else comparison.exclusion.excluded}"
        f" ({'no comparison' if comparison is None else comparison.exclusion.summary})",
        f"{len(anchors)} anchors",
        "trained again and compared" if challenger.reproduction is not None else "not trained again",
        "promotes by itself" if config.promotion.auto_promote else "a person has to approve",
    ]
    if config.evaluation.floor_policy == "improve":
        lines.append("floors: where the champion misses one, too, the challenger may not be below the champion")
    if config.comparison.slice_gate:
        lines.append("slices: one that is clearly worse stops the challenger")
    if not config.evaluation.require_baseline_improvement:
        lines.append("OFF: baselines need not be beaten")
    if options.bootstrap:
        lines.append("OVERRIDDEN by bootstrap: the absolute gates alone decide where the champion cannot be compared with")
    return [*lines, "dry run: nothing follows"] if options.dry_run else lines


def _refer_to_dataset(snapshot: DatasetSnapshot) -> DatasetRef:
    return DatasetRef(
        dataset_hash=snapshot.dataset_hash,
        digest=snapshot.dataset_digest,
        path=snapshot.path,
        split=snapshot.rows,
        label_watermark=snapshot.label_watermark,
        labels_until=None if snapshot.time_range is None else snapshot.time_range[1],
        feasibility=snapshot.feasibility,
        holdout_users=tuple(snapshot.holdout_users),
    )


def _refer_to_model(model_id: str, report: ChallengerReport | ChampionReport) -> ModelRef:
    metrics = report.report
    return ModelRef(
        model_id=model_id,
        files=report.files,
        report_hash=report.record_hash,
        macro_f1=None if metrics is None else metrics.macro_f1,
        weighted_f1=None if metrics is None else metrics.weighted_f1,
    )


def _refer_to_champion(report: ChampionReport) -> ChampionRef:
    return ChampionRef(
        state=report.state,
        source=report.source,
        reason=report.reason,
        model=None if report.report is None else _refer_to_model(report.report.model_id, report),
        model_dir=report.model_dir,
        warnings=report.warnings,
        threshold=report.threshold,
        calibration=report.calibration,
    )
