"""Compares two models on the windows that both scored and neither learned from, with how sure the difference is.

Each model is scored alone in `evaluation`; what a model learned from is found in `leakage`, the statistics are in `evidence`; whether a
difference is allowed is decided in `comparative_gates`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.config.settings import ComparisonSettings
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.evaluation.block_counts import BlockSums, Flips, count_flips, sum_blocks
from taskclf_dagster.domain.evaluation.leakage import Exclusion, exclude_leaked
from taskclf_dagster.domain.evaluation.predictions import Predictions
from taskclf_dagster.domain.evaluation.significance import SignificanceResult, assess_significance
from taskclf_dagster.domain.models.bundle import ModelBundle
from taskclf_dagster.domain.storage.records import Record, sorted_json

SMALL_DIFFERENCE = 0.05
"""The difference in macro-F1 for which the evidence says how many labelled user-days it would take to see it."""


class Comparison(Record):
    """Challenger beside champion on the same windows [macro-F1, 0 to 1, higher is better].

    Attributes:
        windows: windows compared: in common and not learned from by either.
        left_out: test windows that one of the two could not score.
        exclusion: what either learned from, which left the comparison.
        judged_labels: labels with enough true windows among those compared.
        macro_f1_delta: challenger minus champion; None where no label is judged.
        sums: counts of both models by user and block; everything below them, and above but for ids, follows from them.
        flips: windows that only one of the two has right.
        seed: of resamples and swaps; made of the hashes of dataset, models and policy.
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


class AnchorComparison(Record):
    """The challenger beside a model that ran lately, on windows that neither learned from.

    Attributes:
        ran_at: when the anchor came to run.
        windows: windows compared; 0 where the anchor could not be scored.
        difference: challenger minus anchor in macro-F1; None where too few windows are left to say.
        detail: one sentence for a person.
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
    challenger: Predictions,
    champion: Predictions,
    bundles: tuple[ModelBundle, ModelBundle],
    *,
    settings: ComparisonSettings,
    min_class_windows: int,
    seed: int,
) -> Comparison:
    """Compares predictions of two models, matched by window.

    Args:
        rows: user_id (category) and bucket_start_ts of the test windows.
        challenger: its predictions on some of them, in any order.
        champion: likewise.
        bundles: challenger and champion, for what they learned from.
        settings: of the comparison.
        min_class_windows: a label with fewer true windows is not judged.
        seed: of the swaps.

    Raises:
        BundleError: a bundle is invalid.
    """
    frame, ours, theirs = _align(rows, challenger, champion)
    keep, exclusion = exclude_leaked(frame, bundles, max_share=settings.max_leaked_share)
    frame, true = frame[keep], ours.true[keep]
    first, second = ours.predicted[keep], theirs.predicted[keep]
    return complete_comparison(
        challenger_id=bundles[0].model_id,
        champion_id=bundles[1].model_id,
        left_out=len(rows) - len(keep),
        exclusion=exclusion,
        sums=sum_blocks(frame["user_id"], frame["bucket_start_ts"], true, first, second),
        flips=count_flips(true, first, second),
        seed=seed,
        settings=settings,
        min_class_windows=min_class_windows,
    )


def complete_comparison(
    *,
    challenger_id: str,
    champion_id: str,
    left_out: int,
    exclusion: Exclusion,
    sums: BlockSums,
    flips: Flips,
    seed: int,
    settings: ComparisonSettings,
    min_class_windows: int,
) -> Comparison:
    """Computes everything that follows from the counts; equal arguments give an equal record, wherever they were stored in between."""
    support, f1 = _f1_by_label(sums)
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


def compare_with_anchor(
    rows: pd.DataFrame,
    challenger: Predictions,
    anchor: Predictions,
    bundles: tuple[ModelBundle, ModelBundle],
    *,
    ran_at: datetime,
    settings: ComparisonSettings,
    min_class_windows: int,
) -> AnchorComparison:
    """Compares macro-F1 with that of an anchor model; undecided if fewer than `min_windows` are left that neither was trained on."""
    frame, ours, theirs = _align(rows, challenger, anchor)
    keep, exclusion = exclude_leaked(frame, bundles, max_share=settings.max_leaked_share)
    true, windows = ours.true[keep], int(keep.sum())
    sums = sum_blocks(frame["user_id"][keep], frame["bucket_start_ts"][keep], true, ours.predicted[keep], theirs.predicted[keep])
    support, f1 = _f1_by_label(sums)
    ours_f1, anchor_f1 = (_mean(scores, support >= min_class_windows) for scores in f1)
    difference = None if ours_f1 is None or anchor_f1 is None or windows < settings.min_windows else ours_f1 - anchor_f1
    detail = f"{windows} windows; {exclusion.detail}" if difference is None else f"{difference:+.4f} on {windows} windows"
    return AnchorComparison(
        model_id=bundles[1].model_id,
        ran_at=ran_at,
        windows=windows,
        challenger_macro_f1=ours_f1,
        anchor_macro_f1=anchor_f1,
        difference=difference,
        detail=detail,
    )


def unscored_anchor(model_id: str, *, ran_at: datetime, problem: str) -> AnchorComparison:
    """An anchor that could not be scored: it stops nobody, but the record says so."""
    return AnchorComparison(
        model_id=model_id, ran_at=ran_at, windows=0, challenger_macro_f1=None, anchor_macro_f1=None, difference=None, detail=problem
    )


def find_inconsistencies(comparison: Comparison) -> list[str]:
    """Counts of a comparison that contradict each other, whatever was computed from them."""
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
    return [f"the comparison contradicts itself: {claim}" for claim, holds in claims.items() if not holds]


def derive_seed(dataset_digest: str, models: Sequence[Mapping[str, str]], policy: Mapping[str, object]) -> int:
    """Returns the seed of a comparison, 0 to 2**32 - 1, from the hashes of what is compared.

    Args:
        dataset_digest: of the snapshot.
        models: SHA-256 by file of the champion's and of the challenger's bundle; only model.txt counts, because metadata has timings.
        policy: `RetrainConfig.policy`; floats must be floats, because 1.0 and 1 give different seeds.
    """
    parts = [dataset_digest, *(files.get("model.txt", "") for files in models), sorted_json(dict(policy))]
    return int(hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8], 16)


def _align(rows: pd.DataFrame, first: Predictions, second: Predictions) -> tuple[pd.DataFrame, Predictions, Predictions]:
    """The rows that both models scored, and both predictions in the order of these rows."""
    keys = hash_row_keys(rows)
    both = np.isin(keys, first.key) & np.isin(keys, second.key)
    return rows[both].reset_index(drop=True), _in_order(first, keys[both]), _in_order(second, keys[both])


def _in_order(predictions: Predictions, keys: npt.NDArray[np.uint64]) -> Predictions:
    order = np.argsort(predictions.key)
    positions = order[np.searchsorted(predictions.key, keys, sorter=order)]
    return Predictions(predictions.key[positions], predictions.true[positions], predictions.predicted[positions])


def _f1_by_label(sums: BlockSums) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """True windows of each label, shape (8,), and its F1 by both models, shape (2, 8); NaN where it is neither true nor named."""
    cells = np.array(sums.cells, dtype=np.int64).reshape(-1, 7)
    totals = np.zeros((len(LABELS), 5), dtype=np.int64)
    np.add.at(totals, cells[:, 1], cells[:, 2:])
    support, right, named = totals[:, 0], totals[:, 1::2].T, totals[:, 2::2].T
    size = support + named
    return support, np.divide(2 * right, size, out=np.full(size.shape, np.nan), where=size > 0)


def _mean(f1: npt.NDArray[np.float64], judged: npt.NDArray[np.bool_]) -> float | None:
    return float(f1[judged].mean()) if judged.any() else None
