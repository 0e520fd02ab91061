"""The findings of fsck: the promises, the codes, and the record of one finding."""

from collections.abc import Iterator, Sequence
from typing import Literal

from taskclf_dagster.domain.storage.places import Place
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import TaskclfDagsterError

Promise = Literal["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10"]


FindingCode = Literal[
    "pointer_unusable",
    "policy_unusable",
    "policy_differs",
    "policy_not_recorded",
    "policy_missing",
    "policy_names_another_model",
    "blocked_model_active",
    "pointer_not_recorded",
    "change_interrupted",
    "pointer_of_earlier_record",
    "record_missing",
    "history_unreadable",
    "history_line_damaged",
    "history_damage_acknowledged",
    "history_line_interrupted",
    "bundle_differs_from_manifest",
    "bundle_invalid",
    "model_card_differs",
    "bundle_copied",
    "bundle_missing",
    "promotion_without_receipt",
    "receipt_unreadable",
    "receipt_changed",
    "receipts_contradict",
    "home_id_differs",
    "receipt_not_signed",
    "record_not_signed",
    "state_not_signed",
    "no_known_good_model",
    "awaiting_bundle_missing",
    "staging_not_empty",
    "temporary_file",
    "events_missing",
    "bundle_differs_from_receipt",
    "trial_differs",
    "probation_differs",
    "last_decided_differs",
    "labels_differ",
    "snapshot_differs",
    "labeled_windows_differ",
    "predictions_differ",
    "calibrators_differ",
    "index_differs",
    "event_differs",
    "foreign_files",
    "not_writable",
    "file_unreadable",
    "lock_unusable",
]


PROMISES: dict[Promise, str] = {
    "P1": "A reader sees the old or the new pointer, always complete, always naming a bundle that verifies.",
    "P2": "What promote() returned from survives a power loss.",
    "P3": "Every state of the pointer has a history record, written before it, numbered and chained.",
    "P4": "At most one writer; a decision that is no longer the newest is refused.",
    "P5": "No promotion without a receipt in which every required gate passes, and which follows again from snapshot and bundles.",
    "P6": "Nothing that may still be needed is deleted.",
    "P7": "A rollback needs no training, verifies first, is one record, and blocks what it left.",
    "P8": "Readers never write.",
    "P9": "Events only after durability, at least once.",
    "P10": "A file that a later step reads is the one that was written.",
}


REPAIR = "`taskclf-dagster registry repair` repairs it"


UNREADABLE = (OSError, ValueError, RecursionError, TaskclfDagsterError)
"""Errors of a file whose content nobody wrote on purpose: fsck reports it and goes on with the next one."""


class RegistryFinding(Record):
    """One promise that does not hold.

    Attributes:
        code: the check that found it.
        severity: damage breaks a promise; a warning does not.
        promise: P1 to P10.
        detail: what was found, for a person.
        fix: what to do about it.
    """

    code: FindingCode
    severity: Literal["damage", "warning"]
    promise: Promise
    detail: str
    fix: str


Findings = Iterator[RegistryFinding]


def summarize_findings(findings: Sequence[RegistryFinding]) -> str:
    """Returns the result of a check in a few words; a home that cannot be written to keeps its promises by doing nothing."""
    if any(finding.severity == "damage" for finding in findings):
        return "damaged"
    if any(finding.code == "not_writable" for finding in findings):
        return "no promise is broken, but nothing can be promoted"
    return "every promise holds"


def damage(code: FindingCode, promise: Promise, detail: str, fix: str) -> RegistryFinding:
    """Returns a finding that breaks a promise; `fix` has no full stop."""
    return RegistryFinding(code=code, severity="damage", promise=promise, detail=detail, fix=f"{fix}.")


def warning(code: FindingCode, promise: Promise, detail: str, fix: str) -> RegistryFinding:
    """Returns a finding that breaks no promise; `fix` has no full stop."""
    return RegistryFinding(code=code, severity="warning", promise=promise, detail=detail, fix=f"{fix}.")


def unreadable(path: Place, error: Exception) -> RegistryFinding:
    """Returns the finding for a file or a folder that cannot be checked."""
    detail = f"{path} cannot be checked: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    return damage("file_unreadable", "P10", detail, "Restore the file from a backup, or remove it")
