"""Finds the days that cost a challenger its gates: refits without the labels of single days find the day that was mislabeled."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow.parquet as pq
import pytest

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feature_schema import LABELS
from taskclf_dagster.domain.data.labeled_windows import open_labeled_windows, store_labeled_windows
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, build_snapshot_parts, save_snapshot
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.evaluation.day_effects import DayEffect, DayEffects, list_learned_days, mark_outstanding
from taskclf_dagster.domain.execution.engine import Engine
from taskclf_dagster.domain.execution.local_engine import LOCAL, LocalEngine
from taskclf_dagster.domain.execution.local_trainer import LocalTrainer
from taskclf_dagster.domain.execution.trainer import FitParams, Shard, TrainedText, Trainer
from taskclf_dagster.domain.execution.training_recipe import TrainingRecipe, local_recipe
from taskclf_dagster.domain.models.challenger import ChallengerModel
from taskclf_dagster.domain.retraining.day_effect_step import find_day_effects
from taskclf_dagster.domain.retraining.decision_step import load_predictions_once
from taskclf_dagster.domain.retraining.reports import ChallengerReport, ChampionReport
from taskclf_dagster.home import Home
from taskclf_dagster_tests.retrain_scenario import LATER, QUICK, Learned, decide_about, judge_challenger, take_snapshot, train_challenger
from taskclf_dagster_tests.scenario import AS_OF, DAY, retrain_config, write_labels

CONFIG = retrain_config(
    train_params=QUICK,
    auto_promote=True,
    search="auto",
    search_budget=30.0,
    data_lookback_days=5,
    training_lookback_days=5,
    min_windows=100,
    min_class_windows=10,
)

BAD_DAY = AS_OF + DAY


class Rejected(NamedTuple):
    """A rejected challenger, with everything that the step takes."""

    home: Home
    snapshot: DatasetSnapshot
    challenger: ChallengerModel
    reports: tuple[ChallengerReport, ChampionReport]
    decision: PromotionDecision

    def find(self, config: RetrainConfig = CONFIG, engine: Engine = LOCAL) -> DayEffects | None:
        load = load_predictions_once(self.home)
        return find_day_effects(*self, config=config, load=load, cores=1, connect=lambda *_: nullcontext(engine))


@dataclass(frozen=True)
class _Cluster(LocalEngine):
    """An engine that can follow every recipe, and notes the number of shards of each training."""

    trained: list[int] = field(default_factory=list)

    @property
    def trainer(self) -> Trainer:
        return self

    def train(
        self, shards: Sequence[Shard], params: FitParams, *, seed: int, on_round: Callable[[int], object] = lambda _: None
    ) -> TrainedText:
        self.trained.append(len(shards))
        return LocalTrainer().train(shards, params, seed=seed, on_round=on_round)

    def following(self, recipe: TrainingRecipe) -> Engine | str:
        return self


@pytest.fixture(scope="module")
def rejected(learned: Learned, tmp_path_factory: pytest.TempPathFactory) -> Rejected:
    """A home whose labels of one day are all those of another activity, and a short look-back; not to be written into."""
    root = shutil.copytree(learned[0].root, tmp_path_factory.mktemp("mislabeled") / "home")
    home = Home(root)
    spans = pq.read_table(home.labels).to_pylist()
    for each in spans:
        if each["user_id"] == "user-1" and each["start_ts"].date() == BAD_DAY.date():
            each["label"] = LABELS[(LABELS.index(each["label"]) + 3) % len(LABELS)]
    write_labels(home, spans)
    snapshot = take_snapshot(home, CONFIG, as_of=LATER)[0]
    challenger = train_challenger(home, snapshot, CONFIG)
    reports = judge_challenger(home, snapshot, challenger, CONFIG)
    return Rejected(home, snapshot, challenger, reports, decide_about(home, snapshot, challenger, reports, CONFIG))


def test_without_the_mislabeled_day_it_would_pass_and_that_day_is_named_first(rejected: Rejected) -> None:
    assert rejected.decision.verdict == "REJECT"
    found = rejected.find()
    assert found is not None
    first = found.days[0]
    assert (first.user_id, first.day, first.passes, first.compared) == ("user-1", BAD_DAY.date(), True, 0)
    assert first.margin is not None
    assert first.difference == pytest.approx(first.margin - CONFIG.comparison.regression_tolerance)
    assert (
        f"Without the {first.learned} labels of user-1 on {BAD_DAY:%A, %Y-%m-%d}, macro_f1_no_regression would pass by {first.margin:.4f}."
        in found.describe()
    )
    margins = [each.margin for each in found.days if each.margin is not None]
    assert margins == sorted(margins, reverse=True)
    assert len(found.days) == len({(each.user_id, each.day) for each in found.days}) > 2


def test_the_fits_stay_within_what_the_search_left_of_its_budget_and_the_newest_days_come_first(rejected: Rejected) -> None:
    every = rejected.find()
    search = rejected.challenger.settings.search
    assert every is not None
    assert search is not None
    few = rejected.find(CONFIG.with_changes(search_budget=search.spent + 1))
    assert few is not None
    assert 0 < len(few.days) < len(every.days)
    assert few.left == len(every.days) - len(few.days)
    left_out = {each.day for each in every.days} - {each.day for each in few.days}
    assert min(each.day for each in few.days) >= max(left_out)
    assert f"{few.left} older days beyond the budget" in few.describe()
    nothing = rejected.find(CONFIG.with_changes(search_budget=search.spent))
    assert nothing is not None
    assert (nothing.days, "nothing of its budget" in nothing.reason) == ((), True)


def test_days_are_left_out_after_a_rejection_for_a_regression_only(rejected: Rejected, learned: Learned) -> None:
    passing = [each.model_copy(update={"status": "PASS"}) for each in rejected.decision.gates]
    for changes in ({"verdict": "HOLD"}, {"gates": passing}):
        assert rejected._replace(decision=rejected.decision.model_copy(update=changes)).find() is None
    without_champion = rejected.reports[1].model_copy(update={"report": None})
    assert rejected._replace(reports=(rejected.reports[0], without_champion)).find() is None
    off = rejected.find(CONFIG.with_changes(search="off"))
    assert off is not None
    assert "the search is off" in off.describe()


def test_days_are_left_out_by_the_recipe_of_the_challenger_or_not_at_all(rejected: Rejected, tmp_path: Path) -> None:
    home = Home(shutil.copytree(rejected.home.root, tmp_path / "home"))
    shutil.rmtree(home.root / rejected.snapshot.path)
    labeled = store_labeled_windows(home, as_of=LATER, settings=CONFIG.dataset, part_windows=400).record
    snapshot, rows = build_snapshot_parts(home, labeled, open_labeled_windows(home, labeled), config=CONFIG)
    assert snapshot.dataset_hash == rejected.snapshot.dataset_hash
    recipe = local_recipe().model_copy(update={"trainer": "dask", "workers": 2})
    challenger = rejected.challenger.model_copy(update={"recipe": recipe})
    divided = rejected._replace(home=home, snapshot=save_snapshot(home, snapshot, rows), challenger=challenger)
    parts = len(divided.snapshot.parts)
    assert parts > 1
    nothing = divided.find()
    assert nothing is not None
    assert nothing.days == ()
    assert "the engine is local, and the model was trained by dask with 2 workers" in nothing.reason
    cluster = _Cluster()
    found = divided.find(engine=cluster)
    assert found is not None
    assert cluster.trained == [parts] * len(found.days) * challenger.settings.choice.seeds
    assert found == rejected.find()


def test_a_snapshot_that_cannot_be_read_is_the_reason_and_no_failure(rejected: Rejected, tmp_path: Path) -> None:
    home = Home(shutil.copytree(rejected.home.root, tmp_path / "home"))
    (home.root / rejected.snapshot.path / "windows" / "part-000.parquet").write_bytes(b"PAR1 torn")
    found = rejected._replace(home=home).find()
    assert found is not None
    assert found.days == ()
    assert "part-000.parquet" in found.reason


def effect(*, margin: float | None, passes: bool = False, labels: int = 84, stands_out: bool = False) -> DayEffect:
    return DayEffect(
        user_id="alice",
        day=date(2026, 3, 10),
        learned=labels,
        compared=0,
        difference=margin,
        margin=margin,
        passes=passes,
        stands_out=stands_out,
    )


@pytest.mark.parametrize(
    ("effects", "text"),
    [
        (
            DayEffects(days=(effect(margin=0.01, passes=True, stands_out=True),)),
            "Without the 84 labels of alice on Tuesday, 2026-03-10, macro_f1_no_regression would pass by 0.0100. "
            "Check the labels of this day.",
        ),
        (
            DayEffects(days=(effect(margin=0.01, passes=True), effect(margin=-0.03), effect(margin=None)), left=1),
            "None of the 2 newest days stands out: it was hardly the labels of a single day (1 older day beyond the budget of the search).",
        ),
        (DayEffects(days=(effect(margin=None),)), "Without any one of the 1 newest day too few windows would be left to compare on."),
        (DayEffects(reason="No day was left out."), "No day was left out."),
    ],
)
def test_the_effect_of_each_day_is_told_in_a_sentence(effects: DayEffects, text: str) -> None:
    assert effects.describe() == text
    assert effect(margin=-0.03).describe().endswith("would still fail by 0.0300.")
    assert effect(margin=None, labels=1).describe() == (
        "Without the 1 label of alice on Tuesday, 2026-03-10, too few windows would be left to compare on."
    )


@pytest.mark.parametrize(
    ("changes", "outstanding"),
    [
        # Changes of the others: median 0, median absolute deviation 0.002, so that 3 * 1.4826 * 0.002 = 0.0089 is less than 0.01.
        ([0.0101, 0.002, -0.002, 0.002, -0.002], 1),
        ([0.0099, 0.002, -0.002, 0.002, -0.002], 0),
        # A deviation of 0.01 asks for 0.0445.
        ([0.0450, 0.01, -0.01, 0.01, -0.01], 1),
        ([0.0440, 0.01, -0.01, 0.01, -0.01], 0),
        ([0.5, 0.0, 0.0, 0.0], 0),  # three others only
        ([0.5, 0.0, 0.0, 0.0, None], 0),  # one of which is undecided
    ],
)
def test_a_day_stands_out_beyond_what_leaving_out_the_others_changes(changes: list[float | None], outstanding: int) -> None:
    before = -0.03
    days = [effect(margin=None if change is None else before + change) for change in changes]
    marked = mark_outstanding(days, difference=before)
    assert sum(each.stands_out for each in marked) == outstanding
    assert marked[0].stands_out is (outstanding == 1)


def test_days_that_are_too_small_or_all_that_was_learned_are_not_left_out() -> None:
    def rows(sizes: dict[str, int]) -> pd.DataFrame:
        users = [user for user, size in sizes.items() for _ in range(size)]
        return pd.DataFrame({"user_id": pd.Categorical(users), "bucket_start_ts": pd.Timestamp("2026-03-10", tz="UTC")})

    nothing = rows({"alice": 1}).head(0)
    assert [day.user_id for day in list_learned_days(rows({"alice": 500, "bob": 10, "carl": 9}), nothing)] == ["alice", "bob"]
    assert [day.user_id for day in list_learned_days(rows({"alice": 5000, "bob": 10}), nothing)] == ["alice"]  # bob is below 1 %
    assert list_learned_days(rows({"alice": 500}), nothing) == []


def test_the_refits_reject_by_the_threshold_of_the_model(rejected: Rejected) -> None:
    reject = rejected.challenger.reject.model_copy(update={"value": 1.01})
    harsh = rejected._replace(challenger=rejected.challenger.model_copy(update={"reject": reject}))
    everything_rejected = harsh.find()
    assert everything_rejected is not None
    assert not any(each.passes for each in everything_rejected.days)
