"""Calibrators: functions that make the probabilities of a model agree with how often it is right, in taskclf's file format.

A calibrator is identity, temperature or isotonic (contract, section 12). They are fitted in `calibrator_fitting`; a folder of them, with
one for each user, is a `calibrator_store`.
"""

from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.validation_text import describe_validation_error

_Float = npt.NDArray[np.float64]


SMALLEST = 1e-12
"""Probabilities below it are raised to it before a logarithm and after an isotonic regression, as in taskclf."""


_Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _CalibratorFile(BaseModel):
    """Base of the files that taskclf writes, too: unknown keys are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class IdentityCalibrator(_CalibratorFile):
    """Leaves probabilities as they are."""

    type: Literal["identity"] = "identity"

    def calibrate(self, probabilities: _Float) -> _Float:
        """Returns the probabilities, shape (n, 8)."""
        return probabilities


class TemperatureCalibrator(_CalibratorFile):
    """Divides log probabilities by a temperature: above 1 the model becomes less sure, below 1 more sure. The order of labels stays.

    Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, ICML 2017. There, logits are divided; for a softmax they
    differ from log probabilities by a constant in each row, so that both give the same.
    """

    type: Literal["temperature"] = "temperature"
    temperature: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]

    def calibrate(self, probabilities: _Float) -> _Float:
        """Returns the softmax of log(probabilities) / temperature, shape (n, 8); the very same probabilities at temperature 1."""
        if self.temperature == 1:
            return probabilities
        scaled = np.log(np.clip(probabilities, SMALLEST, None)) / self.temperature
        odds = np.exp(scaled - scaled.max(axis=1, keepdims=True, initial=-np.inf))
        return odds / odds.sum(axis=1, keepdims=True)


class IsotonicRegressor(_CalibratorFile):
    """A monotone function of the probability of one label, linear between thresholds and constant outside of them.

    Attributes:
        X_thresholds_: probabilities of the model, rising [0 to 1], shape (k,).
        y_thresholds_: their calibrated values [0 to 1], shape (k,).
        X_min_, X_max_: first and last of X_thresholds_; taskclf writes them and does not read them.
        increasing_: True if the function rises.
        out_of_bounds: clip: the ends hold outside of the thresholds. With the other values of scikit-learn there would be no probability.
    """

    X_thresholds_: Annotated[list[_Probability], Field(min_length=1)]
    y_thresholds_: Annotated[list[_Probability], Field(min_length=1)]
    X_min_: _Probability | None = None
    X_max_: _Probability | None = None
    increasing_: bool = True
    out_of_bounds: Literal["clip"] = "clip"

    @model_validator(mode="after")
    def _is_a_monotone_function(self) -> Self:
        x, y = np.array(self.X_thresholds_), np.array(self.y_thresholds_)
        if len(x) != len(y):
            msg = f"X_thresholds_ has {len(x)} values and y_thresholds_ has {len(y)}; they must be as many"
            raise ValueError(msg)
        if (np.diff(x) <= 0).any():
            msg = "X_thresholds_ must rise from each value to the next"
            raise ValueError(msg)
        if (np.diff(y) * (1 if self.increasing_ else -1) < 0).any():
            msg = f"y_thresholds_ must not {'fall' if self.increasing_ else 'rise'}: increasing_ is {self.increasing_}"
            raise ValueError(msg)
        return self


class IsotonicCalibrator(_CalibratorFile):
    """One monotone function for each label against all others; the values of a row are divided by their sum.

    Zadrozny and Elkan, Transforming Classifier Scores into Accurate Multiclass Probability Estimates, KDD 2002.
    """

    type: Literal["isotonic"] = "isotonic"
    regressors: Annotated[list[IsotonicRegressor], Field(min_length=len(LABELS), max_length=len(LABELS))]

    def calibrate(self, probabilities: _Float) -> _Float:
        """Returns the calibrated probabilities, shape (n, 8), columns in the order of LABELS, as the regressors are."""
        columns = [np.interp(probabilities[:, i], each.X_thresholds_, each.y_thresholds_) for i, each in enumerate(self.regressors)]
        values = np.clip(np.column_stack(columns), SMALLEST, None)
        return values / values.sum(axis=1, keepdims=True)


Calibrator = IdentityCalibrator | TemperatureCalibrator | IsotonicCalibrator


CalibrationMethod = Literal["temperature", "isotonic"]


_FILE: TypeAdapter[Calibrator] = TypeAdapter(Annotated[Calibrator, Field(discriminator="type")])


def parse_calibrator(document: dict[str, object]) -> Calibrator:
    """Returns the calibrator of a file; one without a type is identity, as in taskclf.

    Raises:
        ValueError: the type is not known, or a value is missing or out of its bounds; the message says which.
    """
    try:
        return _FILE.validate_python({"type": "identity", **document})
    except ValidationError as error:
        raise ValueError(describe_validation_error(error)) from error


def calibrator_document(calibrator: Calibrator) -> dict[str, object]:
    """Returns the content of a calibrator's file; `parse_calibrator` gives the same calibrator, to the last bit."""
    return calibrator.model_dump(mode="json", exclude_none=True)
