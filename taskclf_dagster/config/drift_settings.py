"""The settings of the drift check, with bounds on every field; the values are in `configs/retrain.yaml`."""

from typing import Annotated

from pydantic import Field

from taskclf_dagster.config.setting_types import Days, Settings, Share


class DriftSettings(Settings):
    """Length of the compared time, thresholds of drift, and retention of its reports; each key is explained in the file."""

    days: Annotated[int, Field(ge=2, le=90)]
    min_windows: Annotated[int, Field(ge=1, le=1_000_000)]
    min_psi: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
    noise_quantile: Annotated[float, Field(ge=0.5, le=1, allow_inf_nan=False)]
    min_inputs: Annotated[int, Field(ge=1, le=1000)]
    max_missing_increase: Share
    max_unseen_increase: Share
    max_class_shift: Share
    max_reject_increase: Share
    max_entropy_ratio: Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)]
    keep_days: Days
