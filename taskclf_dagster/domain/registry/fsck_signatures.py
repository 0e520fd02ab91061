"""Checks the home's id in receipts and records, and signatures if there are public keys. Changes nothing."""

from collections.abc import Sequence

from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.registry.fsck_findings import Findings, damage, warning
from taskclf_dagster.domain.registry.signed_state import SIGNATURE_PROBLEMS, find_receipt_signature_problem, find_unsigned
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.domain.storage.home_id import find_home_id

_LISTED = 5


def check_home_id(state: RegistryState) -> Findings:
    """Checks that receipts and history records are those of this home; older ones state no id."""
    home_id, file = find_home_id(state.home), state.home.home_id_file
    found: dict[str, list[str]] = {}
    for decision in list_decisions(state.home, state.receipts)[0]:
        if decision.home_id not in (None, home_id):
            found.setdefault(str(decision.home_id), []).append(f"receipt {decision.decision_id}")
    for entry in state.history.entries:
        if entry.home_id not in (None, home_id):
            found.setdefault(str(entry.home_id), []).append(f"record {entry.sequence}")
    for other, names in found.items():
        words = f"{_list(names)} of home {other}, this home is {home_id or 'without an id'}"
        fix = f'If {file.name} was lost or renewed, write {{"home_id": "{other}"}} to it; else remove the receipts'
        yield warning("home_id_differs", "P5", words, fix)


def check_signatures(state: RegistryState) -> Findings:
    """Checks receipts, records and the present state, if signatures are checked.

    What is older than the first signature has none: that is a warning, because nothing is promoted by it.
    """
    if not state.keys.required:
        return
    unsigned = find_unsigned(state)
    if unsigned is not None:
        fix = "`taskclf-dagster rollback` goes back to a signed model; `taskclf-dagster registry repair` accepts the present state, signed"
        yield damage("state_not_signed", "P3", unsigned.detail, fix)
    numbers = [f"record {state.history.entries[index].sequence or 'of another program'}" for index in sorted(state.history.untrusted)]
    if numbers and (unsigned is None or unsigned.kind != "record"):
        yield warning(
            "record_not_signed", "P3", f"not signed for this home, and signed ones follow: {_list(numbers)}", "Nothing has to be done"
        )
    home_id = find_home_id(state.home)
    without = []
    for decision in list_decisions(state.home, state.receipts)[0]:
        problem = find_receipt_signature_problem(home_id, decision, state.keys)
        if problem == "unsigned":
            without.append(f"receipt {decision.decision_id}")
        elif problem is not None:
            words = f"receipt {decision.decision_id}: {SIGNATURE_PROBLEMS[problem]}"
            yield damage("receipt_not_signed", "P5", words, "Restore it from a backup, or remove it; nothing is promoted by it")
    if without:
        yield warning(
            "receipt_not_signed",
            "P5",
            f"not signed, so that nothing is promoted by it: {_list(without)}",
            "Retrain, if one awaits approval",
        )


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
