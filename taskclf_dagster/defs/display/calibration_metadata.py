"""Metadata of the asset calibrator_store. Dagster concept: metadata."""

from typing import Any

from taskclf_dagster.defs.display.metadata import Cell, table
from taskclf_dagster.domain.evaluation.calibrator_fitting import CalibratorFit
from taskclf_dagster.domain.monitoring.calibration import Calibration
from taskclf_dagster.home import Home


def calibration_metadata(home: Home, record: Calibration) -> dict[str, Any]:
    """Returns model, thresholds and a row for each calibrator: what it was fitted and judged on, and what it changed."""
    return {
        "model_id": record.model_id or "none",
        "result": record.reason,
        "reject_threshold": record.reject_threshold or 0.0,
        "previous_threshold": record.previous_threshold or 0.0,
        "predictions_of_folds": record.folds,
        "newer_windows": record.newer,
        "users_calibrated_apart": len(record.users),
        "calibrators": table([_row(fit) for fit in record.fits]),
        "store": record.store or "none",
        "record": record.sequence or 0,
        "home": home.display_name,
    }


def _row(fit: CalibratorFit) -> dict[str, Cell]:
    return {
        "user": "everyone" if fit.user_id is None else fit.user_id,
        "calibrator": fit.type if fit.temperature is None else f"{fit.type} {fit.temperature:.3f}",
        "fitted on": fit.fitted,
        "judged on": fit.judged,
        "Brier before": None if fit.brier_before is None else round(fit.brier_before, 4),
        "Brier after": None if fit.brier_after is None else round(fit.brier_after, 4),
        "why": fit.reason,
    }
