"""Fits of choices on the folds of one snapshot, and what their predictions of the judged rows say. Each fit is done once."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.config.settings import TrainParams
from taskclf_dagster.domain.data.feature_schema import LABELS, FeatureSchema
from taskclf_dagster.domain.data.frame_parts import ChosenRows, OnePart, Rows, as_parts, divide_mask, join_parts, list_parts
from taskclf_dagster.domain.data.snapshot_rows import label_codes
from taskclf_dagster.domain.data.times import DAY_US, epoch_us
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.domain.models.choice import Choice, derive_seed
from taskclf_dagster.domain.models.fitting import Fit, fit_model, predict_rows
from taskclf_dagster.domain.models.fold_scores import Gain, count_days, macro_f1, paired_gain
from taskclf_dagster.domain.models.folds import make_folds
from taskclf_dagster.domain.models.out_of_fold import OutOfFold
from taskclf_dagster.domain.models.search_cost import fit_cost, unit_cost
from taskclf_dagster.domain.models.search_result import LearningPoint

_Int = npt.NDArray[np.int64]


_Float = npt.NDArray[np.float64]


FOLD_SPLITS = ("older", "train", "validation")
"""The splits whose rows the folds are made of."""


_ABOUT = ("user_id", "session_id", "bucket_start_ts", "label", "gold", "split")


class FoldFits:
    """The folds of a snapshot, and the models fitted on them so far.

    Attributes:
        user_days: number of user-days (UTC) with judged rows.
        judged: position of each judged row among all, one fold after another, shape (n,).
        true: its class index, shape (n,).
        unit: work units of one fit of the original settings on the older and training rows.
    """

    def __init__(
        self, rows: Rows, schema: FeatureSchema, *, params: TrainParams, dataset_digest: str, num_threads: int, engine: Engine = LOCAL
    ) -> None:
        """Makes the folds; the arguments are those of `search.search_choices`."""
        self._engine = engine
        self._rows, self._schema, self._params, self._digest, self._threads = as_parts(rows), schema, params, dataset_digest, num_threads
        self._about = rows = join_parts(self._rows, _ABOUT)
        self._folds = make_folds(rows)
        self._is_older = (rows["split"] == "older").to_numpy()
        self._raw: dict[str, _Float] = {}
        self._user_days = _number_user_days(rows)
        self.judged = np.concatenate([np.empty(0, dtype=np.int64), *(np.flatnonzero(fold.judged) for fold in self._folds)])
        self.true = label_codes(rows).astype(np.int64)[self.judged]
        days, self._day = np.unique(self._user_days[self.judged], return_inverse=True)
        self.user_days = len(days)
        self.unit = unit_cost(int(rows["split"].isin(("older", "train")).sum()))

    @property
    def has_older(self) -> bool:
        """True if there are rows before the range that is split."""
        return bool(self._is_older.any())

    def judged_labels(self, min_windows: int) -> list[int]:
        """Returns the class indices with at least so many judged rows."""
        return np.flatnonzero(np.bincount(self.true, minlength=len(LABELS)) >= min_windows).tolist()

    def cost(self, choice: Choice) -> float:
        """Returns the cost of the fits of a choice that are not done yet, as a multiple of `unit`."""
        missing = sum(_key(choice, number) not in self._raw for number in range(choice.seeds))
        params = choice.apply_to(self._params)
        sizes = [int(self._learned(choice, fold).sum() + self._folds[fold].judged.sum()) for fold in range(len(self._folds))]
        return missing * sum(fit_cost(size, params) for size in sizes) / self.unit

    def fit(self, choice: Choice, on_round: Callable[[int, int], object] = lambda done, total: None) -> None:
        """Does the fits of a choice that are not done yet; whatever needs them does the same without reports.

        Args:
            choice: the choice.
            on_round: called after each round with the number of rounds that are done, and of those of all these fits.
        """
        missing = [number for number in range(choice.seeds) if _key(choice, number) not in self._raw]
        rounds = len(self._folds) * choice.apply_to(self._params).num_boost_round
        for position, number in enumerate(missing):
            self._raw_scores(choice, number, partial(_count_on, on_round, position * rounds, len(missing) * rounds))

    def probabilities(self, choice: Choice) -> _Float:
        """Returns the probabilities of the judged rows, shape (n, 8): the softmax of the average raw score of the choice's seeds."""
        scores = self._raw_scores(choice, 0).copy()  # in place from here on: a large dataset has gigabytes of them
        for number in range(1, choice.seeds):
            scores += self._raw_scores(choice, number)
        scores /= choice.seeds
        scores -= scores.max(axis=1, keepdims=True, initial=-np.inf)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores

    def keep_only(self, choice: Choice) -> None:
        """Forgets the fits of other choices, so that their scores take no memory."""
        kept = {_key(choice, number) for number in range(choice.seeds)}
        self._raw = {key: scores for key, scores in self._raw.items() if key in kept}

    def out_of_fold(self, choice: Choice) -> OutOfFold:
        """Returns the predictions of the judged rows, one fold after another."""
        return OutOfFold.of(self._about.take(self.judged), self.probabilities(choice))

    def macro_f1(self, choice: Choice, labels: Sequence[int]) -> float | None:
        """Returns the macro-F1 of all judged rows over some labels; None without labels."""
        return float(macro_f1(self.counts(choice, labels).sum(axis=0))) if labels else None

    def compare(self, choice: Choice, present: Choice, labels: Sequence[int]) -> Gain:
        """Returns the gain of a choice over the present one."""
        return paired_gain(self.counts(choice, labels), self.counts(present, labels), seed=derive_seed(self._digest, 0))

    def learning_curve(self, choice: Choice, labels: Sequence[int]) -> list[LearningPoint]:
        """Returns a point for each fold; macro-F1 is over the given labels that occur in it."""
        predicted, end, points = self.probabilities(choice).argmax(axis=1), 0, []
        for number, fold in enumerate(self._folds):
            begin, end = end, end + int(fold.judged.sum())
            true, learned = self.true[begin:end], self._learned(choice, number)
            present = [label for label in labels if (true == label).any()]
            counts = count_days(np.zeros(len(true), dtype=np.int64), true, predicted[begin:end])[:, present]
            points.append(
                LearningPoint(
                    learned_windows=int(learned.sum()),
                    learned_days=len(np.unique(self._user_days[learned])),
                    judged_windows=len(true),
                    macro_f1=float(macro_f1(counts[0])) if present else None,
                )
            )
        return points

    def counts(self, choice: Choice, labels: Sequence[int]) -> _Int:
        """Returns the counts of a choice by user-day and judged label, as `count_days` does."""
        return count_days(self._day, self.true, self.probabilities(choice).argmax(axis=1))[:, labels]

    def _learned(self, choice: Choice, fold: int) -> npt.NDArray[np.bool_]:
        learned = self._folds[fold].learned
        return learned if choice.uses_older else learned & ~self._is_older

    def _raw_scores(self, choice: Choice, number: int, on_round: Callable[[int], object] = lambda done: None) -> _Float:
        """Returns the raw scores of the judged rows by the models of one seed, shape (n, 8)."""
        key = _key(choice, number)
        if key not in self._raw:
            self._raw[key] = np.concatenate([np.empty((0, len(LABELS))), *self._fit(choice, number, on_round)])
        return self._raw[key]

    def _fit(self, choice: Choice, number: int, on_round: Callable[[int], object]) -> Iterator[_Float]:
        params = choice.apply_to(self._params)
        for position, fold in enumerate(self._folds):
            fit = fit_model(
                ChosenRows(self._rows, divide_mask(self._learned(choice, position), self._rows.sizes)),
                self._schema,
                params=params,
                seed=derive_seed(self._digest, number),
                num_threads=self._threads,
                engine=self._engine,
                on_round=partial(_add, on_round, position * params.num_boost_round),
            )
            judged = ChosenRows(self._rows, divide_mask(fold.judged, self._rows.sizes))
            yield from self._engine.map(partial(predict_part, fit=fit, num_threads=self._threads), list_parts(judged))


def predict_part(part: OnePart, *, fit: Fit, num_threads: int) -> _Float:
    """Returns the raw scores of the rows of a part, shape (rows, 8)."""
    rows = part.load(fit.schema.model_inputs)
    return predict_rows(fit.booster, rows, fit.schema, fit.encoders, num_threads=num_threads, raw_score=True)


def _key(choice: Choice, number: int) -> str:
    """Returns the name of one fit of a choice; the number of its seeds is no part of it."""
    return f"{choice.model_copy(update={'seeds': 1}).model_dump_json()} {number}"


def _add(on_round: Callable[[int], object], before: int, done: int) -> None:
    on_round(before + done)


def _count_on(on_round: Callable[[int, int], object], before: int, total: int, done: int) -> None:
    on_round(before + done, total)


def _number_user_days(rows: pd.DataFrame) -> _Int:
    """Returns a number for the user-day (UTC) of each row, shape (rows,)."""
    days = epoch_us(rows["bucket_start_ts"]) // DAY_US
    return rows["user_id"].cat.codes.to_numpy() * (days.max(initial=0) + 1) + days
