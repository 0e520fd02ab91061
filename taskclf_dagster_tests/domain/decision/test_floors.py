"""Floors beside a champion: at its figure, one window off it, at the floor, undefined, without a champion, and when it raises."""

import numpy as np
import pytest

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.data.feature_schema import BREAK_IDLE
from taskclf_dagster.domain.decision.candidate_gates import CANDIDATE_GATES
from taskclf_dagster.domain.decision.floors import FLOORS, judge_floors, judged_alone
from taskclf_dagster.domain.decision.gate import BesideChampion, RegressionGate, Status
from taskclf_dagster.domain.evaluation.block_counts import BlockSums
from taskclf_dagster.domain.evaluation.predictions import Predictions
from taskclf_dagster_tests.decision_scenario import Raising
from taskclf_dagster_tests.models import beside_champion, duel_rows, gate, named, some
from taskclf_dagster_tests.scenario import retrain_config

ROWS = duel_rows()
USUAL = some(ROWS, 0.3)
HELD_OUT = ["bob"]
SETTING = {
    "macro_f1": "min_macro_f1",
    "weighted_f1": "min_weighted_f1",
    "breakidle_precision": "min_breakidle_precision",
    "breakidle_recall": "min_breakidle_recall",
    "no_class_below_50_precision": "min_class_precision",
    "seen_user_f1": "min_seen_user_f1",
    "unseen_user_f1": "min_unseen_user_f1",
}


def improving(floor: float = 1.0, **changes: object) -> RetrainConfig:
    """The policy `improve` with this bound for every floor."""
    return retrain_config(floor_policy="improve", gates=dict.fromkeys(SETTING.values(), floor), **changes)


def missed(name: str, floor: float = 1.0) -> RegressionGate:
    """A floor that the challenger misses on all test windows."""
    return gate(name, "FAIL").model_copy(update={"observed": 0.3, "threshold": floor, "detail": f"0.3000 < {floor:g}"})


def counts(challenger: Predictions, champion: Predictions) -> BlockSums:
    return beside_champion(ROWS, challenger, champion).sums


def judge(name: str, sums: object, *, floor: float = 1.0, config: RetrainConfig | None = None) -> RegressionGate:
    (found,) = judge_floors([missed(name, floor)], sums, held_out=HELD_OUT, config=config or improving(floor))  # type: ignore[arg-type]
    return found


def one_break_more(user: str) -> np.ndarray:
    """The usual windows wrong, and one break of this user."""
    mask = USUAL.copy()
    mask[np.flatnonzero(~USUAL & (ROWS["label"] == BREAK_IDLE) & (ROWS["user_id"] == user))[0]] = True
    return mask


def test_every_floor_of_the_settings_is_one() -> None:
    assert set(FLOORS) == set(SETTING)


@pytest.mark.parametrize("name", FLOORS)
@pytest.mark.parametrize(("challenger", "champion", "status"), [(0, 0, "PASS"), (0, 1, "PASS"), (1, 0, "FAIL")])
def test_a_missed_floor_passes_from_the_figure_of_a_champion_on_that_misses_it_too(
    name: str, challenger: int, champion: int, status: Status
) -> None:
    more = named(ROWS, wrong=one_break_more("bob" if name == "unseen_user_f1" else "ann"))
    said = (named(ROWS, wrong=USUAL), more)
    found = judge(name, counts(said[challenger], said[champion]))
    assert (found.status, found.observed, found.threshold) == (status, 0.3, 1.0)
    assert found.beside is not None
    assert np.sign(found.beside.challenger - found.beside.champion) == champion - challenger
    assert found.beside.windows == (200 if name.endswith("user_f1") else 400)
    claim = "below the floor, not below the champion" if status == "PASS" else "below the floor, and below the champion"
    assert found.detail.startswith(f"{claim}: 0.3000 < 1; on the same {found.beside.windows} windows")


@pytest.mark.parametrize("name", FLOORS)
def test_a_floor_that_the_champion_reaches_holds_for_a_challenger_that_is_better(name: str) -> None:
    sums = counts(named(ROWS), named(ROWS, wrong=USUAL))
    beside = judge(name, sums).beside
    assert beside is not None
    for floor, status in ((beside.champion, "FAIL"), (beside.champion + 1e-9, "PASS"), (beside.champion - 1e-9, "FAIL")):
        assert judge(name, sums, floor=floor).status == status
    assert "below the floor, which the champion reaches" in judge(name, sums, floor=beside.champion).detail


def test_each_figure_is_the_one_of_its_gate() -> None:
    found = {name: judge(name, counts(named(ROWS, wrong=one_break_more("ann")), named(ROWS, wrong=USUAL))).beside for name in FLOORS}
    assert found["breakidle_recall"] == BesideChampion(windows=400, challenger=34 / 50, champion=35 / 50)
    assert found["breakidle_precision"] == BesideChampion(windows=400, challenger=34 / 49, champion=35 / 50)
    assert found["no_class_below_50_precision"] == BesideChampion(windows=400, challenger=35 / 51, champion=35 / 50)
    assert found["macro_f1"] is not None
    assert found["macro_f1"].challenger == pytest.approx((6 * 0.7 + 68 / 99 + 70 / 101) / 8)
    assert found["unseen_user_f1"] is not None
    assert found["unseen_user_f1"].challenger == found["unseen_user_f1"].champion


@pytest.mark.parametrize("name", FLOORS)
def test_the_strict_policy_changes_nothing(name: str) -> None:
    sums = counts(named(ROWS), named(ROWS, wrong=USUAL))
    assert judge(name, sums, config=improving().with_changes(floor_policy="strict")) == missed(name)


@pytest.mark.parametrize("name", FLOORS)
def test_without_a_champion_or_with_few_windows_the_floors_hold_and_say_so(name: str) -> None:
    sums = counts(named(ROWS), named(ROWS, wrong=USUAL))
    alone, few = judge(name, None), judge(name, sums, config=improving(min_windows=401))
    assert (alone.status, few.status, alone.beside, few.beside) == ("FAIL", "FAIL", None, None)
    assert "no champion" in alone.detail
    assert "400 windows can be compared with the champion, and min_windows is 401" in few.detail
    assert judge(name, sums, config=improving(min_windows=400)).status == "PASS"


def test_the_floor_holds_where_a_figure_is_undefined() -> None:
    never = named(ROWS, wrong=(ROWS["label"] == BREAK_IDLE).to_numpy() | USUAL)
    only_right = never.predicted.copy()
    only_right[only_right == never.true[ROWS["label"] == BREAK_IDLE][0]] = 8  # no break is ever named
    silent = Predictions(never.key, never.true, only_right)
    usual = named(ROWS, wrong=USUAL)
    assert judge("breakidle_precision", counts(usual, silent)).status == "FAIL"
    assert judge("no_class_below_50_precision", counts(silent, usual)).status == "FAIL"
    assert judge("no_class_below_50_precision", counts(usual, silent)).beside is not None  # the lowest of the labels that it names
    undefined = judge("breakidle_recall", counts(usual, usual), config=improving(min_class_windows=51))
    assert (undefined.status, undefined.beside) == ("FAIL", None)
    assert "no such figure of both models" in undefined.detail


@pytest.mark.parametrize("name", FLOORS)
def test_counts_that_raise_make_a_missed_floor_an_error(name: str) -> None:
    assert judge(name, Raising()).status == "ERROR"


def test_only_a_floor_that_failed_is_judged_again() -> None:
    sums = counts(named(ROWS), named(ROWS, wrong=USUAL))
    others = [gate(name, "FAIL") for name in CANDIDATE_GATES if name not in FLOORS]
    same = [*others, *(gate(name, status) for name in FLOORS for status in ("PASS", "INCONCLUSIVE", "ERROR", "NOT_APPLICABLE"))]
    assert judge_floors(same, sums, held_out=HELD_OUT, config=improving()) == same
    assert "reject_rate_bounds" in {each.name for each in others}


def test_a_gate_that_was_judged_beside_the_champion_had_failed_alone() -> None:
    found = judge("macro_f1", counts(named(ROWS), named(ROWS, wrong=USUAL)))
    assert judged_alone(found).numbers == missed("macro_f1").numbers
    assert judged_alone(missed("macro_f1")) == missed("macro_f1")
