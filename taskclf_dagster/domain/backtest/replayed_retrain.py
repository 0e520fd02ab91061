"""One retrain of a replay: the steps of a real one, from the same functions, in the home of a policy.

What a retrain does for people and for other programs is left out, because no decision depends on it: suggestions, days left out, reports.
"""

from dataclasses import dataclass
from datetime import datetime

from taskclf_dagster.domain.backtest.original_rule import find_original_objections
from taskclf_dagster.domain.backtest.policies import Policy
from taskclf_dagster.domain.backtest.shared_datasets import SharedDatasets
from taskclf_dagster.domain.backtest.shared_fits import SharedFits, Trainer
from taskclf_dagster.domain.backtest.unjudged_promotion import leave_unjudged, promote_unjudged, remember_unjudged
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.last_decided import read_last_decided
from taskclf_dagster.domain.decision.references import RunOptions
from taskclf_dagster.domain.models.challenger import ChallengerModel
from taskclf_dagster.domain.models.training import resolve_num_threads
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.domain.retraining.apply_decision import apply_decision
from taskclf_dagster.domain.retraining.decision_step import make_decision
from taskclf_dagster.domain.retraining.reports import report_challenger, report_champion
from taskclf_dagster.domain.retraining.steps import remember_skip
from taskclf_dagster.errors import DecisionFinding
from taskclf_dagster.home import Home
from taskclf_dagster.progress import Report, ignore_progress

RUN_ID = "backtest"


@dataclass(frozen=True)
class RetrainOutcome:
    """The outcome of one retrain.

    Attributes:
        outcome: the verdict, SKIP, or BLOCKED where there was nothing to learn from.
        reason: of the outcome.
        promoted: True if the challenger became the active model.
        challenger: None if none was trained.
        decision: the receipt; None for rules that need none.
        cpu_seconds: CPU time of all its steps, also of those whose results were there already [s].
    """

    outcome: str
    reason: str
    promoted: bool = False
    challenger: ChallengerModel | None = None
    decision: PromotionDecision | None = None
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Retrainer:
    """Retrains in the homes of policies.

    Attributes:
        datasets, fits: shared by all policies.
        trainer: the program.
    """

    datasets: SharedDatasets
    fits: SharedFits
    trainer: Trainer

    def retrain(self, home: Home, policy: Policy, *, at: datetime, force: bool, on_progress: Report = ignore_progress) -> RetrainOutcome:
        """Makes the dataset, trains, decides by the rule of the policy, and puts the decision into effect.

        Args:
            home: of the policy.
            policy: the policy.
            at: the as-of time, which is also the time of the decision.
            force: True to train although no label is new.
            on_progress: takes reports of the rounds of the fits.
        """
        dataset = self.datasets.get(home, as_of=at, config=policy.config, may_skip=not force)
        snapshot = dataset.snapshot
        if snapshot is None:
            return RetrainOutcome("BLOCKED", dataset.blocked, cpu_seconds=dataset.cpu_seconds)
        if snapshot.skip_reason is not None:
            remember_skip(home, snapshot, run_id=RUN_ID, at=at)
            return RetrainOutcome("SKIP", snapshot.skip_reason, cpu_seconds=dataset.cpu_seconds)
        last = read_last_decided(home)
        earlier = None if last is None else last.settings
        challenger, cpu_of_fit = self.fits.get(home, snapshot, config=policy.config, earlier=earlier, on_progress=on_progress)
        begin = self.trainer.cpu_clock()
        judge = _decide_by_gates if policy.rule in ("gates", "never") else _decide_by_rule
        found = judge(home, snapshot, challenger, policy, self.trainer, at, force)
        cpu_seconds = dataset.cpu_seconds + cpu_of_fit + self.trainer.cpu_clock() - begin
        return RetrainOutcome(found.outcome, found.reason, found.promoted, challenger, found.decision, cpu_seconds)


def _decide_by_gates(
    home: Home, snapshot: DatasetSnapshot, challenger: ChallengerModel, policy: Policy, trainer: Trainer, at: datetime, force: bool
) -> RetrainOutcome:
    config, threads = policy.config, _threads(policy, snapshot, trainer)
    ours = report_challenger(home, snapshot, challenger, config=config, num_threads=threads)
    theirs = report_champion(home, snapshot, config=config, num_threads=threads)
    options = RunOptions(dry_run=False, forced=force, bootstrap=False)
    decision = make_decision(home, snapshot, challenger, ours, theirs, config=config, options=options, code_version=trainer.code_version)
    applied = apply_decision(home, decision, settings=config, recompute=_trust_own_steps, run_id=RUN_ID, at=at)
    return RetrainOutcome(decision.verdict, decision.reason, applied.pointer is not None, decision=decision)


def _trust_own_steps(_state: RegistryState, _decision: PromotionDecision) -> list[DecisionFinding]:
    """Computes nothing again: nobody else writes into the home of a policy between the steps."""
    return []


def _decide_by_rule(
    home: Home, snapshot: DatasetSnapshot, challenger: ChallengerModel, policy: Policy, trainer: Trainer, at: datetime, _force: bool
) -> RetrainOutcome:
    objections: list[str] = []
    if policy.rule == "original":
        threads = _threads(policy, snapshot, trainer)
        objections = find_original_objections(home, snapshot, challenger, config=policy.config, num_threads=threads)
    outcome = RetrainOutcome("REJECT", "; ".join(objections))
    if objections:
        leave_unjudged(home, challenger)
    else:
        promote_unjudged(home, challenger, at=at, rule=policy.rule, own_threshold=policy.rule != "original")
        outcome = RetrainOutcome("PROMOTE", f"by the rule {policy.rule}", promoted=True)
    remember_unjudged(home, snapshot, challenger, "PROMOTE" if outcome.promoted else "REJECT", at=at)
    return outcome


def _threads(policy: Policy, snapshot: DatasetSnapshot, trainer: Trainer) -> int:
    return resolve_num_threads(policy.config.training.train_params.num_threads, rows=snapshot.rows["test"], cores=trainer.cores)
