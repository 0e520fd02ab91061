"""A home whose last promotion did harm, or good, and looks at its probation."""

from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.probation import ProbationRecord, list_probations
from taskclf_dagster.domain.probation.probation_step import ProbationStep
from taskclf_dagster.domain.probation.probation_views import ProbationLook, ProbationReport
from taskclf_dagster.home import Home
from taskclf_dagster_tests.scenario import AS_OF, DAY, add_learnable_days, make_home, write_labels
from taskclf_dagster_tests.trial_scenario import CONFIG, FIRST_DAYS, MIXED_UP, live_on, retrain

PROMOTED_AT = AS_OF
ALERTS = CONFIG.with_changes(min_windows=50)
ROLLS_BACK = ALERTS.with_changes(auto_rollback=True)


def home_with_promotion(folder: Path, *, worse: bool = True, days: int = 7) -> tuple[Home, PromotionDecision]:
    """A home whose newest model was promoted by all gates on labels that were mixed up, which people corrected then.

    Without `worse` it is the model before that learned from such labels.
    """
    home = make_home(folder)
    add_learnable_days(home, first=AS_OF - FIRST_DAYS * DAY, days=FIRST_DAYS)
    right = pq.read_table(home.labels).to_pylist()
    mixed_up = [{**each, "label": MIXED_UP.get(each["label"], each["label"])} for each in right]
    write_labels(home, right if worse else mixed_up)
    retrain(home, AS_OF - DAY, ALERTS)
    write_labels(home, mixed_up if worse else right)
    decision = retrain(home, PROMOTED_AT, ALERTS)
    assert decision.verdict == "PROMOTE", decision.reason
    write_labels(home, right)
    live_on(home, days)
    return home, decision


def look(home: Home, days: float, *, config: RetrainConfig = ROLLS_BACK) -> ProbationReport:
    """A look in the morning, some days after the promotion."""
    at = PROMOTED_AT + days * DAY + timedelta(hours=5)
    return ProbationStep(home, config, at, at, 1, run_id="monitor").look()


def look_daily(home: Home, *, last: int, config: RetrainConfig = ROLLS_BACK) -> list[ProbationLook]:
    """The looks of each morning until the probation ends."""
    looks = []
    for days in range(1, last + 1):
        found = look(home, days, config=config).looks
        looks += found[:1]
        if found and found[0].outcome in ("rolled_back", "over", "moved_on"):
            break
    return looks


def probation_of(home: Home) -> ProbationRecord:
    (record,) = list_probations(home)[0]
    return record
