"""Fits a rejected challenger again without the labels of single days, to find those without which it would not have been rejected."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from taskclf_dagster.config.execution_settings import ExecutionSettings
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feature_schema import SCHEMAS
from taskclf_dagster.domain.data.frame_parts import ChosenRows, as_parts, divide_mask, join_parts
from taskclf_dagster.domain.data.hashing import hash_row_keys
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, open_snapshot
from taskclf_dagster.domain.data.snapshot_rows import StoredRows
from taskclf_dagster.domain.decision.comparative_gates import check_pair, regression_bound
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.evaluation.comparison import compare
from taskclf_dagster.domain.evaluation.confusion import apply_reject
from taskclf_dagster.domain.evaluation.day_effects import DayEffect, DayEffects, LearnedDay, list_learned_days, mark_outstanding
from taskclf_dagster.domain.evaluation.leakage import exclude_leaked
from taskclf_dagster.domain.evaluation.scored_windows import ScoredWindows
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.engine_choice import open_engine
from taskclf_dagster.domain.execution.local_engine import LOCAL
from taskclf_dagster.domain.models.challenger import ChallengerModel
from taskclf_dagster.domain.models.choice import fit_choice
from taskclf_dagster.domain.models.fold_fits import FOLD_SPLITS, FoldFits
from taskclf_dagster.domain.models.learned_rows import open_part, open_splits
from taskclf_dagster.domain.models.search_cost import fit_cost, unit_cost
from taskclf_dagster.domain.models.training import resolve_num_threads
from taskclf_dagster.domain.retraining.decision_step import PredictionLoader
from taskclf_dagster.domain.retraining.reports import ChallengerReport, ChampionReport
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home

REGRESSION = "macro_f1_no_regression"


class _Compared(NamedTuple):
    """The windows on which both models were compared, in one order.

    Attributes:
        rows: as in the snapshot.
        ours, theirs: the predictions of challenger and champion.
    """

    rows: pd.DataFrame
    ours: ScoredWindows
    theirs: ScoredWindows

    def without(self, day: LearnedDay) -> "_Compared":
        return self.take(~day.compared)

    def take(self, keep: npt.NDArray[np.bool_]) -> "_Compared":
        return _Compared(self.rows[keep].reset_index(drop=True), self.ours.take(keep), self.theirs.take(keep))


def find_day_effects(
    home: Home,
    snapshot: DatasetSnapshot,
    challenger: ChallengerModel,
    reports: tuple[ChallengerReport, ChampionReport],
    decision: PromotionDecision,
    *,
    config: RetrainConfig,
    load: PredictionLoader,
    cores: int,
    connect: Callable[[ExecutionSettings, Home], AbstractContextManager[Engine]] = open_engine,
) -> DayEffects | None:
    """Finds days without whose labels the regression gate would pass. A failure is the reason of the result; the decision stands.

    The labels of one user-day that the challenger learned from are left out, also where it is compared on them, with its own settings,
    its own recipe and its own reject threshold. The newest days come first, as long as their fits stay within what the search left of its
    budget.

    Args:
        home: the taskclf home.
        snapshot: the dataset.
        challenger: the rejected model.
        reports: on challenger and champion.
        decision: the decision.
        config: the settings of the run.
        load: reads stored predictions.
        cores: number of processors that `num_threads: auto` may use.
        connect: opens the engine of the settings, after such a rejection.

    Returns:
        None if the decision is no rejection for a regression.
    """
    predictions = [None if each.report is None else each.report.predictions for each in reports]
    is_regression = any(gate.name == REGRESSION and gate.status == "FAIL" for gate in decision.gates)
    if decision.verdict != "REJECT" or not is_regression or predictions[0] is None or predictions[1] is None:
        return None
    if config.training.search == "off":
        return DayEffects(reason="No day was left out: the search is off, and with it its budget.")
    import lightgbm

    try:
        stored = open_snapshot(home, snapshot)
        compared = _align(stored.load(splits=("test",)), load(predictions[0]).scored, load(predictions[1]).scored, config)
        with connect(config.execution, home) as engine:
            follower = LOCAL if challenger.recipe is None else engine.following(challenger.recipe)
            if isinstance(follower, str):
                return DayEffects(reason=f"No day was left out: {follower}.")
            return _leave_days_out(_Refits(stored, snapshot, challenger, config, cores, follower), compared, decision, config)
    except (OSError, TaskclfDagsterError, lightgbm.basic.LightGBMError) as error:
        return DayEffects(reason=f"No day was left out: {error}")


def _leave_days_out(refits: "_Refits", compared: _Compared, decision: PromotionDecision, config: RetrainConfig) -> DayEffects:
    days = list_learned_days(refits.learned, compared.rows)
    affordable = refits.count_affordable(len(compared.rows))
    if not days or not affordable:
        return DayEffects(reason="No day was left out: none is large enough to matter, or the search left nothing of its budget.")
    effects = [_measure(day, refits, compared, decision, config) for day in days[:affordable]]
    before = 0.0 if decision.comparison is None else decision.comparison.macro_f1_delta or 0.0
    return DayEffects(days=mark_outstanding(effects, difference=before), left=max(0, len(days) - affordable))


class _Refits:
    """Fits of the challenger without single days, and their cost.

    Attributes:
        learned: user_id and bucket_start_ts of the rows that it learned from.
    """

    def __init__(
        self, stored: StoredRows, snapshot: DatasetSnapshot, challenger: ChallengerModel, config: RetrainConfig, cores: int, engine: Engine
    ) -> None:
        self._engine = engine
        self._challenger, self._params, self._digest = challenger, config.training.train_params, snapshot.dataset_digest
        self._threads = resolve_num_threads(self._params.num_threads, rows=snapshot.learning_rows, cores=cores)
        self._schema, choice = SCHEMAS[snapshot.schema_version], challenger.settings.choice
        self._unit = unit_cost(snapshot.rows["older"] + snapshot.rows["train"])
        self._left = config.training.search_budget - self._measure_search(stored)
        self._rows = as_parts(choice.takes(open_part(stored, "refit" if config.training.refit else "first_fit")))
        self.learned = join_parts(self._rows, ["user_id", "bucket_start_ts"])

    def _measure_search(self, stored: StoredRows) -> float:
        """Returns the cost of the search of the run, or of the folds of the settings that were kept."""
        settings = self._challenger.settings
        if settings.search is not None:
            return settings.search.spent
        rows = open_splits(stored, FOLD_SPLITS)
        folds = FoldFits(rows, self._schema, params=self._params, dataset_digest=self._digest, num_threads=self._threads)
        return folds.cost(settings.choice)

    def count_affordable(self, compared: int) -> int:
        """Returns the number of fits that stay within what is left of the budget."""
        choice = self._challenger.settings.choice
        cost = choice.seeds * fit_cost(len(self.learned) + compared, choice.apply_to(self._params)) / self._unit
        return max(0, int(self._left / cost))

    def predict_without(self, day: LearnedDay, compared: _Compared) -> ScoredWindows:
        """Returns the predictions of a challenger that has not learned from a day."""
        fit = fit_choice(
            ChosenRows(self._rows, divide_mask(~day.learned, self._rows.sizes)),
            self._schema,
            choice=self._challenger.settings.choice,
            params=self._params,
            dataset_digest=self._digest,
            num_threads=self._threads,
            engine=self._engine,
        )
        predicted = apply_reject(fit.predict(compared.rows, num_threads=self._threads), self._challenger.reject.value)
        said = compared.ours.predictions
        return replace(compared.ours, predictions=replace(said, predicted=predicted))


def _align(test: pd.DataFrame, ours: ScoredWindows, theirs: ScoredWindows, config: RetrainConfig) -> _Compared:
    """Returns the test windows that both models predicted and neither was trained on."""
    keys = hash_row_keys(test)
    both = np.isin(keys, ours.key) & np.isin(keys, theirs.key)
    pair = _Compared(test[both].reset_index(drop=True), ours.in_order(keys[both]), theirs.in_order(keys[both]))
    distances, share = (pair.ours.distance, pair.theirs.distance), config.comparison.max_leaked_share
    return pair.take(exclude_leaked(pair.rows["bucket_start_ts"], distances, max_share=share)[0])


def _measure(day: LearnedDay, refits: _Refits, compared: _Compared, decision: PromotionDecision, config: RetrainConfig) -> DayEffect:
    """Returns the effect of one day."""
    left = compared.without(day)
    comparison = compare(
        left.rows,
        refits.predict_without(day, left),
        left.theirs,
        settings=config.comparison,
        min_class_windows=config.evaluation.min_class_windows,
        seed=0 if decision.comparison is None else decision.comparison.seed,
    )
    gate, *others = check_pair(comparison, config.comparison).gates
    is_decided = gate.status in ("PASS", "FAIL") and gate.observed is not None
    return DayEffect(
        user_id=day.user_id,
        day=day.day,
        learned=int(day.learned.sum()),
        compared=int(day.compared.sum()),
        difference=comparison.macro_f1_delta if is_decided else None,
        margin=None if gate.observed is None or not is_decided else gate.observed - regression_bound(config.comparison),
        passes=gate.status == "PASS",
        still_failing=tuple(each.name for each in others if each.status == "FAIL"),
    )
