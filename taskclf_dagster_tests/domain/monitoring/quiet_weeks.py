"""Simulated weeks of one person for the tests of drift: minutes depend on each other, and the windows of a day are alike."""

import numpy as np
import pandas as pd

from taskclf_dagster.domain.data.feature_schema import FeatureSchema
from taskclf_dagster.domain.monitoring.drift_confirmation import DriftEvaluation, DriftState, confirm
from taskclf_dagster.domain.monitoring.drift_inputs import InputDrift, compare_inputs
from taskclf_dagster.domain.monitoring.drift_thresholds import draw_blocks
from taskclf_dagster.domain.monitoring.window_sets import WindowSet
from taskclf_dagster_tests.scenario import AS_OF, DAY, retrain_config

INPUTS = tuple(f"input_{number}" for number in range(8))
SCHEMA = FeatureSchema("v1", dict.fromkeys(INPUTS, "float"), INPUTS, ())
REFERENCE_DAYS, WEEK, DAY_WINDOWS = 30, 7, 240
MINUTE_CORRELATION = 0.95
DAY_SD = 0.5
"""Standard deviation of the mean of a day, where that of the minutes of a day is 1."""

SETTINGS = retrain_config().drift


def draw_days(days: int, rng: np.random.Generator) -> np.ndarray:
    """Values of shape (days, windows, inputs): an autoregressive process within each day, and a mean of each day."""
    noise = rng.normal(size=(days, DAY_WINDOWS, len(INPUTS))) * np.sqrt(1 - MINUTE_CORRELATION**2)
    values = np.empty_like(noise)
    values[:, 0] = rng.normal(size=(days, len(INPUTS)))
    for minute in range(1, DAY_WINDOWS):
        values[:, minute] = MINUTE_CORRELATION * values[:, minute - 1] + noise[:, minute]
    return values + DAY_SD * rng.normal(size=(days, 1, len(INPUTS)))


def window_set(values: np.ndarray, first_day: int, user: str = "alice") -> WindowSet:
    days = len(values)
    offsets = np.repeat(np.arange(first_day, first_day + days) * 1440, DAY_WINDOWS) + np.tile(np.arange(DAY_WINDOWS) + 540, days)
    rows = pd.DataFrame(values.reshape(-1, len(INPUTS)), columns=list(INPUTS))
    rows["user_id"] = pd.Categorical([user] * len(rows))
    rows["bucket_start_ts"] = (pd.Timestamp(AS_OF) + pd.to_timedelta(offsets, "min")).as_unit("us")
    return WindowSet(rows)


def judge(reference: WindowSet, current: WindowSet) -> list[InputDrift]:
    blocks = draw_blocks(reference.days, current.days, seed=1)
    return compare_inputs(reference, current, blocks, schema=SCHEMA, settings=SETTINGS)


def is_confirmed(month: np.ndarray, days: np.ndarray) -> bool:
    """Judges the week, and the week a day later, as the job does on two days in a row.

    Args:
        month: the days of the reference.
        days: the eight days after it.
    """
    reference, state, confirmed = window_set(month, 0), DriftState(), False
    for later in (0, 1):
        found = judge(reference, window_set(days[later : later + WEEK], REFERENCE_DAYS + later))
        evaluation = DriftEvaluation(
            as_of=AS_OF + (REFERENCE_DAYS + WEEK + later) * DAY,
            model="m",
            drifted=tuple(each.name for each in found if each.has_drifted),
            dead=tuple(each.name for each in found if each.is_dead),
        )
        evaluation, inputs = confirm(state, evaluation, settings=SETTINGS)
        state, confirmed = state.with_evaluation(evaluation), bool(inputs)
    return confirmed
