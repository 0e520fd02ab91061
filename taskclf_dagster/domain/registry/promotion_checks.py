"""Checks that a decision can be promoted now: it promotes, is the newest, and what it judged is unchanged. Nothing here writes.

`promotion` asks before it changes anything. If the decision follows from its numbers is checked in `decision.verification`.
"""

from datetime import datetime, timedelta

from taskclf_dagster.domain.decision.comparative_gates import REPAIR_HISTORY
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import find_later_decision, find_later_judgement
from taskclf_dagster.domain.decision.trial_gate import TRIAL_GATE
from taskclf_dagster.domain.decision.verdict import REQUIRED_GATES
from taskclf_dagster.domain.models.bundle_files import BundleFiles
from taskclf_dagster.domain.models.bundle_paths import find_bundle, resolve_model_dir
from taskclf_dagster.domain.registry.health import find_history_problem
from taskclf_dagster.domain.registry.rollback import describe_block
from taskclf_dagster.domain.registry.state import Digests, RegistryState
from taskclf_dagster.domain.storage.records import canonical_json
from taskclf_dagster.errors import BundleError, DecisionFinding, DecisionNotVerifiedError

TIME_AHEAD = timedelta(days=1)
"""The longest time by which the as-of time of a decision may be ahead of the present and of its newest labeled window."""


def require_promotable(
    state: RegistryState, decision: PromotionDecision, findings: list[DecisionFinding], *, at: datetime, approved: bool
) -> None:
    """Checks before any write that the decision holds and promotes, and that what it judged is unchanged."""
    wanted = "AWAITING_APPROVAL" if approved else "PROMOTE"
    if decision.verdict != wanted or decision.options.dry_run:
        findings.append(
            DecisionFinding("awaits_no_approval", f"it does not await approval: {decision.outcome}")
            if approved
            else DecisionFinding("moves_nothing", f"the verdict is {decision.outcome}, which moves nothing")
        )
    if set(decision.required_gates) != {*REQUIRED_GATES, *([] if decision.trial is None else [TRIAL_GATE])}:
        findings.append(DecisionFinding("other_gates_required", "it was made by another version of this program, which judged other gates"))
    findings.extend(_find_impossible_time(decision, at))
    findings.extend(find_what_moved_on(state, decision))
    if decision.challenger.model_id in state.history.blocked:
        findings.append(blocked_model(decision.challenger.model_id))
    source = find_bundle(state.home, decision.challenger.model_id)
    if source is None:
        findings.append(missing_bundle(decision.challenger.model_id))
    else:
        findings.extend(find_changed_files(state.bundles.files(source), decision))
    refuse(decision, findings)


def _find_impossible_time(decision: PromotionDecision, at: datetime) -> list[DecisionFinding]:
    """Returns a finding if the as-of time is later than both the present and the labels: with it, anchors would be too old to count."""
    latest = max(at, decision.dataset.labels_until or at) + TIME_AHEAD
    bound = f"more than a day later than the present and than its newest labeled window (latest: {latest.isoformat()})"
    found = f"its as-of time {decision.as_of.isoformat()} is {bound}; launch without as_of"
    return [DecisionFinding("as_of_ahead", found)] if decision.as_of > latest else []


def find_what_moved_on(state: RegistryState, decision: PromotionDecision) -> list[DecisionFinding]:
    """Returns why the decision is no longer the newest: pointer, policy, champion or labels are not those it was made against."""
    findings = []
    damaged = find_history_problem(state)
    if damaged is not None:
        findings.append(DecisionFinding("history_damaged", f"{damaged}; {REPAIR_HISTORY}"))
    if not is_made_against(decision, state):
        findings.append(
            DecisionFinding(
                "pointer_changed", "active.json or inference_policy.json changed since the decision: it was made against another champion"
            )
        )
    elif canonical_json(decision.registry.previous_policy) != canonical_json(state.policy.in_force):
        findings.append(DecisionFinding("policy_differs", "the policy that it names as the one in force is not that of the registry"))
    if state.sequence != decision.registry.sequence:
        findings.append(
            DecisionFinding(
                "sequence_differs", f"the registry is at record {state.sequence}, the decision was made at {decision.registry.sequence}"
            )
        )
    later = find_later_decision(state.home, decision, state.receipts)
    if later is not None:
        findings.append(DecisionFinding("later_labels", f"decision {later.decision_id} was made on later labels"))
    again = find_later_judgement(state.home, decision, state.receipts)
    if again is not None:
        findings.append(_judged_again(decision, again))
    if decision.champion.model is not None:
        try:
            files = state.bundles.files(resolve_model_dir(state.home, decision.champion.model_dir or "")).hashes()
        except (BundleError, OSError):
            files = {}
        if not files or files != decision.champion.model.files:
            findings.append(
                DecisionFinding("champion_differs", f"champion {decision.champion.model.model_id} is not the bundle that was compared with")
            )
    return findings


def _judged_again(decision: PromotionDecision, later: PromotionDecision) -> DecisionFinding:
    ways_out = {
        "AWAITING_APPROVAL": f"approve {later.decision_id}",
        "PROMOTE": "it needs no approval",
    }
    way_out = ways_out.get(later.verdict, "`taskclf-dagster decide` judges the last challenger once more, by today's configuration")
    detail = (
        f"its challenger {decision.challenger.model_id} was judged again: decision {later.decision_id}, {later.outcome}, "
        f"took the place of {decision.decision_id}; {way_out}"
    )
    return DecisionFinding("judged_again", detail)


def is_made_against(decision: PromotionDecision, state: RegistryState) -> bool:
    """Returns True if pointer and policy are, byte for byte, those of the decision."""
    return state.digests == Digests(decision.registry.pointer_hash, decision.registry.policy_hash)


def find_changed_files(files: BundleFiles, decision: PromotionDecision) -> list[DecisionFinding]:
    """Returns a finding if files of the challenger are not those that were judged."""
    changed = files.find_changed(decision.challenger.files)
    detail = f"bundle {decision.challenger.model_id} is not the one that was judged: {', '.join(changed)} changed"
    return [DecisionFinding("bundle_differs", detail)] if changed else []


def missing_bundle(model_id: str) -> DecisionFinding:
    """Returns the finding that a bundle does not exist."""
    return DecisionFinding("bundle_missing", f"bundle {model_id} is missing")


def blocked_model(model_id: str) -> DecisionFinding:
    """Returns the finding that a rollback left a model."""
    return DecisionFinding("model_blocked", describe_block(model_id))


def refuse(decision: PromotionDecision, findings: list[DecisionFinding]) -> None:
    """Raises DecisionNotVerifiedError if there are findings."""
    if findings:
        raise DecisionNotVerifiedError(decision.decision_id, findings)
