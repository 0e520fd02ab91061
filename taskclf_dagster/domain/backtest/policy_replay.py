"""Replays one policy: look after look, as the schedule and the sensor `label_arrival` would have launched retrains."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from taskclf_dagster.domain.backtest.due_retrains import find_due_retrain
from taskclf_dagster.domain.backtest.fits_ahead import FitsAhead
from taskclf_dagster.domain.backtest.looks import Look
from taskclf_dagster.domain.backtest.policies import Policy
from taskclf_dagster.domain.backtest.replayed_home import ReplayedHome
from taskclf_dagster.domain.backtest.replayed_retrain import Retrainer, RetrainOutcome
from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.registry.champion import resolve_active_model
from taskclf_dagster.domain.registry.state import read_registry_state
from taskclf_dagster.domain.scheduling.triggers import Cause
from taskclf_dagster.progress import Progress, Report, ignore_progress


@dataclass(frozen=True)
class ReplayedRun:
    """One launched retrain.

    Attributes:
        at: its time.
        cause: of the launch.
        outcome: its outcome.
    """

    at: datetime
    cause: Cause
    outcome: RetrainOutcome


@dataclass(frozen=True)
class ServedModel:
    """A model that was active from a time on.

    Attributes:
        since: the time.
        model: as taskclf applies it.
    """

    since: datetime
    model: LoadedModel


@dataclass
class PolicyRun:
    """A replayed policy.

    Attributes:
        policy: the policy.
        runs: the launched retrains.
        served: the models that were active, in order.
        blocked: number of looks at which a retrain was due and there was nothing to learn from.
    """

    policy: Policy
    runs: list[ReplayedRun] = field(default_factory=list)
    served: list[ServedModel] = field(default_factory=list)
    blocked: int = 0


def replay_policy(
    replayed: ReplayedHome,
    policy: Policy,
    looks: Sequence[Look],
    retrainer: Retrainer,
    *,
    ahead: FitsAhead | None = None,
    on_progress: Report = ignore_progress,
) -> PolicyRun:
    """Replays a policy in a home of its own.

    Args:
        replayed: the home, without a model.
        policy: the policy.
        looks: in order of time.
        retrainer: makes datasets and challengers, or finds those of other policies.
        ahead: trains challengers of later looks in other processes; None for none.
        on_progress: takes a report before each look.
    """
    found = PolicyRun(policy)
    for number, look in enumerate(looks):
        on_progress(Progress(f"{policy.name}: {look.at:%Y-%m-%d}", number, len(looks), "look"))
        if policy.rule == "never" and found.served:
            break
        replayed.advance(look.at)
        due = find_due_retrain(replayed.home, policy.config.scheduling, look)
        if due is None:
            continue
        if ahead is not None:
            ahead.wait(look.at)
        outcome = retrainer.retrain(replayed.home, policy, at=look.at, force=due.force)
        if outcome.outcome == "BLOCKED":
            found.blocked += 1
            continue
        found.runs.append(ReplayedRun(look.at, due.cause, outcome))
        if ahead is not None and outcome.challenger is not None:
            ahead.start(policy, looks[number + 1 :], outcome.challenger.settings)
        if outcome.promoted:
            model = resolve_active_model(read_registry_state(replayed.home)).model
            if model is not None:
                found.served.append(ServedModel(look.at, model))
    return found
