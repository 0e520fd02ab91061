"""A home with an active model and a challenger that was held, and looks at its trial."""

from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.decision.decision import PromotionDecision, sign_decision
from taskclf_dagster.domain.decision.decision_store import save_decision
from taskclf_dagster.domain.decision.trial import TrialRecord, read_trial
from taskclf_dagster.domain.registry.history import append_active_history
from taskclf_dagster.domain.registry.history_record import ActiveHistoryEntry, BlockedModel
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.registry.promotion import Recompute
from taskclf_dagster.domain.retraining.apply_decision import apply_decision
from taskclf_dagster.domain.retraining.recomputation import recompute_decision
from taskclf_dagster.domain.storage.signatures import NO_KEYS, Keys
from taskclf_dagster.domain.trials.trial_step import TrialLook, TrialsReport, TrialStep
from taskclf_dagster.home import Home
from taskclf_dagster_tests.retrain_scenario import run_retrain, take_snapshot
from taskclf_dagster_tests.scenario import AS_OF, DAY, add_learnable_days, make_home, retrain_config, write_labels

LENIENT = {
    "min_macro_f1": 0.1,
    "min_weighted_f1": 0.1,
    "min_breakidle_precision": 0.1,
    "min_breakidle_recall": 0.1,
    "min_class_precision": 0.0,
    "min_reject_rate": 0.0,
    "max_reject_rate": 1.0,
    "min_seen_user_f1": 0.0,
}
OPEN = {
    "auto_promote": True,
    "min_class_windows": 15,
    "gates": LENIENT,
    "require_baseline_improvement": False,
    "prove_reproducible": False,
    "refit": False,
    "search": "off",
}
FEW_TREES = {"num_boost_round": 8, "num_leaves": 8, "learning_rate": 0.3}
MIXED_UP = {"Build": "Debug", "Debug": "Build", "Review": "Write", "Write": "Review"}
"""Labels as somebody gives them who mixes them up: a model that learned from them is wrong on four of eight labels."""
CONFIG = retrain_config(**OPEN, train_params=FEW_TREES)
HELD_AT = AS_OF
FIRST_DAYS = 8
RECOMPUTE: Recompute = partial(recompute_decision, cores=1)


def home_with_contender(folder: Path, *, worse: bool = False, keys: Keys = NO_KEYS) -> tuple[Home, PromotionDecision]:
    """The champion learned from labels that were mixed up, the contender from right ones; the other way round if it is to be worse.

    The contender is held, because the comparison has fewer windows than it needs. The labels are right in the end.
    """
    home = make_home(folder)
    add_learnable_days(home, first=AS_OF - FIRST_DAYS * DAY, days=FIRST_DAYS)
    right = pq.read_table(home.labels).to_pylist()
    mixed_up = [{**each, "label": MIXED_UP.get(each["label"], each["label"])} for each in right]
    write_labels(home, right if worse else mixed_up)
    retrain(home, AS_OF - DAY, CONFIG, keys=keys)
    write_labels(home, mixed_up if worse else right)
    held = retrain(home, HELD_AT, CONFIG.with_changes(min_windows=100_000), keys=keys)
    write_labels(home, right)
    return home, held


def retrain(home: Home, as_of: datetime, config: RetrainConfig, *, keys: Keys = NO_KEYS) -> PromotionDecision:
    decision = sign_decision(run_retrain(home, take_snapshot(home, config, as_of=as_of)[0], config), keys)
    save_decision(home, decision)
    apply_decision(home, decision, settings=config, recompute=RECOMPUTE, run_id="retrain", at=as_of, keys=keys)
    return decision


def look(
    home: Home,
    days: int,
    *,
    config: RetrainConfig = CONFIG,
    ahead: timedelta = timedelta(0),
    recompute: Recompute = RECOMPUTE,
    keys: Keys = NO_KEYS,
) -> TrialsReport:
    """A look in the morning, some days after the contender was held; its as-of time may be ahead of that."""
    at = HELD_AT + days * DAY + timedelta(hours=5)
    return TrialStep(home, config, recompute, at + ahead, at, 1, "0123456", run_id="monitor", keys=keys).look()


def look_until_it_ends(home: Home, *, last: int, every: int = 1, config: RetrainConfig = CONFIG) -> TrialLook:
    for days in range(every, last + 1, every):
        found = look(home, days, config=config).looks[0]
        if found.outcome != "waits":
            break
    return found


def live_on(home: Home, days: int, *, first: datetime = HELD_AT) -> None:
    add_learnable_days(home, first=first, days=days)


def trial_of(home: Home, held: PromotionDecision) -> TrialRecord:
    trial = read_trial(home, held.challenger.model_id)
    assert trial is not None
    return trial


def block(home: Home, model_id: str) -> None:
    """Makes the history say that an earlier rollback left a model."""
    pointer = read_active(home)
    entry = ActiveHistoryEntry(at=HELD_AT, old=None, new=pointer, action="rollback", blocks=BlockedModel(model_id=model_id))
    append_active_history(home, entry)
