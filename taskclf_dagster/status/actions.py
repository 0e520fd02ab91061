"""Finds what a person can do to a home now: retrain, approve, roll back, change settings; else why not, and what each will do.

Decides nothing: whoever acts asks the domain again. What is read is passed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import find_later_decision, find_later_judgement
from taskclf_dagster.domain.registry.retention import find_awaiting
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.domain.retraining.present_policy import require_present_policy
from taskclf_dagster.domain.scheduling.triggers import TriggerAssessment
from taskclf_dagster.errors import RegistryRefusedError
from taskclf_dagster.home import Home
from taskclf_dagster.status.overview_records import Action, Actions, ApproveAction, Problem, RollbackAction, RollbackTarget

READ_ONLY = "This server only shows: it was started with --read-only."


NO_DAEMON = "No daemon is running, so nothing that is launched here would start: start `taskclf-dagster serve`."


NONE_WAITS = "No decision waits for approval."


@dataclass(frozen=True)
class Waiting:
    """The decision that waits for approval.

    Attributes:
        decision: the one that can be approved; None if none or several can.
        refusal: why it, or none, can be approved; None if it can.
        as_judged: True if only today's stricter policy is in the way.
    """

    decision: PromotionDecision | None
    refusal: str | None
    as_judged: bool = False


@dataclass(frozen=True)
class Circumstances:
    """The circumstances on which every action depends.

    Attributes:
        read_only: True if the server changes nothing.
        has_daemon: True if what is launched would start.
        unfinished: sentence about the retrain under way, or in the queue; None without one.
        problems: what is broken.
        typical_seconds: median time of the last retrains [s]; None without one.
        nothing_recorded: says that taskclf has recorded no day yet; None if it has.
    """

    read_only: bool
    has_daemon: bool
    unfinished: str | None
    problems: Sequence[Problem]
    typical_seconds: float | None = None
    nothing_recorded: str | None = None

    def find_obstacle(self, *, needs: Sequence[str] = ()) -> str | None:
        """Returns why nothing can be launched now; None if something can.

        Args:
            needs: kinds of problems that are in the way.
        """
        if self.read_only:
            return READ_ONLY
        broken = next((problem for problem in self.problems if problem.kind in needs), None)
        if broken is not None:
            return f"{broken.title}: {broken.detail.rstrip('.')}. {broken.fix}"
        return None if self.has_daemon else NO_DAEMON


def find_waiting(state: RegistryState, decisions: Sequence[PromotionDecision], config: RetrainConfig) -> Waiting:
    """Returns the decision that waits for approval, and whether it can be approved by today's policy.

    Args:
        state: the registry.
        decisions: those of the home, the newest first.
        config: the present configuration.
    """
    waiting = find_awaiting(state, decisions)
    if len(waiting) > 1:
        names = ", ".join(decision.decision_id for decision in waiting)
        return Waiting(None, f"{len(waiting)} decisions wait for approval. Approve one with `taskclf-dagster approve`: {names}.")
    if not waiting:
        return Waiting(None, _explain_none(state, decisions))
    (decision,) = waiting
    try:
        require_present_policy(decision, config, approved=True)
    except RegistryRefusedError as error:
        return Waiting(decision, str(error), as_judged=True)
    return Waiting(decision, None)


def find_actions(
    home: Home,
    circumstances: Circumstances,
    *,
    trigger: TriggerAssessment | None,
    waiting: Waiting,
    targets: list[RollbackTarget],
    blocked: Sequence[str],
    config: RetrainConfig,
    active_id: str | None,
) -> Actions:
    """Returns what can be done now.

    Args:
        home: the taskclf home.
        circumstances: what every action depends on.
        trigger: the assessment of the triggers; None if a file cannot be read.
        waiting: the decision that waits.
        targets: of a rollback, the default first.
        blocked: models that a rollback left, in that order.
        config: the present configuration.
        active_id: the active model; None without one.
    """
    obstacle = circumstances.find_obstacle(needs=("home",))
    return Actions(
        trigger=_find_trigger(circumstances, trigger, config),
        approve=_find_approval(obstacle, waiting, active_id),
        rollback=_find_rollback(obstacle, targets, blocked),
        config=Action(
            allowed=not circumstances.read_only,
            reason=READ_ONLY if circumstances.read_only else None,
            effect=f"Writes {home.root / 'taskclf_dagster.yaml'}. Each change is recorded, and none trains or promotes a model.",
        ),
    )


def _find_trigger(circumstances: Circumstances, trigger: TriggerAssessment | None, config: RetrainConfig) -> Action:
    reason = circumstances.find_obstacle(needs=("home", "config", "data"))
    if reason is None and circumstances.unfinished is not None:
        reason = f"{circumstances.unfinished} Wait for it to end."
    if reason is None and trigger is not None and trigger.blockers:
        found = f"A retrain would end without a result: {'; '.join(trigger.blockers).rstrip('.')}."
        reason = circumstances.nothing_recorded or found
    return Action(allowed=reason is None, reason=reason, effect=_say_retrain(circumstances, trigger, config))


def _say_retrain(circumstances: Circumstances, trigger: TriggerAssessment | None, config: RetrainConfig) -> str:
    then = "becomes the running model" if config.promotion.auto_promote else "waits for your approval"
    seconds = circumstances.typical_seconds
    takes = "" if seconds is None else f" It takes about {say_duration(seconds)}."
    effect = (
        "Trains a new model on the labels up to now, and tests it beside the running one on minutes that neither has learned from. "
        f"If it passes every check it {then}; until then the running model stays.{takes}"
    )
    if trigger is not None and trigger.changed_spans == 0 and trigger.data.problem is None:
        effect += " No label is new since the last decision, so without force it ends before the training."
    return effect


def say_duration(seconds: float) -> str:
    """Returns a time for a person: 40 seconds, 3 minutes, 2 hours."""
    for size, unit in ((3600.0, "hour"), (60.0, "minute")):
        if seconds >= 1.5 * size:
            return f"{round(seconds / size)} {unit}s"
    whole = max(1, round(seconds))
    return f"{whole} second" if whole == 1 else f"{whole} seconds"


def _find_approval(obstacle: str | None, waiting: Waiting, active_id: str | None) -> ApproveAction:
    decision = waiting.decision
    if decision is None:
        return ApproveAction(allowed=False, reason=waiting.refusal, effect="", decision_id=None, model_id=None, as_judged=False)
    model_id = decision.challenger.model_id
    instead = "" if active_id is None else f" in place of {active_id}"
    effect = (
        f"taskclf runs {model_id}{instead}, from the next time that it loads its model. First every figure is computed again from the "
        "stored data, which takes some seconds. Nothing is trained, and a rollback takes it back."
    )
    reason = obstacle or waiting.refusal
    return ApproveAction(
        allowed=reason is None,
        reason=reason,
        effect=effect,
        decision_id=decision.decision_id,
        model_id=model_id,
        as_judged=waiting.as_judged and obstacle is None,
    )


def _find_rollback(obstacle: str | None, targets: list[RollbackTarget], blocked: Sequence[str]) -> RollbackAction:
    default = next((target for target in targets if target.is_default), None)
    if not targets and blocked:
        reason: str | None = f"A rollback left {blocked[-1]} and blocked it. `taskclf-dagster unblock {blocked[-1]}` allows it again."
    elif not targets:
        reason = "There is no other model that can run. A retrain makes one."
    else:
        reason = obstacle
    effect = default.effect if default is not None else targets[0].effect if targets else ""
    return RollbackAction(allowed=reason is None, reason=reason, effect=effect, targets=targets)


def _explain_none(state: RegistryState, decisions: Sequence[PromotionDecision]) -> str:
    """Returns why no decision can be approved: the newest one that asked for it, if it is the last about its challenger, is an old one."""
    newest = next((decision for decision in decisions if not decision.options.dry_run), None)
    moved = {entry.decision_id for entry in state.history.moves}
    if newest is None or newest.verdict != "AWAITING_APPROVAL" or newest.decision_id in moved:
        return NONE_WAITS
    later = find_later_decision(state.home, newest, state.receipts)
    again = find_later_judgement(state.home, newest, state.receipts)
    if later is not None:
        why = f"decision {later.decision_id} is about later labels"
    elif again is not None:
        why = f"decision {again.decision_id} judged the same model again"
    else:
        why = "the running model or its settings changed since, so that its comparison no longer holds"
    return f"Decision {newest.decision_id} waited, and can no longer be approved: {why}. Retrain to get a new one."
