"""Makes the promotion decision from the records of the earlier steps."""

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, read_snapshot_rows
from taskclf_dagster.domain.decision.candidate_gates import check_candidate_gates
from taskclf_dagster.domain.decision.comparative_gates import check_regression_gates
from taskclf_dagster.domain.decision.decision import REQUIRED_GATES, JudgedModel, PromotionDecision, decide, seal
from taskclf_dagster.domain.decision.decision_store import save_decision
from taskclf_dagster.domain.evaluation.comparison import (
    AnchorComparison,
    Comparison,
    compare,
    compare_with_anchor,
    derive_seed,
    unscored_anchor,
)
from taskclf_dagster.domain.evaluation.prediction_diff import PredictionDiff, diff_predictions
from taskclf_dagster.domain.evaluation.predictions import load_predictions
from taskclf_dagster.domain.models.bundle import load_bundle, parse_bundle
from taskclf_dagster.domain.models.bundle_paths import require_bundle, resolve_model_dir
from taskclf_dagster.domain.models.challenger import ChallengerModel
from taskclf_dagster.domain.retraining.reports import ChallengerReport, ChampionReport
from taskclf_dagster.domain.storage.files import read_json_object
from taskclf_dagster.errors import RecordsDoNotMatchError, UnreadableFileError
from taskclf_dagster.home import Home


def make_decision(
    home: Home,
    snapshot: DatasetSnapshot,
    challenger: ChallengerModel,
    challenger_report: ChallengerReport,
    champion_report: ChampionReport,
    *,
    config: RetrainConfig,
    dry_run: bool,
    forced: bool,
    bootstrap: bool,
    code_version: str,
    num_threads: int = 1,
) -> PromotionDecision:
    """Compares, judges by the comparative gates and decides; the decision is kept in artifacts/decisions.

    Args:
        home: the taskclf home.
        snapshot: the dataset.
        challenger: the challenger.
        challenger_report: its figures and candidate gates.
        champion_report: the champion on the same windows.
        config: the policy.
        dry_run: decide, but move nothing.
        forced: recorded: the run was forced.
        bootstrap: let the absolute gates alone decide where a champion exists that cannot be compared with.
        code_version: recorded.
        num_threads: LightGBM threads for the preview of changes.

    The candidate gates are judged again from the report's figures, so that the thresholds are those of the policy that is recorded. The
    decision carries the pointer's state from when the champion was looked up, so that it only holds against that champion.

    Raises:
        RecordsDoNotMatchError: the records are about different datasets or models.
    """
    _require_same_dataset(snapshot, challenger, challenger_report, champion_report)
    candidate = check_candidate_gates(
        challenger_report.report,
        failure=challenger_report.failure,
        rule=challenger_report.rule_baseline,
        lookup=challenger_report.lookup_baseline,
        reproduction=challenger_report.reproduction,
        config=config,
    )
    comparison, anchors = _compare(home, snapshot, challenger_report, champion_report, config)
    rolled_back_as = next((name for name, trees in champion_report.blocked.items() if trees == challenger.tree_hash), None)
    comparative = check_regression_gates(
        comparison,
        champion_state=champion_report.state,
        champion_reason=champion_report.reason,
        anchors=anchors,
        rolled_back_as=rolled_back_as,
        bootstrap=bootstrap,
        config=config,
    )
    gates = [*candidate.gates, *comparative.gates]
    verdict, reason = decide(gates, snapshot.feasibility, auto_promote=config.promotion.auto_promote)
    champion = champion_report.report
    decision = seal(
        {
            "verdict": verdict,
            "reason": reason,
            "as_of": snapshot.as_of,
            "home": snapshot.home,
            "demo": snapshot.demo,
            "dry_run": dry_run,
            "forced": forced,
            "bootstrap": bootstrap,
            "dataset_hash": snapshot.dataset_hash,
            "dataset_digest": snapshot.dataset_digest,
            "snapshot_path": snapshot.path,
            "split": snapshot.rows,
            "label_watermark": snapshot.label_watermark,
            "labels_until": None if snapshot.time_range is None else snapshot.time_range[1],
            "feasibility": snapshot.feasibility,
            "challenger": _judged(challenger.model_id, challenger_report),
            "champion": None if champion is None else _judged(champion.model_id, champion_report),
            "champion_source": champion_report.source,
            "champion_state": champion_report.state,
            "champion_reason": champion_report.reason,
            "champion_dir": champion_report.model_dir,
            "champion_warnings": champion_report.warnings,
            "comparison": comparison,
            "anchors": anchors,
            "rolled_back_as": rolled_back_as,
            "changes": _preview(home, snapshot, challenger_report, champion_report, num_threads=num_threads),
            "protections": _list_protections(config, challenger_report, comparison, anchors, bootstrap=bootstrap, dry_run=dry_run),
            "gates": gates,
            "registry_sequence": champion_report.registry_sequence,
            "pointer_hash": champion_report.pointer_hash,
            "policy_hash": champion_report.policy_hash,
            "previous_policy": _previous_policy(home),
            "required_gates": list(REQUIRED_GATES),
            "config": config,
            "code_version": code_version,
        }
    )
    save_decision(home, decision)
    return decision


def _require_same_dataset(
    snapshot: DatasetSnapshot, challenger: ChallengerModel, challenger_report: ChallengerReport, champion_report: ChampionReport
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
    if findings:
        raise RecordsDoNotMatchError(findings)


def _compare(
    home: Home, snapshot: DatasetSnapshot, challenger: ChallengerReport, champion: ChampionReport, config: RetrainConfig
) -> tuple[Comparison | None, list[AnchorComparison]]:
    """The challenger beside champion and anchors, on the test windows that neither of each pair learned from."""
    if challenger.report is None or challenger.report.predictions_path is None:
        return None, []
    rows = read_snapshot_rows(home.root / snapshot.path, columns=["user_id", "bucket_start_ts", "split"], splits=("test",))
    ours = load_predictions(home.root / challenger.report.predictions_path)
    bundle = parse_bundle(require_bundle(home, challenger.model_id))
    comparison = None
    if champion.report is not None and champion.report.predictions_path is not None and champion.model_dir is not None:
        comparison = compare(
            rows,
            ours,
            load_predictions(home.root / champion.report.predictions_path),
            (bundle, parse_bundle(resolve_model_dir(home, champion.model_dir))),
            config=config,
            seed=derive_seed(snapshot.dataset_digest, [champion.files, challenger.files], config),
        )
    anchors = []
    for anchor in champion.anchors:
        if anchor.predictions_path is None:
            anchors.append(unscored_anchor(anchor.model_id, ran_at=anchor.ran_at, problem=anchor.problem or "it could not be scored"))
            continue
        theirs = load_predictions(home.root / anchor.predictions_path)
        pair = bundle, parse_bundle(resolve_model_dir(home, anchor.path))
        anchors.append(compare_with_anchor(rows, ours, theirs, pair, ran_at=anchor.ran_at, config=config))
    return comparison, anchors


def _preview(
    home: Home, snapshot: DatasetSnapshot, challenger: ChallengerReport, champion: ChampionReport, *, num_threads: int
) -> PredictionDiff | None:
    if challenger.report is None or champion.report is None or champion.model_dir is None:
        return None
    models = load_bundle(require_bundle(home, challenger.model_id)), load_bundle(resolve_model_dir(home, champion.model_dir))
    return diff_predictions(home, *models, as_of=snapshot.as_of, num_threads=num_threads)


def _list_protections(
    config: RetrainConfig,
    challenger: ChallengerReport,
    comparison: Comparison | None,
    anchors: list[AnchorComparison],
    *,
    bootstrap: bool,
    dry_run: bool,
) -> list[str]:
    """What guarded the decision, and what was switched off, in words."""
    lines = [
        f"evidence policy {config.comparison.evidence_policy}, significance {config.comparison.significance:g}",
        f"leaked windows excluded: {0 if comparison is None else comparison.exclusion.excluded}"
        f" ({'no comparison' if comparison is None else comparison.exclusion.detail})",
        f"{len(anchors)} anchors",
        "trained again and compared" if challenger.reproduction is not None else "not trained again",
        "promotes by itself" if config.promotion.auto_promote else "a person has to approve",
    ]
    if not config.evaluation.require_baseline_improvement:
        lines.append("OFF: baselines need not be beaten")
    if bootstrap:
        lines.append("OVERRIDDEN by bootstrap: the absolute gates alone decide where the champion cannot be compared with")
    return [*lines, "dry run: nothing follows"] if dry_run else lines


def _judged(model_id: str, report: ChallengerReport | ChampionReport) -> JudgedModel:
    figures = report.report
    return JudgedModel(
        model_id=model_id,
        files=report.files,
        report_hash=report.record_hash,
        macro_f1=None if figures is None else figures.macro_f1,
        weighted_f1=None if figures is None else figures.weighted_f1,
    )


def _previous_policy(home: Home) -> dict[str, object] | None:
    if not home.inference_policy.exists():
        return None
    try:
        return read_json_object(home.inference_policy)
    except UnreadableFileError:
        return None
