"""The settings of what watches the active model, with bounds on every field; those of drift are in `drift_settings`."""

from typing import Annotated, Literal

from pydantic import Field

from taskclf_dagster.config.setting_types import Days, Settings, Share


class CalibrationThresholds(Settings):
    """Labels that a calibrator needs, and the gain in Brier score with which it is applied.

    Attributes:
        min_windows, min_days, min_labels: labelled windows, days (UTC) and different labels of a user, or of all users together.
        fit_share: share of each user's windows, the earlier ones, that a calibrator is fitted on; the later ones judge it.
        min_brier_gain: smallest gain on the later windows, as a share of the score without the calibrator [0 to 1].
    """

    min_windows: Annotated[int, Field(ge=10, le=1_000_000)]
    min_days: Days
    min_labels: Annotated[int, Field(ge=2, le=8)]
    fit_share: Annotated[float, Field(ge=0.1, le=0.9)]
    min_brier_gain: Share


class CalibratingSettings(Settings):
    """Calibration of the active model."""

    calibration_method: Literal["temperature", "isotonic", "off"]
    calibration: CalibrationThresholds


class LiveSettings(Settings):
    """Performance of the active model on labels that arrive after it scored the windows."""

    live_days: Annotated[int, Field(ge=1, le=365)]
    max_live_drop: Share
    live_trigger: bool


class MonitoringSettings(Settings):
    """Scores of the active model, and what follows from them."""

    score_schedule: Literal["hourly", "daily", "off"]
    keep_score_days: Days
