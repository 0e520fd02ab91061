"""Prints how trials of a better and of a worse challenger end on generated homes, and checks the receipt of each promotion.

The active model has few trees and the challenger many, or the other way round; the challenger is held because its test has too few windows.
Then two weeks pass with a look every morning.
"""

import argparse
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.demo.generator import generate_demo_home
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import verify_stored
from taskclf_dagster.domain.decision.references import RunOptions
from taskclf_dagster.domain.decision.trial import read_trial
from taskclf_dagster.domain.evaluation.evaluation_set import EvaluationSet
from taskclf_dagster.domain.models.bundle import load_bundle
from taskclf_dagster.domain.models.bundle_paths import require_bundle
from taskclf_dagster.domain.models.challenger import build_challenger
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.retraining.apply_decision import apply_decision
from taskclf_dagster.domain.retraining.dataset_step import make_labeled_windows, make_snapshot
from taskclf_dagster.domain.retraining.decision_step import make_decision
from taskclf_dagster.domain.retraining.recomputation import recompute_decision, recompute_stored
from taskclf_dagster.domain.retraining.reports import report_challenger, report_champion
from taskclf_dagster.domain.trials.closed_days import read_gold_windows
from taskclf_dagster.domain.trials.trial_step import TrialLook, TrialStep
from taskclf_dagster.domain.trials.two_models import count_pair
from taskclf_dagster.home import Home

LAST, CHAMPION_AFTER, HELD_AFTER, DAYS = date(2026, 11, 30), 15, 20, 35
MANY, ENOUGH = 100, 1_000_000
RECOMPUTE = partial(recompute_decision, cores=1)
SETTINGS = {
    "auto_promote": True,
    "min_class_windows": 15,
    "search": "off",
    "prove_reproducible": False,
    "max_flip_excess": 0.05,
    "require_baseline_improvement": False,
    "gates": {
        "min_macro_f1": 0.2,
        "min_weighted_f1": 0.2,
        "min_breakidle_precision": 0.3,
        "min_breakidle_recall": 0.3,
        "min_class_precision": 0.1,
        "min_reject_rate": 0.0,
        "max_reject_rate": 0.9,
        "min_seen_user_f1": 0.1,
    },
}


def retrain(home: Home, as_of: datetime, rounds: int, *, min_windows: int = 300) -> PromotionDecision:
    """Runs every step of a retrain."""
    config = RetrainConfig.model_validate({**SETTINGS, "train_params": {"num_boost_round": rounds}, "min_windows": min_windows})
    labeled = make_labeled_windows(home, as_of=as_of, settings=config.dataset)
    snapshot = make_snapshot(home, labeled, config=config, holdout_fraction=0.0, may_skip=False)
    silent = {"code_version": "0", "library_versions": {}, "stopwatch": lambda: 0.0, "on_progress": lambda _: None}
    challenger = build_challenger(home, snapshot, config=config, earlier=None, cores=1, **silent)
    ours = report_challenger(home, snapshot, challenger, config=config, num_threads=1)
    theirs = report_champion(home, snapshot, config=config, num_threads=1)
    options = RunOptions(dry_run=False, forced=False, bootstrap=False)
    decision = make_decision(home, snapshot, challenger, ours, theirs, config=config, options=options, code_version="0")
    apply_decision(home, decision, settings=config, recompute=RECOMPUTE, run_id="retrain", at=as_of)
    return decision


def run_trial(home: Home, held_at: datetime) -> tuple[int, TrialLook]:
    """Looks every morning until the trial ends; returns the number of looks and the last one."""
    config = RetrainConfig.model_validate(SETTINGS)
    for number in range(1, DAYS - HELD_AFTER + 3):
        at = held_at + timedelta(days=number, hours=5)
        look = TrialStep(home, config, RECOMPUTE, at, at, 1, "0").look().looks[0]
        if look.outcome != "waits":
            break
    return number, look


def measure_fortnight(home: Home, held_at: datetime, ours: str, theirs: str) -> float:
    """Returns the challenger minus the champion in macro-F1 on all labeled windows of the fortnight, whenever the trial ended."""
    trial = read_trial(home, ours)
    rows = read_gold_windows(home, trial, start=trial.windows_from, end=held_at + timedelta(days=DAYS - HELD_AFTER))
    test = EvaluationSet(rows, "v1", sorted(rows["user_id"].unique()), [], 1, 1)
    bundles = read_registry_state(home).bundles
    found = [test.evaluate(home, load_bundle(bundles.files(require_bundle(home, each)))).scored for each in (ours, theirs)]
    return float(count_pair(rows, *found).by_block().total.macro_f1_difference())


def try_one(folder: Path, seed: int, users: int, few: int, *, better: bool) -> str:
    """Returns a line about one home."""
    started = time.process_time()
    generate_demo_home(folder, end=LAST, users=users, days=DAYS, seed=seed)
    home, first = Home(folder), datetime(LAST.year, LAST.month, LAST.day, tzinfo=UTC) - timedelta(days=DAYS - 1)
    champion = retrain(home, first + timedelta(days=CHAMPION_AFTER), few if better else MANY).challenger.model_id
    held_at = first + timedelta(days=HELD_AFTER)
    contender = retrain(home, held_at, MANY if better else few, min_windows=ENOUGH).challenger.model_id
    looks, look = run_trial(home, held_at)
    checked = ""
    if look.decision_id is not None:
        decision, findings = verify_stored(home, look.decision_id)
        wrong = [*findings, *recompute_stored(read_registry_state(home), decision, cores=1)]
        checked = ", its receipt verifies" if not wrong else f", BUT {wrong}"
    difference = "unknown" if look.difference is None else f"{look.difference:+.4f}"
    figures = f"{difference} ({look.lower:+.4f} to {look.upper:+.4f}), {look.user_days} user-days, {look.windows} windows"
    figures += f"; on the whole fortnight {measure_fortnight(home, held_at, contender, champion):+.4f}"
    return f"seed {seed}: {look.outcome} at look {looks}: {figures}{checked}; {time.process_time() - started:.0f} CPU s"


def main() -> None:
    """Reads the options and prints a line for each home."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--users", type=int, default=3)
    parser.add_argument("--few", type=int, default=18, help="boosting rounds of the model with few trees")
    parser.add_argument("--worse", action="store_true", help="the challenger is worse; default: better")
    given = parser.parse_args()
    for seed in range(given.seeds):
        with tempfile.TemporaryDirectory() as folder:
            print(try_one(Path(folder) / "home", seed, given.users, given.few, better=not given.worse), flush=True)


if __name__ == "__main__":
    main()
