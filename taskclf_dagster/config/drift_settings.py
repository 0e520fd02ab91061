"""The settings of the drift check, with bounds on every field; the values are in `configs/retrain.yaml`."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class DriftSettings(BaseModel):
    """Length of the compared time, thresholds of drift, and retention of its reports; each key is explained in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    days: Annotated[int, Field(ge=2, le=90)]
    min_windows: Annotated[int, Field(ge=1, le=1_000_000)]
    min_psi: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
    noise_quantile: Annotated[float, Field(ge=0.5, le=1, allow_inf_nan=False)]
    min_inputs: Annotated[int, Field(ge=1, le=1000)]
    max_missing_increase: _Share
    max_unseen_increase: _Share
    max_class_shift: _Share
    max_reject_increase: _Share
    max_entropy_ratio: Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)]
    keep_days: Annotated[int, Field(ge=1, le=3650)]
