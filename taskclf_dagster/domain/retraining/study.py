"""Compares training settings on one home, on the test windows of one or several dates. Writes nothing and decides nothing.

A retrain never chooses its settings by these figures: they are those of test windows (`models.search` uses folds without them).
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import pandas as pd

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feature_schema import SCHEMAS, FeatureSchema
from taskclf_dagster.domain.data.labeled_windows import label_windows
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, build_snapshot
from taskclf_dagster.domain.data.snapshot_rows import label_codes
from taskclf_dagster.domain.evaluation.baselines import compare_with_baselines
from taskclf_dagster.domain.evaluation.metrics import evaluate
from taskclf_dagster.domain.models.choice import Choice, present_choice
from taskclf_dagster.domain.models.fitting import Fit
from taskclf_dagster.domain.models.fold_fits import FOLD_SPLITS
from taskclf_dagster.domain.models.learned_rows import Part, is_in_part, without_older
from taskclf_dagster.domain.models.out_of_fold import OutOfFold
from taskclf_dagster.domain.models.search import search_choices
from taskclf_dagster.domain.models.training import TrainedModel, resolve_num_threads, train_challenger
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import NoWindowsError
from taskclf_dagster.home import Home
from taskclf_dagster.progress import Progress, Report, ignore_progress

SHIPPED = RetrainConfig.model_validate({}).training.train_params.model_dump(exclude={"num_threads"})


LARGE = {**SHIPPED, "num_leaves": 31, "feature_fraction": 1.0, "constant_inputs": []}


SMALL = {**SHIPPED, "num_leaves": 7, "feature_fraction": 0.5, "constant_inputs": []}


SETTINGS: dict[str, dict[str, object]] = {
    "taskclf's own: 31 leaves, look-back only": {"train_params": LARGE, "refit": False, "training_lookback_days": 1},
    "refit": {"train_params": LARGE, "refit": True, "training_lookback_days": 1},
    "small trees, refit": {"train_params": SMALL, "refit": True, "training_lookback_days": 1},
    "older labels teach": {"train_params": LARGE, "refit": False},
    "small trees, refit, older labels": {"train_params": SMALL, "refit": True},
    "the same, clock inputs constant": {
        "train_params": {**SMALL, "constant_inputs": ["hour_of_day", "day_of_week", "session_length_so_far"]},
        "refit": True,
    },
    "your configuration": {},
}
"""Changes of the configuration by name; other parameters of training have their shipped values. A training look-back of a day is no more
than the look-back, which teaches in any case."""


class StudiedSettings(Record):
    """One row of a study, with a value for each date.

    Attributes:
        macro_f1: of the test windows, over the labels that occur among them, a rejected window counting as wrong [0 to 1, higher is
            better].
        reject_rate: share of them that is rejected.
        learned: number of windows that the model learned from.
        cpu: CPU time of training, as a multiple of that of the first row.
        detail: the settings that a search chose; empty without one.
    """

    name: str
    macro_f1: list[float]
    reject_rate: list[float]
    learned: list[int]
    cpu: list[float]
    detail: str = ""


class Study(Record):
    """A study of one home.

    Attributes:
        dates: as-of times.
        test_windows: number of test windows at each.
        lookup: macro-F1 of the lookup table that is fitted on the same windows as the last row, at each date.
        settings: the rows, in the order of SETTINGS.
        skipped: dates at which nothing could be trained, with the reason.
    """

    dates: list[datetime]
    test_windows: list[int]
    lookup: list[float]
    settings: list[StudiedSettings]
    skipped: dict[str, str]


class _Dataset(NamedTuple):
    """The dataset of one date and training look-back, in memory."""

    snapshot: DatasetSnapshot
    rows: pd.DataFrame

    @property
    def schema(self) -> FeatureSchema:
        return SCHEMAS[self.snapshot.schema_version]

    def part(self, part: Part) -> pd.DataFrame:
        return self.rows[is_in_part(self.rows, part)].reset_index(drop=True)

    @property
    def test(self) -> pd.DataFrame:
        return self.rows[(self.rows["split"] == "test").to_numpy()].reset_index(drop=True)


class _Outcome(NamedTuple):
    """One row of a study at one date; see `Study`."""

    test_windows: int
    macro_f1: float
    reject_rate: float
    learned: int
    cpu: float
    lookup: float
    detail: str


def study_settings(
    home: Home,
    dates: Sequence[datetime],
    *,
    config: RetrainConfig,
    cores: int,
    cpu_clock: Callable[[], float],
    on_progress: Report = ignore_progress,
) -> Study:
    """Trains each of SETTINGS at each date, and evaluates it on the test windows.

    Everything is in memory and trained in this process, whatever the engine of the settings: all rows have the recipe `local`.

    Args:
        home: the taskclf home.
        dates: as-of times; those with nothing to learn from are skipped.
        config: the settings that SETTINGS change.
        cores: number of processors that `num_threads: auto` may use.
        cpu_clock: CPU time of this process [s].
        on_progress: takes a report before the fit of each row of a date.

    Raises:
        HomeNotFoundError: there is no such home.
        UnreadableFileError: a file cannot be read.
    """
    outcomes: dict[datetime, list[_Outcome]] = {}
    skipped: dict[str, str] = {}
    for number, as_of in enumerate(dates):
        datasets = {changed.dataset.training_lookback_days: _load(home, as_of, changed) for changed in _list_configs(config).values()}
        reason = next((each for each in datasets.values() if isinstance(each, str)), None)
        if reason is not None:
            skipped[f"{as_of:%Y-%m-%d %H:%M}"] = reason
            continue
        outcomes[as_of] = []
        for name, changed in _list_configs(config).items():
            dataset = datasets[changed.dataset.training_lookback_days]
            if isinstance(dataset, _Dataset):
                part = f"{as_of:%Y-%m-%d}: {name}"
                done = number * len(SETTINGS) + len(outcomes[as_of])
                on_progress(Progress(part, done, len(dates) * len(SETTINGS), "row", part))
                threads = resolve_num_threads("auto", rows=dataset.snapshot.learning_rows, cores=cores)
                if len(outcomes) == 1 and not outcomes[as_of]:
                    _train(dataset, changed, threads, cpu_clock)  # the first fit of a process costs more
                outcomes[as_of].append(_train(dataset, changed, threads, cpu_clock))
    return Study(
        dates=list(outcomes),
        test_windows=[each[-1].test_windows for each in outcomes.values()],
        lookup=[each[-1].lookup for each in outcomes.values()],
        settings=[_summarize(name, i, list(outcomes.values())) for i, name in enumerate(SETTINGS) if outcomes],
        skipped=skipped,
    )


def _list_configs(config: RetrainConfig) -> dict[str, RetrainConfig]:
    """Returns the configuration of each row; only that of the last one, which is as given, may search."""
    return {name: config.with_changes(**changes, search="off") if changes else config for name, changes in SETTINGS.items()}


def _summarize(name: str, row: int, by_date: Sequence[Sequence[_Outcome]]) -> StudiedSettings:
    own = [outcomes[row] for outcomes in by_date]
    return StudiedSettings(
        name=name,
        macro_f1=[each.macro_f1 for each in own],
        reject_rate=[each.reject_rate for each in own],
        learned=[each.learned for each in own],
        cpu=[each.cpu / max(outcomes[0].cpu, 1e-9) for each, outcomes in zip(own, by_date, strict=True)],
        detail=own[-1].detail,
    )


def _load(home: Home, as_of: datetime, config: RetrainConfig) -> _Dataset | str:
    """Returns the dataset of a date, or the reason why there is none."""
    try:
        labeled, frame, *_ = label_windows(home, as_of=as_of, settings=config.dataset)
    except NoWindowsError as error:
        return str(error)
    if frame is None:
        return "; ".join(violation.message for violation in labeled.violations)
    snapshot, rows = build_snapshot(home, labeled, frame, config=config)
    return "; ".join(blocker.message for blocker in snapshot.blockers) or _Dataset(snapshot, rows)


def _train(dataset: _Dataset, config: RetrainConfig, threads: int, cpu_clock: Callable[[], float]) -> _Outcome:
    begin = cpu_clock()
    choice, out_of_fold, detail = _choose(dataset, config, threads)
    model = train_challenger(
        dataset.part,
        dataset.schema,
        settings=config.training,
        choice=choice,
        out_of_fold=out_of_fold,
        dataset_digest=dataset.snapshot.dataset_digest,
        num_threads=threads,
        on_progress=ignore_progress,
    )
    cpu = cpu_clock() - begin
    learned = dataset.part("refit" if config.training.refit else "first_fit")
    learned = learned if choice.uses_older else without_older(learned)
    return _evaluate(dataset, model, learned, threads)._replace(cpu=cpu, detail=detail)


def _choose(dataset: _Dataset, config: RetrainConfig, threads: int) -> tuple[Choice, OutOfFold | None, str]:
    """Returns the choice of the search, its predictions for the reject threshold, and its result in one sentence."""
    present = present_choice(config.training.train_params)
    if config.training.search == "off":
        return present, None, ""
    found = search_choices(
        dataset.rows[dataset.rows["split"].isin(FOLD_SPLITS)].reset_index(drop=True),
        dataset.schema,
        params=config.training.train_params,
        dataset_digest=dataset.snapshot.dataset_digest,
        min_class_windows=config.evaluation.min_class_windows,
        min_user_days=config.comparison.min_user_days,
        budget=config.training.search_budget,
        num_threads=threads,
    )
    return found.result.choice, found.out_of_fold, found.result.summary


def _evaluate(dataset: _Dataset, model: TrainedModel, learned: pd.DataFrame, threads: int) -> _Outcome:
    test = dataset.test
    report, predictions = evaluate(
        test,
        label_codes(test).astype(np.int64),
        Fit(model.booster, model.schema, model.encoders, model.recipe).predict(test, num_threads=threads),
        model_id="studied",
        schema_version=dataset.snapshot.schema_version,
        reject_threshold=model.reject.value,
        min_class_windows=1,
        unseen_users=[],
    )
    _, lookup = compare_with_baselines(learned, test, predictions, report.judged_labels)
    return _Outcome(len(test), report.macro_f1 or 0.0, report.reject_rate, len(learned), 0.0, lookup.baseline or 0.0, "")
