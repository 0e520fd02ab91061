"""challenger_report and champion_report: both models on the same unseen windows. Dagster concept: assets.

Candidate gates are checks of the challenger's report: red where one fails, and the run goes on, because a rejected model is a result.
"""

from collections.abc import Iterator

import dagster as dg

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.assets.common import GROUP, OWNERS, POOL, materialized
from taskclf_dagster.defs.display.metadata import format_metric, gate_check, gate_table, per_class_table, per_user_table, plotted, table
from taskclf_dagster.defs.display.pictures import calibration_picture, confusion_picture
from taskclf_dagster.defs.resources.inputs import HomeResource, RunSettingsResource
from taskclf_dagster.defs.resources.run_supervisor import RunSupervisor
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.evaluation.metrics import EvaluationReport
from taskclf_dagster.domain.models.challenger import ChallengerModel
from taskclf_dagster.domain.models.training import resolve_num_threads
from taskclf_dagster.domain.retraining.reports import ChallengerReport, ChampionReport, report_challenger, report_champion
from taskclf_dagster.provenance import cores

CANDIDATE_CHECKS: dict[str, str] = {
    "loads_and_predicts": "The bundle loads from disk and gives valid probabilities for every test window.",
    "macro_f1": "Mean F1 of the judged labels reaches the floor; a rejected window counts as wrong.",
    "weighted_f1": "Mean F1 weighted by true windows reaches the floor.",
    "breakidle_precision": "What the model calls BreakIdle is a break.",
    "breakidle_recall": "Breaks are found.",
    "no_class_below_50_precision": "Every judged label reaches the lowest precision allowed.",
    "reject_rate_bounds": "The model declines neither too few nor too many windows.",
    "seen_user_f1": "Macro-F1 on users in training; only with held-out users.",
    "unseen_user_f1": "Macro-F1 on held-out users; only where there are any.",
    "beats_rule_baseline": "Better than taskclf's rules on the windows where these name a label.",
    "beats_lookup_baseline": "Better than a table of the most common label of each app.",
    "reproducible": "Trained again from the stored snapshot it comes out the same: trees, predictions, threshold.",
}


@dg.asset(
    group_name=GROUP,
    pool=POOL,
    dagster_type=dg.PythonObjectDagsterType(ChallengerReport),
    owners=OWNERS,
    kinds={"json"},
    check_specs=[
        *(dg.AssetCheckSpec(name, asset="challenger_report", description=text) for name, text in CANDIDATE_CHECKS.items()),
        dg.AssetCheckSpec(
            "every_label_is_judged", asset="challenger_report", description="Advice: all eight labels have enough test windows."
        ),
        dg.AssetCheckSpec(
            "flap_rate_is_low", asset="challenger_report", description="Advice: predictions do not flicker, raw and smoothed."
        ),
    ],
)
def challenger_report(
    context: dg.AssetExecutionContext,
    dataset_snapshot: DatasetSnapshot,
    challenger_model: ChallengerModel,
    home: HomeResource,
    run_settings: RunSettingsResource,
    supervisor: RunSupervisor,
) -> dg.MaterializeResult:
    """The challenger, loaded from disk and scored on the test windows, beside two baselines and against every candidate gate."""
    config = run_settings.load_config()
    record = report_challenger(
        home.open(), dataset_snapshot, challenger_model, config=config, num_threads=_threads(config, dataset_snapshot)
    )
    for gate in record.gates.gates:
        context.log.info(f"{gate.status:14} {gate.name}: {gate.detail}")
    metadata = {"home": dataset_snapshot.home, "model_id": record.model_id, "gates": gate_table(record.gates.gates)}
    checks = [*(gate_check(gate) for gate in record.gates.gates), *_advice(record.report, config)]
    return materialized(record, metadata={**metadata, **_describe(record.report), **_baselines(record)}, check_results=checks)


@dg.asset(
    group_name=GROUP,
    pool=POOL,
    dagster_type=dg.PythonObjectDagsterType(ChampionReport),
    owners=OWNERS,
    kinds={"json"},
    output_required=False,
)
def champion_report(
    context: dg.AssetExecutionContext,
    dataset_snapshot: DatasetSnapshot,
    home: HomeResource,
    run_settings: RunSettingsResource,
    supervisor: RunSupervisor,
) -> Iterator[dg.MaterializeResult]:
    """What taskclf runs now, scored on the challenger's test windows with its own schema version, vocabularies and threshold.

    Says which bundle it is, why that one, and in what state; a champion that cannot be used is a state, never a skipped comparison.
    """
    if dataset_snapshot.skip_reason is not None:
        return
    config = run_settings.load_config()
    record = report_champion(home.open(), dataset_snapshot, config=config, num_threads=_threads(config, dataset_snapshot))
    for warning in record.warnings:
        context.log.warning(warning)
    metadata = {
        "home": dataset_snapshot.home,
        "state": record.state,
        "source": record.source,
        "model_id": record.model_id or "none",
        "reason": record.reason,
        "warnings": "\n".join(record.warnings) or "none",
        "windows_without_features": record.windows_without_features,
        "windows_trained_on": record.windows_trained_on,
        "left_out_bundles": table([{"model": r.model_id, "reason": r.reason} for r in record.excluded]),
    }
    yield materialized(record, metadata={**metadata, **_describe(record.report)})


def _threads(config: RetrainConfig, snapshot: DatasetSnapshot) -> int:
    return resolve_num_threads(config.training.train_params.num_threads, rows=snapshot.rows["test"], cores=cores())


def _advice(report: EvaluationReport | None, config: RetrainConfig) -> list[dg.AssetCheckResult]:
    judged = [] if report is None else report.judged_labels
    unjudged = [label for label in LABELS if label not in judged]
    flaps = None if report is None else (report.flap_rate, report.flap_rate_smoothed)
    limits = (config.evaluation.advice.max_flap_rate, config.evaluation.advice.max_flap_rate_smoothed)
    calm = flaps is not None and flaps[0] <= limits[0] and flaps[1] <= limits[1]
    words = (
        "not scored" if flaps is None else f"{flaps[0]:.3f} raw (at most {limits[0]:g}), {flaps[1]:.3f} smoothed (at most {limits[1]:g})"
    )
    return [
        dg.AssetCheckResult(
            check_name="every_label_is_judged",
            passed=not unjudged,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"Too few test windows of {', '.join(unjudged)}." if unjudged else "All eight labels are judged.",
            metadata={"judged_labels": len(judged)},
        ),
        dg.AssetCheckResult(
            check_name="flap_rate_is_low",
            passed=calm,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"Label changes per window: {words}.",
            metadata={} if flaps is None else {"flap_rate": flaps[0], "flap_rate_smoothed": flaps[1]},
        ),
    ]


def _describe(report: EvaluationReport | None) -> dict[str, object]:
    if report is None:
        return {}
    return {
        "dagster/row_count": report.windows,
        **plotted(
            macro_f1=report.macro_f1,
            weighted_f1=report.weighted_f1,
            accuracy=report.accuracy,
            reject_rate=report.reject_rate,
            expected_calibration_error=report.expected_calibration_error,
            multiclass_brier_score=report.multiclass_brier_score,
            multiclass_log_loss=report.multiclass_log_loss,
            flap_rate=report.flap_rate,
            flap_rate_smoothed=report.flap_rate_smoothed,
            all_labels_macro_f1=report.all_labels_macro_f1,
            seen_user_f1=report.seen_user_f1,
            unseen_user_f1=report.unseen_user_f1,
        ),
        "per_class": per_class_table(report),
        "per_user": per_user_table(report),
        "top_confusions": table(
            [{"true": pair.true_label, "predicted": pair.pred_label, "windows": pair.count} for pair in report.top_confusion_pairs]
        ),
        "confusion_matrix": confusion_picture(report),
        "calibration": calibration_picture(report),
    }


def _baselines(record: ChallengerReport) -> dict[str, object]:
    scores = {"rules": record.rule_baseline, "lookup table": record.lookup_baseline}
    return {
        "baselines": table(
            [
                {
                    "baseline": name,
                    "windows": score.windows,
                    "challenger F1": format_metric(score.model),
                    "baseline F1": format_metric(score.baseline),
                }
                for name, score in scores.items()
                if score is not None
            ]
        )
    }
