"""Metadata and check results of challenger_model, challenger_report and champion_report. Dagster concepts: metadata, asset check results.

Add here what their pages show. Metrics come from `domain.evaluation`, gates from `domain.decision`; numbers are rounded for display only.
"""

import dagster as dg

from taskclf_dagster.config.settings import AdviceThresholds, EvaluationSettings
from taskclf_dagster.defs.display.metadata import Cell, format_metric, gate_check, gate_table, plotted, table
from taskclf_dagster.defs.display.pictures import calibration_picture, confusion_picture, importance_picture, learning_curve_picture
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.decision.floors import FLOORS
from taskclf_dagster.domain.decision.gate import RegressionGate
from taskclf_dagster.domain.evaluation.metrics import EvaluationReport
from taskclf_dagster.domain.models.challenger import ChallengerModel
from taskclf_dagster.domain.models.reject_threshold import RejectThreshold
from taskclf_dagster.domain.retraining.reports import ChallengerReport, ChampionReport
from taskclf_dagster.shown_text import shorten_names

TOP_FEATURES = 15


CANDIDATE_CHECKS: dict[str, str] = {
    "loads_and_predicts": "The bundle loads from disk and predicts valid probabilities for every test window.",
    "macro_f1": "Mean F1 of the judged labels is at least the threshold; a rejected window counts as wrong.",
    "weighted_f1": "Mean F1, weighted by the number of true windows, is at least the threshold.",
    "breakidle_precision": "Precision of BreakIdle is at least the threshold: predicted breaks are breaks.",
    "breakidle_recall": "Recall of BreakIdle is at least the threshold: breaks are found.",
    "no_class_below_50_precision": "Precision of every judged label is at least the threshold.",
    "reject_rate_bounds": "The share of rejected windows is within its bounds.",
    "seen_user_f1": "Macro-F1 on users in training is at least the threshold; only with held-out users.",
    "unseen_user_f1": "Macro-F1 on held-out users is at least the threshold; only with held-out users.",
    "beats_rule_baseline": "The F1 is higher than that of taskclf's rules on the windows for which these predict a label.",
    "beats_lookup_baseline": "The F1 is higher than that of a table with the most common label of each app.",
    "reproducible": "Training again from the stored snapshot gives the same trees, predictions and threshold.",
}
"""The candidate gates, with what each check claims."""


FLOORS_CHECK = "no_floor_is_missed"
"""The check of promotion_decision about the floors, after `floor_policy`."""


RELOAD_CHECK = "bundle_reloads_and_predicts_identically"


MODEL_CHECKS = {RELOAD_CHECK: "The bundle on disk gives the same predictions as the model in memory did, to the last bit."}


ADVICE_CHECKS: dict[str, str] = {
    "every_label_is_judged": "Advice: all eight labels have enough test windows.",
    "flap_rate_is_low": "Advice: predictions change their label rarely, raw and smoothed.",
}


def challenger_metadata(record: ChallengerModel, snapshot: DatasetSnapshot) -> dict[str, object]:
    """Returns identity, validation metrics, parameters, timings and importance of the inputs."""
    return {
        "home": snapshot.home,
        "model_id": record.model_id,
        "bundle": dg.MetadataValue.path(record.path),
        "tree_hash": record.tree_hash,
        "training_windows": record.training_windows,
        "validation_macro_f1": record.macro_f1,
        "validation_weighted_f1": record.weighted_f1,
        "reject_threshold": record.reject.value,
        "reject_threshold_choice": record.reject.detail,
        "expected_reject_rate": _expect(record.reject),
        "settings": record.settings.reason,
        **_search(record),
        **_training(record),
    }


def _expect(reject: RejectThreshold) -> str:
    """Returns the expected reject rate with its interval: `9.7% (0.1% to 19.3% of a single user-day)`."""
    between = "" if reject.interval is None else f" ({reject.interval[0]:.1%} to {reject.interval[1]:.1%} of a single user-day)"
    return f"{reject.reject_rate:.1%}{between}"


def challenger_report_metadata(record: ChallengerReport, snapshot: DatasetSnapshot) -> dict[str, object]:
    """Returns the gates, the metrics and the comparison with both baselines."""
    gates = {"home": snapshot.home, "model_id": record.model_id, "gates": gate_table(record.gates.gates)}
    return {**gates, **report_metadata(record.report), **_baselines(record)}


def challenger_report_checks(
    record: ChallengerReport, challenger: ChallengerModel, settings: EvaluationSettings
) -> list[dg.AssetCheckResult]:
    """Returns every candidate gate as a check result, the comparison of the loaded bundle with the trained model, and the advice."""
    gates = [_candidate_check(gate, settings) for gate in record.gates.gates]
    return [*gates, reload_check(record, challenger), *advice_checks(record.report, settings.advice)]


def _candidate_check(gate: RegressionGate, settings: EvaluationSettings) -> dg.AssetCheckResult:
    """Returns a gate as a check result; a warning for a missed floor that promotion_decision judges again beside the champion."""
    check = gate_check(gate)
    if settings.floor_policy == "strict" or gate.name not in FLOORS or gate.status != "FAIL":
        return check
    later = f"{check.description}; floor_policy is improve, so {FLOORS_CHECK} of promotion_decision judges it beside the champion"
    return check._replace(severity=dg.AssetCheckSeverity.WARN, description=later)


def reload_check(record: ChallengerReport, challenger: ChallengerModel) -> dg.AssetCheckResult:
    """Compares the predictions of the bundle that was loaded from disk with those of the model before it was written."""
    same = record.probe_digest == challenger.probe_digest
    description = "Identical." if same else record.failure or "The predictions of the bundle differ."
    return dg.AssetCheckResult(
        passed=same, check_name=RELOAD_CHECK, description=description, metadata={"probe": record.probe_digest or "none"}
    )


def champion_report_metadata(record: ChampionReport, snapshot: DatasetSnapshot) -> dict[str, object]:
    """Returns the identity of the champion, the reason for it, and its metrics."""
    return {
        "home": snapshot.home,
        "state": record.state,
        "source": record.source,
        "model_id": record.model_id or "none",
        "reject_threshold": "none" if record.threshold is None else record.threshold.summary,
        "reason": record.reason,
        "warnings": "\n".join(record.warnings) or "none",
        "windows_without_features": record.windows_without_features,
        "metrics_are_on": _describe_windows(record),
        "left_out_bundles": table([{"model": r.model_id, "reason": r.reason} for r in record.excluded]),
        **report_metadata(record.report),
    }


def _describe_windows(record: ChampionReport) -> str:
    """Returns the windows that the champion's metrics are on: its score on some that it was trained on may not be compared."""
    if record.report is None:
        return "it was not evaluated"
    trained_on = f"{record.windows_trained_on} of which it was trained on: compare with promotion_decision instead"
    return f"all {record.report.windows} test windows" + (
        f", {trained_on}" if record.windows_trained_on else ", none of which it was trained on"
    )


def report_metadata(report: EvaluationReport | None) -> dict[str, object]:
    """Returns the metrics of an evaluation report as plotted numbers, tables and pictures; empty without a report."""
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


def per_class_table(report: EvaluationReport) -> dg.MetadataValue:
    """Returns a table with a row for each label: precision, recall, F1 and number of windows; undefined metrics are dashes."""
    return table(
        [
            {
                "label": label,
                "precision": format_metric(score.precision),
                "recall": format_metric(score.recall),
                "f1": format_metric(score.f1),
                "windows": score.support,
                "predicted": score.predicted,
                "judged": score.judged,
            }
            for label, score in report.per_class.items()
        ]
    )


def per_user_table(report: EvaluationReport) -> dg.MetadataValue:
    """Returns a table with a row for each user: number of windows, macro-F1, reject rate."""
    short = shorten_names(report.per_user)
    return table(
        [
            {
                "user": short[user],
                "windows": score.windows,
                "macro_f1": format_metric(score.macro_f1),
                "reject_rate": format_metric(score.reject_rate),
                "seen in training": not score.unseen,
            }
            for user, score in report.per_user.items()
        ]
    )


def all_windows_table(challenger: EvaluationReport | None, champion: EvaluationReport | None) -> dg.MetadataValue:
    """Returns a table of the metrics that both models only have on all test windows, of which the champion may have learned some."""
    names = {
        "reject rate": "reject_rate",
        "calibration error": "expected_calibration_error",
        "log loss": "multiclass_log_loss",
        "flap rate, smoothed": "flap_rate_smoothed",
    }
    rows = [difference_row(name, _get(champion, field), _get(challenger, field)) for name, field in names.items()]
    windows = 0 if challenger is None else challenger.windows
    return table([{f"on all {windows} test windows": row.pop("metric"), **row} for row in rows])


def advice_checks(report: EvaluationReport | None, advice: AdviceThresholds) -> list[dg.AssetCheckResult]:
    """Returns the advice about judged labels and flickering predictions; neither decides anything."""
    judged = [] if report is None else report.judged_labels
    unjudged = [label for label in LABELS if label not in judged]
    flaps = None if report is None else (report.flap_rate, report.flap_rate_smoothed)
    limits = (advice.max_flap_rate, advice.max_flap_rate_smoothed)
    is_low = flaps is not None and flaps[0] <= limits[0] and flaps[1] <= limits[1]
    rates = (
        "not evaluated" if flaps is None else f"{flaps[0]:.3f} raw (at most {limits[0]:g}), {flaps[1]:.3f} smoothed (at most {limits[1]:g})"
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
            passed=is_low,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"Label changes per window: {rates}.",
            metadata={} if flaps is None else {"flap_rate": flaps[0], "flap_rate_smoothed": flaps[1]},
        ),
    ]


def _training(challenger: ChallengerModel) -> dict[str, object]:
    top = list(challenger.feature_importance.items())[:TOP_FEATURES]
    return {
        "feature_importance": table([{"input": name, "share of gain": round(share, 4)} for name, share in top]),
        "feature_importance_picture": importance_picture(top),
        "params": dg.MetadataValue.json(challenger.params),
        "training_seconds": challenger.timings["training_and_threshold"],
    }


def _search(challenger: ChallengerModel) -> dict[str, object]:
    """Returns the comparisons of a search and the learning curve of its choice; empty if the run made no search."""
    search = challenger.settings.search
    if search is None:
        return {}
    rows: list[dict[str, Cell]] = [
        {
            "change": tried.change,
            "macro-F1": format_metric(tried.macro_f1),
            "gain": "" if tried.gain is None else f"{tried.gain.value:+.3f}",
            "p": "" if tried.gain is None else f"{tried.gain.p_value:.3f}",
            "verdict": tried.verdict,
        }
        for tried in search.tried
    ]
    points = [point for point in search.learning_curve if point.macro_f1 is not None]
    return {"search": table(rows), **({"learning_curve": learning_curve_picture(points)} if points else {})}


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


def difference_row(name: str, champion: float | None, challenger: float | None) -> dict[str, Cell]:
    """Returns a row of a comparison: the metric of both models, and challenger minus champion."""
    delta = None if champion is None or challenger is None else challenger - champion
    return {
        "metric": name,
        "champion": format_metric(champion),
        "challenger": format_metric(challenger),
        "change": "-" if delta is None else f"{delta:+.4f}",
    }


def _get(report: EvaluationReport | None, name: str) -> float | None:
    return None if report is None else getattr(report, name)
