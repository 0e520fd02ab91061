"""The floors of the candidate gates beside a champion that misses them itself: what `floor_policy: improve` allows.

Both models are judged on the windows of their comparison, which neither was trained on, by the counts that a receipt holds: a champion
would have a flattering figure on windows that it learned. The bounds of the reject rate are no floor and always hold. They have no better
direction, the threshold that rejects is chosen by the retrain whatever the home is like, and a model that rejects nearly everything could
buy precision with it.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feature_schema import BREAK_IDLE, LABELS
from taskclf_dagster.domain.decision.gate import BesideChampion, GateRule, Judged, RegressionGate, floor, judge_gate
from taskclf_dagster.domain.evaluation.block_counts import CHALLENGER, CHAMPION, BlockSums, PairedCounts
from taskclf_dagster.shown_text import counted

FLOORS = (
    "macro_f1",
    "weighted_f1",
    "breakidle_precision",
    "breakidle_recall",
    "no_class_below_50_precision",
    "seen_user_f1",
    "unseen_user_f1",
)
"""Candidate gates with a lower bound that comes from the settings."""


class _Figures(NamedTuple):
    """Number of windows, and a metric by model, shape (2,), NaN where it is undefined."""

    windows: int
    values: npt.NDArray[np.float64]


def judge_floors(
    gates: Sequence[RegressionGate], sums: BlockSums | None, *, held_out: Sequence[str], config: RetrainConfig
) -> list[RegressionGate]:
    """Judges the floors that a challenger misses again, beside the champion, if `floor_policy` is improve.

    Such a gate passes if the champion misses the floor, too, and the challenger is not below it, both on the windows of the comparison.
    Without a comparison, or with fewer than `min_windows`, the floors hold.

    Args:
        gates: the candidate gates as they are judged on the challenger alone.
        sums: counts of both models on the windows of their comparison; None without a champion to compare with.
        held_out: users that were held out of training.
        config: the policy.

    Returns:
        All gates in their order.
    """
    if config.evaluation.floor_policy == "strict":
        return list(gates)
    return [
        _judge_beside_champion(gate, gate.observed, gate.threshold, sums, held_out, config)
        if gate.name in FLOORS and gate.status == "FAIL" and gate.observed is not None and isinstance(gate.threshold, float)
        else gate
        for gate in gates
    ]


def judged_alone(gate: RegressionGate) -> RegressionGate:
    """Returns a gate as it was before it was judged beside the champion: such a gate had failed."""
    if gate.beside is None or gate.observed is None or not isinstance(gate.threshold, float):
        return gate
    return gate.model_copy(update={"status": "FAIL", "beside": None, "detail": floor(gate.observed, gate.threshold).detail})


def _judge_beside_champion(
    gate: RegressionGate,
    observed: float,
    threshold: float,
    sums: BlockSums | None,
    held_out: Sequence[str],
    config: RetrainConfig,
) -> RegressionGate:
    missed = Judged(observed, False, gate.detail)
    judge = partial(_judge, gate.name, missed, threshold, sums, held_out, config)
    return judge_gate(GateRule(gate.name, gate.unit, threshold, judge), gate.kind)


def _judge(name: str, missed: Judged, threshold: float, sums: BlockSums | None, held_out: Sequence[str], config: RetrainConfig) -> Judged:
    if sums is None:
        return missed._replace(detail=f"{missed.detail}; the floor holds, as there is no champion to compare with")
    windows, fewest = int(sums.by_block().support.sum()), config.comparison.min_windows
    if windows < fewest:
        few = f"{counted(windows, 'window')} can be compared with the champion, and min_windows is {fewest}"
        return missed._replace(detail=f"{missed.detail}; the floor holds, as {few}")
    figures = _measure(name, sums, config.evaluation.min_class_windows, held_out)
    if figures is None or not np.isfinite(figures.values).all():
        return missed._replace(detail=f"{missed.detail}; the floor holds, as there is no such figure of both models on the same windows")
    ours, theirs = figures.values.tolist()
    beside = BesideChampion(windows=figures.windows, challenger=ours, champion=theirs)
    reached, not_below = floor(theirs, threshold), floor(ours, theirs)
    where = f"on the same {counted(figures.windows, 'window')}, which neither was trained on,"
    if reached.passed:
        detail = f"below the floor, which the champion reaches: {missed.detail}; {where} the champion has {reached.detail}"
    else:
        claim = "not below the champion" if not_below.passed else "and below the champion"
        detail = f"below the floor, {claim}: {missed.detail}; {where} {not_below.detail} of the champion"
    return Judged(missed.observed, not reached.passed and not_below.passed, detail, beside)


def _measure(name: str, sums: BlockSums, fewest: int, held_out: Sequence[str]) -> _Figures | None:
    """Returns the metric that a gate judges, of both models; None if nothing is judged."""
    blocks = sums.by_block()
    judged = np.asarray(blocks.total.support >= fewest)
    if name in ("seen_user_f1", "unseen_user_f1"):
        held = np.isin(sums.users, list(held_out))[[block.user for block in sums.blocks]]
        blocks = blocks.take(held if name == "unseen_user_f1" else ~held)
        judged &= np.asarray(blocks.total.support > 0)
    total = blocks.total
    windows = int(total.support.sum())
    if name.startswith("breakidle_"):
        judged &= np.array([label == BREAK_IDLE for label in LABELS])
    if not judged.any():
        return None
    total = total.take_labels(judged)
    if name == "weighted_f1":
        return _Figures(windows, np.average(total.f1(), axis=0, weights=total.support))
    if name == "breakidle_recall":
        return _Figures(windows, total.correct[0] / total.support[0])
    if name in ("breakidle_precision", "no_class_below_50_precision"):
        return _Figures(windows, _lowest_precision(total))
    return _Figures(windows, total.f1().mean(axis=0))


def _lowest_precision(total: PairedCounts) -> npt.NDArray[np.float64]:
    """Returns the lowest precision by model, shape (2,).

    A label that the champion never predicts is left out, as it is where the floor is missed; one that the challenger never predicts makes
    its figure NaN, because the gate could not pass either.
    """
    precision = np.divide(total.correct, total.predicted, out=np.full(total.correct.shape, np.nan), where=total.predicted > 0)
    theirs = precision[:, CHAMPION]
    known = theirs[~np.isnan(theirs)]
    return np.array([precision[:, CHALLENGER].min(), known.min() if len(known) else np.nan])
