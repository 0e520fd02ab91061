"""Compares two models on the windows that both predicted and neither was trained on, with the significance of the difference.

Each model is scored in `scoring` and leakage is found in `leakage`; the statistics are in `significance`. Which difference is allowed is
decided in `decision.comparative_gates`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.config.settings import ComparisonSettings
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.evaluation.block_counts import BlockSums, Flips, count_flips, sum_blocks
from taskclf_dagster.domain.evaluation.leakage import Exclusion, exclude_leaked
from taskclf_dagster.domain.evaluation.scored_windows import ScoredWindows
from taskclf_dagster.domain.evaluation.significance import SignificanceResult, assess_significance
from taskclf_dagster.domain.evaluation.slices import Known, SliceSums, find_slice_inconsistencies, sum_slices
from taskclf_dagster.domain.storage.records import Record, sorted_json

SMALL_DIFFERENCE = 0.05
"""The difference in macro-F1 for which the evidence says how many labelled user-days it would take to see it."""


class Comparison(Record):
    """Challenger and champion on the same windows [macro-F1, 0 to 1, higher is better].

    Attributes:
        windows: number of windows compared: those that both predicted and neither was trained on.
        left_out: number of test windows that one of the two could not predict.
        exclusion: the windows that were excluded because of leakage.
        judged_labels: labels with enough true windows among those compared.
        macro_f1_delta: challenger minus champion; None if no label is judged.
        sums: counts of both models by user and block, from which everything but the ids and the exclusion follows.
        flips: windows that only one of the two predicts correctly.
        seed: of the swaps; made of the hashes of dataset, models and policy.
        evidence: the significance of the difference.
        slices: counts of both models by slice and user-day; None in receipts that are older, and of predictions that are.
    """

    challenger_id: str
    champion_id: str
    windows: int
    left_out: int
    exclusion: Exclusion
    judged_labels: list[str]
    challenger_macro_f1: float | None
    champion_macro_f1: float | None
    macro_f1_delta: float | None
    f1_delta_by_label: dict[str, float]
    sums: BlockSums
    flips: Flips
    seed: int
    evidence: SignificanceResult
    slices: SliceSums | None = None


class AnchorComparison(Record):
    """The challenger compared with an anchor model, on windows that neither was trained on.

    Attributes:
        ran_at: when the anchor became active.
        windows: number of windows compared; 0 if the anchor could not be evaluated.
        difference: challenger minus anchor in macro-F1; None if too few windows are left.
        detail: the result in one sentence.
    """

    model_id: str
    ran_at: datetime
    windows: int
    challenger_macro_f1: float | None
    anchor_macro_f1: float | None
    difference: float | None
    detail: str


def compare(
    rows: pd.DataFrame,
    challenger: ScoredWindows,
    champion: ScoredWindows,
    *,
    settings: ComparisonSettings,
    min_class_windows: int,
    seed: int,
) -> Comparison:
    """Compares two models, matched by window.

    Args:
        rows: user_id (category) and bucket_start_ts (UTC) of the test windows; they are sliced if it is from `describe_windows`.
        challenger: its predictions on some of them, in any order.
        champion: likewise.
        settings: of the comparison.
        min_class_windows: a label with fewer true windows is not judged.
        seed: of the swaps.
    """
    counts = count_comparison(rows, challenger, champion, settings=settings)
    return complete_comparison(
        challenger_id=challenger.distance.model_id,
        champion_id=champion.distance.model_id,
        left_out=counts.left_out,
        exclusion=counts.exclusion,
        sums=counts.sums,
        flips=counts.flips,
        slices=counts.slices,
        seed=seed,
        settings=settings,
        min_class_windows=min_class_windows,
    )


class ComparisonCounts(NamedTuple):
    """The counts from which the rest of a comparison follows; see `Comparison`."""

    left_out: int
    exclusion: Exclusion
    sums: BlockSums
    flips: Flips
    slices: SliceSums | None


def count_comparison(
    rows: pd.DataFrame, challenger: ScoredWindows, champion: ScoredWindows, *, settings: ComparisonSettings
) -> ComparisonCounts:
    """Counts two models' predictions by user and block, and by slice, for the arguments of `compare`."""
    pair, exclusion = _align(rows, challenger, champion, max_share=settings.max_leaked_share)
    flips = count_flips(pair.true, pair.first, pair.second)
    slices = sum_slices(pair.rows, pair.true, pair.first, pair.second, pair.knows)
    return ComparisonCounts(len(rows) - exclusion.windows, exclusion, pair.sum_blocks(), flips, slices)


def complete_comparison(
    *,
    challenger_id: str,
    champion_id: str,
    left_out: int,
    exclusion: Exclusion,
    sums: BlockSums,
    flips: Flips,
    slices: SliceSums | None,
    seed: int,
    settings: ComparisonSettings,
    min_class_windows: int,
) -> Comparison:
    """Computes everything that follows from the counts; equal arguments give an equal record, wherever they were stored in between."""
    support, f1 = f1_by_label(sums)
    judged = support >= min_class_windows
    labels = [LABELS[i] for i in np.flatnonzero(judged)]
    ours_f1, theirs_f1 = (_mean(scores, judged) for scores in f1)
    return Comparison(
        challenger_id=challenger_id,
        champion_id=champion_id,
        windows=flips.windows,
        left_out=left_out,
        exclusion=exclusion,
        judged_labels=labels,
        challenger_macro_f1=ours_f1,
        champion_macro_f1=theirs_f1,
        macro_f1_delta=None if ours_f1 is None or theirs_f1 is None else ours_f1 - theirs_f1,
        f1_delta_by_label={LABELS[i]: float(f1[0, i] - f1[1, i]) for i in np.flatnonzero(judged)},
        sums=sums,
        flips=flips,
        slices=slices,
        seed=seed,
        evidence=assess_significance(
            sums,
            judged_labels=labels,
            significance=settings.significance,
            min_user_days=settings.min_user_days,
            margin=settings.clearly_worse_margin,
            small_difference=SMALL_DIFFERENCE,
            seed=seed,
        ),
    )


def complete_again(comparison: Comparison, *, seed: int, settings: ComparisonSettings, min_class_windows: int) -> Comparison:
    """Computes a comparison again from its counts, see `complete_comparison`."""
    return complete_comparison(
        challenger_id=comparison.challenger_id,
        champion_id=comparison.champion_id,
        left_out=comparison.left_out,
        exclusion=comparison.exclusion,
        sums=comparison.sums,
        flips=comparison.flips,
        slices=comparison.slices,
        seed=seed,
        settings=settings,
        min_class_windows=min_class_windows,
    )


def compare_with_anchor(
    rows: pd.DataFrame,
    challenger: ScoredWindows,
    anchor: ScoredWindows,
    *,
    ran_at: datetime,
    settings: ComparisonSettings,
    min_class_windows: int,
) -> AnchorComparison:
    """Compares macro-F1 with that of an anchor model; undecided if fewer than `min_windows` are left that neither was trained on."""
    pair, exclusion = _align(rows, challenger, anchor, max_share=settings.max_leaked_share)
    windows = exclusion.remaining
    support, f1 = f1_by_label(pair.sum_blocks())
    ours_f1, anchor_f1 = (_mean(scores, support >= min_class_windows) for scores in f1)
    difference = None if ours_f1 is None or anchor_f1 is None or windows < settings.min_windows else ours_f1 - anchor_f1
    detail = f"{windows} windows; {exclusion.summary}" if difference is None else f"{difference:+.4f} on {windows} windows"
    return AnchorComparison(
        model_id=anchor.distance.model_id,
        ran_at=ran_at,
        windows=windows,
        challenger_macro_f1=ours_f1,
        anchor_macro_f1=anchor_f1,
        difference=difference,
        detail=detail,
    )


def unscored_anchor(model_id: str, *, ran_at: datetime, problem: str) -> AnchorComparison:
    """Returns the record of an anchor model that could not be evaluated; it prevents no promotion."""
    return AnchorComparison(
        model_id=model_id, ran_at=ran_at, windows=0, challenger_macro_f1=None, anchor_macro_f1=None, difference=None, detail=problem
    )


def find_inconsistencies(comparison: Comparison) -> list[str]:
    """Finds counts of a comparison that contradict each other, whatever was computed from them."""
    exclusion, flips = comparison.exclusion, comparison.flips
    cells = np.array(comparison.sums.cells, dtype=np.int64).reshape(-1, 7)
    support, ours, ours_named, theirs, theirs_named = cells[:, 2:].T
    by_label = np.zeros(len(LABELS), dtype=np.int64)
    np.add.at(by_label, cells[:, 1], ours - theirs)
    net = {label: flips.positive[label] - flips.negative[label] for label in LABELS}
    claims = {
        "the windows excluded and those that remain do not add up": exclusion.excluded + exclusion.remaining == exclusion.windows,
        "the windows that remain are not those compared": exclusion.remaining == comparison.windows == int(support.sum()),
        "more windows are right than there are": bool(
            ((ours <= np.minimum(support, ours_named)) & (theirs <= np.minimum(support, theirs_named)) & (cells >= 0).all(axis=1)).all()
        ),
        "the flips are not the difference of what both have right": net == dict(zip(LABELS, by_label.tolist(), strict=True)),
    }
    wrong = [claim for claim, holds in claims.items() if not holds]
    if comparison.slices is not None:
        wrong += find_slice_inconsistencies(comparison.slices, comparison.sums)
    return [f"the comparison contradicts itself: {claim}" for claim in wrong]


def derive_seed(dataset_digest: str, models: Sequence[Mapping[str, str]], policy: Mapping[str, object]) -> int:
    """Returns the seed of a comparison, 0 to 2**32 - 1, from the hashes of what is compared.

    Args:
        dataset_digest: of the snapshot.
        models: SHA-256 by file of the champion's and of the challenger's bundle; only model.txt counts, because metadata has timings.
        policy: `RetrainConfig.policy`; floats must be floats, because 1.0 and 1 give different seeds.
    """
    parts = [dataset_digest, *(files.get("model.txt", "") for files in models), sorted_json(dict(policy))]
    return int(hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8], 16)


class _Pair(NamedTuple):
    """The windows compared, their labels, and of both models the predictions and which categories they know, all of shape (n,)."""

    rows: pd.DataFrame
    true: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    knows: tuple[Known | None, Known | None]

    def sum_blocks(self) -> BlockSums:
        return sum_blocks(self.rows["user_id"], self.rows["bucket_start_ts"], self.true, self.first, self.second)


def _align(rows: pd.DataFrame, first: ScoredWindows, second: ScoredWindows, *, max_share: float) -> tuple[_Pair, Exclusion]:
    """Matches both models on the rows that both predicted, and excludes leaked ones; the exclusion counts the rows that both predicted."""
    keys = hash_row_keys(rows)
    both = np.isin(keys, first.key) & np.isin(keys, second.key)
    frame, ours, theirs = rows[both].reset_index(drop=True), first.in_order(keys[both]), second.in_order(keys[both])
    keep, exclusion = exclude_leaked(frame["bucket_start_ts"], (ours.distance, theirs.distance), max_share=max_share)
    said, other = ours.take(keep), theirs.take(keep)
    labels = said.predictions
    return _Pair(frame[keep], labels.true, labels.predicted, other.predictions.predicted, (said.knows, other.knows)), exclusion


def f1_by_label(sums: BlockSums) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Returns true windows of each label, shape (8,), and its F1 by both models, shape (2, 8); NaN if neither true nor predicted."""
    cells = np.array(sums.cells, dtype=np.int64).reshape(-1, 7)
    totals = np.zeros((len(LABELS), 5), dtype=np.int64)
    np.add.at(totals, cells[:, 1], cells[:, 2:])
    support, right, named = totals[:, 0], totals[:, 1::2].T, totals[:, 2::2].T
    size = support + named
    return support, np.divide(2 * right, size, out=np.full(size.shape, np.nan), where=size > 0)


def _mean(f1: npt.NDArray[np.float64], judged: npt.NDArray[np.bool_]) -> float | None:
    return float(f1[judged].mean()) if judged.any() else None
