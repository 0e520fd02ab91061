"""Drift of model inputs: numeric ones that have drifted or are dead, categorical ones with values that the model does not know."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.config.drift_settings import DriftSettings
from taskclf_dagster.config.settings import ClockInput
from taskclf_dagster.domain.data.feature_schema import FeatureSchema
from taskclf_dagster.domain.models.training_inputs import UNKNOWN_CATEGORY_FREQ_THRESHOLD
from taskclf_dagster.domain.monitoring.drift_statistics import (
    compare_distributions,
    compute_psi,
    compute_share,
    count_by_group,
    find_cuts,
    put_into_bins,
    reaches,
)
from taskclf_dagster.domain.monitoring.drift_thresholds import calibrate_threshold
from taskclf_dagster.domain.monitoring.window_sets import WindowSet
from taskclf_dagster.domain.storage.records import Record

CLOCK_INPUTS = frozenset(get_args(ClockInput))
"""Inputs that follow from the time alone: shown, but no evidence of drift."""


_Float = npt.NDArray[np.float64]


_Bool = npt.NDArray[np.bool_]


class InputDrift(Record):
    """A numeric or boolean model input in the reference and in the judged windows.

    Attributes:
        name: of the input.
        psi: population stability index, missing values in a bin of their own.
        threshold: of the index.
        ks_statistic, ks_p_value: of Kolmogorov and Smirnov, information only; None where one side has no value.
        missing_reference, missing_current: share of windows without a value [0 to 1].
        missing_threshold: the increase of that share from which on the input is dead.
        is_constant: True if it has one value now, and had several on every day of the reference.
        has_drifted: True if the index reaches its threshold; never for inputs that follow from the time alone.
        is_dead: True if too much is missing, or it is constant.
        users: those of whom the same holds alone; everyone with windows if it only holds for all together.
    """

    name: str
    psi: float
    threshold: float
    ks_statistic: float | None
    ks_p_value: float | None
    missing_reference: float
    missing_current: float
    missing_threshold: float
    is_constant: bool
    has_drifted: bool
    is_dead: bool
    users: tuple[str, ...] = ()


class CategoryDrift(Record):
    """A categorical model input: the share of windows whose value is not in the model's vocabulary, or is missing.

    Attributes:
        name: of the input.
        unseen_reference, unseen_current: that share [0 to 1].
        threshold: the largest increase of it.
        is_flagged: True if the increase reaches the threshold.
        users: those of whom the same holds alone; everyone with windows if it only holds for all together.
    """

    name: str
    unseen_reference: float
    unseen_current: float
    threshold: float
    is_flagged: bool
    users: tuple[str, ...] = ()


def list_watched_inputs(schema: FeatureSchema) -> tuple[str, ...]:
    """Returns the numeric and boolean model inputs. Title sketches are left out: single numbers of a hash, of which some always differ."""
    return tuple(name for name in schema.model_inputs if name not in schema.categorical and "_sketch_" not in name)


def compare_inputs(
    reference: WindowSet, current: WindowSet, blocks: _Float, *, schema: FeatureSchema, settings: DriftSettings
) -> list[InputDrift]:
    """Compares every watched input.

    Args:
        reference: the windows that the model has learned from.
        current: the windows that are judged.
        blocks: blocks of days of the reference, from `draw_blocks`.
        schema: of both.
        settings: the thresholds.
    """
    return [_compare_input(name, reference, current, blocks, schema, settings) for name in list_watched_inputs(schema)]


def _compare_input(
    name: str, reference: WindowSet, current: WindowSet, blocks: _Float, schema: FeatureSchema, settings: DriftSettings
) -> InputDrift:
    before, now = reference.numbers(name), current.numbers(name)
    cuts = find_cuts(before)
    size = len(cuts) + 2
    codes_before, codes_now = put_into_bins(before, cuts), put_into_bins(now, cuts)
    by_day = count_by_group(codes_before, reference.day, groups=reference.days, size=size)
    counts, total = np.bincount(codes_now, minlength=size), by_day.sum(axis=0)
    missing = partial(_missing_increase, position=size - 1)
    calibrate = partial(calibrate_threshold, by_day, blocks, quantile=settings.noise_quantile)
    threshold, missing_threshold = calibrate(compute_psi, floor=settings.min_psi), calibrate(missing, floor=settings.max_missing_increase)
    psi, increase = float(compute_psi(total, counts)), float(missing(total, counts))
    is_evidence = name not in CLOCK_INPUTS
    is_constant = is_evidence and schema.columns[name] == "float" and _stopped_changing(before, reference.day, now)
    has_drifted = is_evidence and bool(reaches(psi, threshold))
    is_dead = is_evidence and (is_constant or bool(reaches(increase, missing_threshold)))

    def applies(theirs_before: _Bool, theirs_now: _Bool) -> bool:
        pair = np.bincount(codes_before[theirs_before], minlength=size), np.bincount(codes_now[theirs_now], minlength=size)
        return bool(reaches(compute_psi(*pair), threshold) or reaches(missing(*pair), missing_threshold))

    test = compare_distributions(before, now)
    return InputDrift(
        name=name,
        psi=psi,
        threshold=threshold,
        ks_statistic=None if test is None else test.statistic,
        ks_p_value=None if test is None else test.p_value,
        missing_reference=float(compute_share(total, size - 1)),
        missing_current=float(compute_share(counts, size - 1)),
        missing_threshold=missing_threshold,
        is_constant=is_constant,
        has_drifted=has_drifted,
        is_dead=is_dead,
        users=find_affected_users(reference, current, applies) if has_drifted or is_dead else (),
    )


def compare_categories(
    reference: WindowSet, current: WindowSet, blocks: _Float, *, vocabularies: Mapping[str, list[str]], settings: DriftSettings
) -> list[CategoryDrift]:
    """Compares the categorical inputs with the model's vocabularies; blocks of the reference with what their other days would teach."""
    return [_compare_category(name, set(words), reference, current, blocks, settings) for name, words in vocabularies.items()]


def _compare_category(
    name: str, known: set[str], reference: WindowSet, current: WindowSet, blocks: _Float, settings: DriftSettings
) -> CategoryDrift:
    before, now = (_is_unseen(part.rows[name], known) for part in (reference, current))
    values = reference.rows[name].cat
    codes, size = values.codes.to_numpy().astype(np.int64), len(values.categories) + 1
    by_day = count_by_group(np.where(codes < 0, size - 1, codes), reference.day, groups=reference.days, size=size)
    threshold = calibrate_threshold(by_day, blocks, _unseen_increase, floor=settings.max_unseen_increase, quantile=settings.noise_quantile)
    is_flagged = bool(reaches(now.mean() - before.mean(), threshold))

    def applies(theirs_before: _Bool, theirs_now: _Bool) -> bool:
        return bool(reaches(now[theirs_now].mean() - before[theirs_before].mean(), threshold))

    return CategoryDrift(
        name=name,
        unseen_reference=float(before.mean()),
        unseen_current=float(now.mean()),
        threshold=threshold,
        is_flagged=is_flagged,
        users=find_affected_users(reference, current, applies) if is_flagged else (),
    )


def find_affected_users(reference: WindowSet, current: WindowSet, applies: Callable[[_Bool, _Bool], bool]) -> tuple[str, ...]:
    """Returns the users with judged windows of whom something holds alone, else all of them.

    Args:
        reference: the windows that the model has learned from, or the predictions for them.
        current: the windows that are judged.
        applies: takes masks of a user's windows in both, and returns True if it holds.
    """
    found = tuple(user for user in current.users if applies(reference.of_user(user), current.of_user(user)))
    return found or tuple(current.users)


def _missing_increase(reference: npt.ArrayLike, current: npt.ArrayLike, *, position: int) -> _Float:
    return compute_share(current, position) - compute_share(reference, position)


def _stopped_changing(before: _Float, day: npt.NDArray[np.int64], now: _Float) -> bool:
    """Returns True if there is one value now, and were several on every day of the reference."""
    known = now[~np.isnan(now)]
    if not len(known) or known.min() != known.max():
        return False
    of_days = pd.Series(before).groupby(day)
    return bool((of_days.max() > of_days.min()).all())


def _is_unseen(values: pd.Series, known: set[str]) -> _Bool:
    """Returns True where a value is missing or not in a vocabulary, shape (windows,)."""
    unseen = np.array([*(str(value) not in known for value in values.cat.categories), True])
    return unseen[values.cat.codes.to_numpy()]


def _unseen_increase(others: _Float, block: _Float) -> _Float:
    """Returns how much more common values are in blocks that the other days would not teach, shape (draws,); the last is missing."""
    unseen = others < UNKNOWN_CATEGORY_FREQ_THRESHOLD
    unseen[..., -1] = True
    shares = [(counts * unseen).sum(axis=-1) / np.maximum(counts.sum(axis=-1), 1) for counts in (others, block)]
    return shares[1] - shares[0]
