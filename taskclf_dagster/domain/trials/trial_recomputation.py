"""Computes again what a receipt says of a trial, from its dataset, both bundles and the snapshot of the contender."""

import pandas as pd

from taskclf_dagster.domain.data.snapshot_rows import StoredRows, count_splits
from taskclf_dagster.domain.data.split import SPLITS
from taskclf_dagster.domain.decision.decision import PromotionDecision, content_hash
from taskclf_dagster.domain.decision.decision_store import read_decision
from taskclf_dagster.domain.decision.differences import differ
from taskclf_dagster.domain.decision.trial import TrialEvidence
from taskclf_dagster.domain.trials.trial_decision import REPRODUCIBLE
from taskclf_dagster.domain.trials.two_models import TrialModels, assess_trial_feasibility
from taskclf_dagster.errors import DecisionFinding


def compare_trial_dataset(
    decision: PromotionDecision, rows: pd.DataFrame, unseen: list[str], training: StoredRows
) -> list[DecisionFinding]:
    """Compares the counts of the split, gold labels, the newest window, feasibility and held-out users of the dataset of a trial.

    Args:
        decision: the receipt.
        rows: of the dataset, with ABOUT_ROWS.
        unseen: users that the bundle names as held out.
        training: the snapshot that the contender was made of.
    """
    dataset, fewest = decision.dataset, decision.settings.evaluation.min_class_windows
    feasibility = assess_trial_feasibility(rows, training, dataset.holdout_users, min_class_windows=fewest)
    latest = rows["bucket_start_ts"].max().to_pydatetime() if len(rows) else None
    counts = {**dict.fromkeys(SPLITS, 0), **dataset.split}
    return [
        *differ("the split", counts, count_splits(rows)),
        *differ("the number of gold windows", counts["test"], int(rows["gold"].sum())),
        *differ("the newest labeled window", dataset.labels_until, latest),
        *differ("the labels that can be judged", dataset.feasibility.judged_classes, feasibility.judged_classes),
        *differ("the feasibility", dataset.feasibility.promotable, feasibility.promotable),
        *differ("the held-out users", sorted(dataset.holdout_users), sorted(unseen)),
    ]


def compare_trial(decision: PromotionDecision, trial: TrialEvidence, models: TrialModels, rows: pd.DataFrame) -> list[DecisionFinding]:
    """Compares the counts before a trial and what the earlier receipt says, and finds windows that one of its models can have learned."""
    start, early = models.find_start(), int((rows["bucket_start_ts"] < trial.windows_from).sum())
    claims = {
        "the trial begins before both models were made": start is not None and start <= trial.windows_from,
        f"the receipt {trial.held_by} is gone, or says something else": _is_held_as_told(decision, trial, models),
        f"{early} windows are before the start of the trial": early == 0,
    }
    return [
        *differ("the counts before the trial", trial.reference, models.count_reference()),
        *(DecisionFinding("trial_does_not_follow", found) for found, holds in claims.items() if not holds),
    ]


def _is_held_as_told(decision: PromotionDecision, trial: TrialEvidence, models: TrialModels) -> bool:
    """Returns True if the receipt that held the challenger has the same bundle and proof, and the hash and windows that the trial names."""
    held = read_decision(models.home, trial.held_by)
    if held is None or content_hash(held) != trial.held_hash or held.challenger.files != decision.challenger.files:
        return False
    proofs = [[gate for gate in each.gates if gate.name == REPRODUCIBLE] for each in (held, decision)]
    return sum(held.dataset.split.values()) == trial.held_windows and proofs[0] == proofs[1]
