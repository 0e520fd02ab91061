"""Tries what a HOLD for want of windows advises: it gives the windows that were wanted."""

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.registry.promotion import promote
from taskclf_dagster.domain.retraining.recomputation import recompute_decision
from taskclf_dagster.home import Home
from taskclf_dagster_tests.retrain_scenario import LEARNED, run_retrain, take_snapshot
from taskclf_dagster_tests.scenario import AS_OF, DAY, add_learnable_days, copy_of, learnable_home

WANTED = 300
LAX = LEARNED.with_changes(
    min_class_windows=5,
    min_windows=WANTED,
    search="off",
    prove_reproducible=False,
    require_baseline_improvement=False,
    gates={
        **dict.fromkeys(("min_macro_f1", "min_weighted_f1", "min_breakidle_precision", "min_breakidle_recall"), 0.1),
        "min_class_precision": 0.0,
        "min_reject_rate": 0.0,
        "max_reject_rate": 1.0,
    },
)
"""Any model passes the candidate gates."""


def _retrain(home: Home, as_of: datetime, config: RetrainConfig = LAX) -> PromotionDecision:
    return run_retrain(home, take_snapshot(home, config, as_of=as_of)[0], config)


def _running(folder: Path, *, users: int, days: int, config: RetrainConfig = LAX) -> Home:
    """A home with a model that was trained a day ago."""
    home = learnable_home(folder, users=users, days=days)
    promote(home, _retrain(home, AS_OF, config), recompute=partial(recompute_decision, cores=1), at=AS_OF)
    add_learnable_days(home, users=users, days=1)
    return home


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Not to be written into."""
    return _running(tmp_path_factory.mktemp("running"), users=1, days=6)


@pytest.fixture
def home_of_one(original: Home, tmp_path: Path) -> Home:
    """A home of one user with a model that was trained a day ago."""
    return copy_of(original, tmp_path)


def _label(home: Home, minutes: int, *, users: int) -> datetime:
    """Adds days with so many labelled minutes from AS_OF + 1 day on; returns an as-of time after the last."""
    before = len(pq.read_table(home.labels))
    add_learnable_days(home, first=AS_OF + DAY, users=users, days=minutes // 60 + 1)
    table = pq.read_table(home.labels)
    spans = table.to_pylist()
    added = sorted(spans[before:], key=lambda span: span["start_ts"])
    ends = [span["end_ts"].replace(tzinfo=UTC) for span in added[: minutes // 10]]  # every span is ten minutes
    kept = sorted(spans[:before], key=lambda span: span["start_ts"]) + added[: minutes // 10]
    pq.write_table(table.from_pylist(kept, schema=table.schema), home.labels)
    return max(ends) + timedelta(hours=1)


@pytest.mark.parametrize("users", [1, 3])
def test_the_minutes_that_are_advised_give_the_windows_that_lack(home_of_one: Home, tmp_path: Path, users: int) -> None:
    home = home_of_one if users == 1 else _running(tmp_path / "several", users=users, days=3)
    held = _retrain(home, AS_OF + DAY)
    assert held.verdict == "HOLD"
    advised = re.search(r"label about (\d+) more minutes", held.reason)
    assert advised is not None
    assert held.comparison is not None
    minutes = int(advised[1])
    assert minutes > 3 * (WANTED - held.comparison.windows)  # what lacks is not what is to be labelled
    after = _retrain(home, _label(home, minutes, users=users)).comparison
    assert after is not None
    assert after.windows == pytest.approx(WANTED, rel=0.1)


def test_a_longer_look_back_is_advised_where_older_labels_give_enough_windows(tmp_path: Path) -> None:
    # with older labels, or a refit, the champion would have learned from what a longer look-back adds to the test part
    short = LAX.with_changes(data_lookback_days=4, training_lookback_days=4, refit=False)
    home = _running(tmp_path, users=1, days=20, config=short)
    held = _retrain(home, AS_OF + DAY, short)
    advised = re.search(r"set data_lookback_days to (\d+)", held.reason)
    assert advised is not None
    longer = _retrain(home, AS_OF + DAY, short.with_changes(data_lookback_days=int(advised[1]))).comparison
    assert longer is not None
    assert longer.windows >= WANTED


def test_a_longer_look_back_is_not_advised_without_older_labels(home_of_one: Home) -> None:
    assert "data_lookback_days" not in _retrain(home_of_one, AS_OF + DAY).reason


def test_bootstrap_is_offered_only_where_the_candidate_gates_pass(home_of_one: Home) -> None:
    assert "bootstrap" in _retrain(home_of_one, AS_OF + DAY).reason
    unreached = _retrain(home_of_one, AS_OF + DAY, LAX.with_changes(gates={"min_macro_f1": 1.0}))
    assert unreached.verdict == "REJECT"
    assert ("macro_f1 (" in unreached.reason, "only 160 windows left" in unreached.reason) == (True, True)  # all that is in the way
    assert "bootstrap" not in unreached.reason
