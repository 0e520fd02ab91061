"""Checks that receipt and registry are signed with a trusted key, for this home; nothing here writes.

Records of other programs are not signed: a pointer or a policy that taskclf changed is not in a signed state until a person accepts it.
"""

from dataclasses import dataclass
from typing import Literal

from taskclf_dagster.domain.decision.decision import PromotionDecision, content_hash
from taskclf_dagster.domain.registry.history import History
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.domain.storage.home_id import find_home_id
from taskclf_dagster.domain.storage.signatures import Keys, SignatureProblem
from taskclf_dagster.errors import DecisionFinding, ReceiptNotTrustedError, RegistryNotSignedError
from taskclf_dagster.home import Home

_ACCEPT = "Look at `taskclf-dagster history`; then go back with `taskclf-dagster rollback`, or accept it with `registry repair`"


@dataclass(frozen=True)
class UnsignedState:
    """The part of the present state that is not signed.

    Attributes:
        kind: the newest own records, the pointer, the policy, or lines among the signed ones that were changed.
        detail: a sentence for a person.
    """

    kind: Literal["record", "pointer", "policy", "damage"]
    detail: str


def find_unsigned(state: RegistryState) -> UnsignedState | None:
    """Returns what keeps the present state from being that of the last signed record; None if nothing does, or signatures are not checked.

    Damage that the signed records repair (a pointer that cannot be read, or was deleted) is not meant.
    """
    if not state.keys.required:
        return None
    home, history = state.home, state.history
    newest = _unsigned_since_last_signed(history)
    if newest:
        listed = f"record {newest[0]}" if len(newest) == 1 else f"records {newest[0]} to {newest[-1]}"
        return UnsignedState("record", f"{home.active_history.name}: {listed} not signed with a key in signing.public_key, for this home")
    if history.open_problems:
        return UnsignedState("damage", f"{home.active_history.name}: line {min(history.open_problems)} was changed, or lines before it")
    last = history.last_move
    recorded = last is not None and (last.new == state.pointer or state.is_waiting(last))
    if state.pointer is not None and not recorded:
        return UnsignedState("pointer", f"{home.active_pointer.name} names {state.pointer.name}, which no signed record made active")
    if state.policy.status == "foreign":
        return UnsignedState("policy", f"{home.inference_policy.name} is that of no signed record")
    if state.policy.status == "removed":
        return UnsignedState("policy", f"{home.inference_policy.name} was removed, which is in no signed record")
    return None


def require_signed(state: RegistryState, *, accept_unsigned: bool = False) -> None:
    """Checks that the present state is signed, and that the next record can be.

    Args:
        state: the registry.
        accept_unsigned: True if a person asked for a change that accepts it as it is.

    Raises:
        RegistryNotSignedError: it is not.
    """
    if not state.keys.required:
        return
    if state.keys.private is None:
        fix = "Set signing.private_key_env or signing.private_key_file; a reader needs neither"
        raise RegistryNotSignedError(
            "no_private_key", "signing.public_key is set, but there is no private key to sign the record", f"{fix}."
        )
    unsigned = None if accept_unsigned else find_unsigned(state)
    if unsigned is not None:
        raise RegistryNotSignedError(unsigned.kind, unsigned.detail, f"{_ACCEPT}.")


def find_receipt_signature_problem(home_id: str | None, decision: PromotionDecision, keys: Keys) -> SignatureProblem | None:
    """Returns why the signature of a receipt does not count for a home; None if it does, or signatures are not checked."""
    if decision.home_id is None or home_id is None:
        return "unsigned" if keys.required else None
    return keys.find_problem(decision.signature, "receipt", home_id, content_hash(decision))


def find_distrust(home: Home, decision: PromotionDecision, keys: Keys) -> DecisionFinding | None:
    """Returns why a receipt is not one of this home, or not signed though signatures are checked; None if it is."""
    home_id = find_home_id(home)
    if decision.home_id is not None and decision.home_id != home_id:
        fix = f"if {home.home_id_file.name} was lost, write it again with that id"
        found = f"it is a receipt of home {decision.home_id}, this home is {home_id or 'without an id'}; {fix}"
        return DecisionFinding("another_home", found)
    problem = find_receipt_signature_problem(home_id, decision, keys)
    return None if problem is None else DecisionFinding(problem, SIGNATURE_PROBLEMS[problem])


def require_trusted(home: Home, decision: PromotionDecision, keys: Keys) -> None:
    """Checks that a receipt is one of this home, and signed if signatures are checked.

    Raises:
        ReceiptNotTrustedError: it is not.
    """
    found = find_distrust(home, decision, keys)
    if found is not None:
        raise ReceiptNotTrustedError(decision.decision_id, found)


SIGNATURE_PROBLEMS: dict[SignatureProblem, str] = {
    "unsigned": "it is not signed",
    "another_key": "it is signed with a key that is not in signing.public_key",
    "altered": "its signature is not that of its content: it was changed after it was signed",
}


def _unsigned_since_last_signed(history: History) -> list[int]:
    """Returns the numbers of our own unsigned records after the last signed one."""
    signed = [index for index in range(len(history.entries)) if index not in history.untrusted]
    first = signed[-1] + 1 if signed else 0
    return [entry.sequence for entry in history.entries[first:] if entry.sequence is not None]
