"""Checks receipts, and what they name by digest: the bundles that they judged, and the last decided run. Changes nothing."""

from collections import defaultdict
from collections.abc import Iterable

from taskclf_dagster.domain.decision.decision import PromotionDecision, content_hash
from taskclf_dagster.domain.decision.decision_store import list_decisions, receipt_path, receipt_text
from taskclf_dagster.domain.decision.last_decided import LAST_DECIDED, LastDecided, read_last_decided
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.models.bundle_files import MODEL, BundleFiles, read_bundle_files
from taskclf_dagster.domain.models.bundle_paths import find_bundle
from taskclf_dagster.domain.models.manifest import find_manifest_problem
from taskclf_dagster.domain.registry.fsck_findings import UNREADABLE, Findings, damage, unreadable, warning
from taskclf_dagster.domain.registry.history_record import ActiveHistoryEntry
from taskclf_dagster.domain.registry.retention import find_awaiting
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.domain.storage.files import list_folders
from taskclf_dagster.domain.storage.records import json_hash

_RESTORE = "Restore the receipt from a backup, or remove it"


def check_receipts(state: RegistryState) -> Findings:
    """Checks that every promotion has a receipt that verifies, and that every receipt is the file that was written."""
    for entry in state.history.moves:
        if entry.action == "promote":
            detail = _find_receipt_problem(state, entry)
            if detail is not None:
                fix = "Restore the receipt from a backup, or roll back"
                yield damage("promotion_without_receipt", "P5", f"promotion {entry.sequence}: {detail}", fix)
    decisions, damaged = list_decisions(state.home, state.receipts)
    for receipt in damaged:
        detail = f"{receipt.path.name} is damaged" if receipt.kind == "damaged" else receipt.problem
        fix = "Nothing needs to be done if it promoted nothing; else the promotion is another finding"
        yield warning("receipt_unreadable", "P5", detail, fix)
    for decision in decisions:
        path = receipt_path(state.home, decision.decision_id)
        try:
            if content_hash(decision) != decision.decision_hash:
                detail = f"{path.name} was changed after it was written: decision_hash does not match its contents"
                yield damage("receipt_changed", "P5", detail, _RESTORE)
            elif not path.is_file() or path.read_bytes() != receipt_text(decision).encode():
                detail = f"the file of receipt {decision.decision_id} is not the one that was written"
                yield damage("receipt_changed", "P5", detail, _RESTORE)
        except UNREADABLE as error:
            yield unreadable(path, error)


def check_contradictions(state: RegistryState) -> Findings:
    """Checks that receipts of one challenger on one dataset under one policy agree, as far as they were made from the same.

    Its own metrics and gates must be equal; beside the same champion also comparison and verdict.
    """
    alike: dict[tuple[str, ...], list[PromotionDecision]] = defaultdict(list)
    for decision in list_decisions(state.home, state.receipts)[0]:
        model = decision.challenger
        key = model.model_id, model.files.get(MODEL, ""), decision.dataset.digest, json_hash(decision.policy)
        alike[key].append(decision)
    for decisions in alike.values():
        first = decisions[0]
        for other in decisions[1:]:
            differing = _find_contradictions(first, other)
            if differing:
                detail = f"receipts {other.decision_id} and {first.decision_id} contradict each other about {first.challenger.model_id}"
                fix = "Run a new retrain; `taskclf-dagster verify` shows which of them follows from its numbers"
                yield damage("receipts_contradict", "P5", f"{detail}: {', '.join(differing)} differ", fix)


def _find_contradictions(one: PromotionDecision, other: PromotionDecision) -> list[str]:
    """Returns the parts that differ though they follow from the same inputs."""
    differing = [name for name in ("macro_f1", "weighted_f1") if getattr(one.challenger, name) != getattr(other.challenger, name)]
    if _candidate_gates(one) != _candidate_gates(other):
        differing.append("candidate gates")
    if _champion_key(one) == _champion_key(other):
        if one.comparison != other.comparison:
            differing.append("comparison")
        if _verdict_inputs(one) == _verdict_inputs(other) and one.verdict != other.verdict:
            differing.append("verdict")
    return differing


def _verdict_inputs(decision: PromotionDecision) -> tuple[object, ...]:
    """Returns what a verdict follows from beside gates of the challenger and the comparison."""
    return decision.anchors, decision.rolled_back_as, decision.registry.history_damaged, decision.options.bootstrap


def _candidate_gates(decision: PromotionDecision) -> list[tuple[object, ...]]:
    return [(gate.name, gate.status, gate.observed, gate.threshold) for gate in decision.gates if gate.kind == "candidate"]


def _champion_key(decision: PromotionDecision) -> tuple[object, ...]:
    """Returns what the champion's predictions follow from: its bundle, and the policy that it runs with."""
    champion, policy = decision.champion, decision.registry.previous_policy
    return champion.state, None if champion.model is None else champion.model.files, None if policy is None else json_hash(policy)


def check_judged_bundles(state: RegistryState) -> Findings:
    """Checks bundles outside models/ against the digests in their receipts, and that those that await approval exist."""
    home = state.home
    decisions = list_decisions(home, state.receipts)[0]
    for decision in find_awaiting(state, decisions):
        if find_bundle(home, decision.challenger.model_id) is None:
            detail = f"{decision.challenger.model_id} awaits approval, but its bundle is missing"
            yield damage("awaiting_bundle_missing", "P6", detail, "Retrain with force")
    judged = _digests_by_model(decisions)
    for folder in (home.challengers, home.pending_models, home.rejected_models):
        for bundle in list_folders(folder):
            if bundle.name not in judged or (home.models / bundle.name).is_dir():
                continue  # nothing was judged, or it was promoted since and this is what is left of a second copy
            try:
                files = read_bundle_files(bundle)
                changed = _find_changed(files, judged[bundle.name])
            except UNREADABLE as error:
                yield unreadable(bundle, error)
                continue
            if changed:
                detail = f"{folder.name}/{bundle.name} is not the bundle that its receipt judged: {', '.join(changed)} changed"
                fix = "Restore it from a backup, or remove it; it cannot be approved"
                yield damage("bundle_differs_from_receipt", "P10", detail, fix)


def _digests_by_model(decisions: Iterable[PromotionDecision]) -> dict[str, list[dict[str, str]]]:
    judged: dict[str, list[dict[str, str]]] = defaultdict(list)
    for decision in decisions:
        if decision.challenger.files:
            judged[decision.challenger.model_id].append(decision.challenger.files)
    return judged


def _find_changed(files: BundleFiles, judged: list[dict[str, str]]) -> list[str]:
    """Returns the files that differ from the newest receipt; none if any receipt has all of their digests."""
    changed = [files.find_changed(digests) for digests in judged]
    return changed[0] if all(changed) else []


def check_last_decided(state: RegistryState) -> Findings:
    """Checks the last decided run against its receipt; one that cannot be read, or whose hash is wrong, is found as a damaged file."""
    last = read_last_decided(state.home)
    if last is None:
        return
    path, fix = state.home.decisions / LAST_DECIDED, "Remove the file; a retrain is due then"
    decision = None if last.decision_id is None else state.receipts.find(state.home, last.decision_id)
    if last.decision_id is not None and decision is None:
        yield warning("last_decided_differs", "P10", f"{path.name} names receipt {last.decision_id}, which is missing or damaged", fix)
    differing = [] if decision is None else _find_differing(last, decision)
    if differing:
        detail = f"{path.name} differs from receipt {last.decision_id}: {', '.join(differing)}"
        yield damage("last_decided_differs", "P10", detail, fix)


def _find_differing(last: LastDecided, decision: PromotionDecision) -> list[str]:
    expected = {
        "outcome": decision.verdict,
        "as_of": decision.as_of,
        "dataset_hash": decision.dataset.dataset_hash,
        "snapshot_path": decision.dataset.path,
        "label_watermark": decision.dataset.label_watermark,
        "rows": None if last.rows is None else sum(decision.dataset.split.values()),
    }
    return [name for name, value in expected.items() if getattr(last, name) != value]


def _find_receipt_problem(state: RegistryState, entry: ActiveHistoryEntry) -> str | None:
    home = state.home
    decision = state.receipts.find(home, entry.decision_id or "")
    if decision is None:
        return f"receipt {entry.decision_id} is missing or damaged"
    findings = verify_decision(decision)
    if findings:
        return f"receipt {entry.decision_id} does not verify: {'; '.join(map(str, findings))}"
    if decision.options.dry_run or decision.verdict not in ("PROMOTE", "AWAITING_APPROVAL"):
        return f"receipt {entry.decision_id} says {decision.outcome}"
    if entry.new is None or decision.challenger.model_id != entry.new.name:
        return f"receipt {entry.decision_id} is about {decision.challenger.model_id}"
    files = state.bundles.files(home.models / entry.new.name)
    if files.names and find_manifest_problem(files) is None and files.find_changed(decision.challenger.files):
        return f"{entry.new.name} is not the bundle that receipt {entry.decision_id} judged"
    return None
