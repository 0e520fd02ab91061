"""Finds the challengers that are to be tried beside the active model, from the receipts alone."""

from taskclf_dagster.config.trial_settings import TrialSettings
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import find_later_judgement, list_decisions
from taskclf_dagster.domain.decision.trial import list_trials
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.registry.active_model import find_trusted_model
from taskclf_dagster.domain.registry.signed_state import find_distrust
from taskclf_dagster.domain.registry.state import RegistryState


def find_contenders(state: RegistryState, settings: TrialSettings) -> list[PromotionDecision]:
    """Returns the decisions about the challengers that may be tried, the newest first, at most `max_contenders`.

    A challenger may be tried if it was compared with the present active model and held because comparative gates are INCONCLUSIVE and
    nothing else, or if it awaits approval and the settings say so; its receipt must be trusted, its bundle be there, no rollback have left
    it, and no trial of it have ended.
    """
    active = find_trusted_model(state).model_id
    ended = {trial.model_id for trial in list_trials(state.home)[0] if not trial.is_open}
    found = [
        decision
        for decision in list_decisions(state.home, state.receipts)[0]
        if waits_for_evidence(decision, settings)
        and decision.champion.model is not None
        and decision.champion.model.model_id == active
        and decision.challenger.model_id not in state.history.blocked
        and decision.challenger.model_id not in ended
        and find_bundle(state.home, decision.challenger.model_id) is not None
        and find_distrust(state.home, decision, state.keys) is None
        and not _is_judged_again(state, decision)
    ]
    return found[: settings.max_contenders]


def _is_judged_again(state: RegistryState, decision: PromotionDecision) -> bool:
    """Returns True if another decision took the place of this one; that of its own trial may have been cut off before anything followed."""
    later = find_later_judgement(state.home, decision, state.receipts)
    return later is not None and (later.trial is None or later.trial.held_by != decision.decision_id)


def waits_for_evidence(decision: PromotionDecision, settings: TrialSettings) -> bool:
    """Returns True if more labels could decide about the challenger of a decision."""
    if decision.options.dry_run or decision.trial is not None or decision.champion.state != "ok":
        return False
    if decision.verdict == "AWAITING_APPROVAL":
        return settings.awaiting_approval
    open_gates = [gate for gate in decision.gates if gate.status not in ("PASS", "NOT_APPLICABLE")]
    undecided = bool(open_gates) and all(gate.status == "INCONCLUSIVE" and gate.kind == "comparative" for gate in open_gates)
    return decision.verdict == "HOLD" and decision.dataset.feasibility.promotable and undecided
