"""Errors about decisions and their receipts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from taskclf_dagster.errors.base import TaskclfDagsterError

DecisionFindingKind = Literal[
    # the receipt contradicts itself
    "hash_differs",
    "id_differs",
    "file_differs",
    "not_computable",
    "verdict_does_not_follow",
    "gate_repeated",
    "gate_without_numbers",
    "gate_threshold_differs",
    "gate_does_not_follow",
    "gate_not_excused",
    "gate_of_other_kind",
    "anchor_does_not_follow",
    "comparison_without_champion",
    "comparison_inconsistent",
    "comparison_does_not_follow",
    "comparison_of_other_models",
    "trial_does_not_follow",
    # computed again, something else is found
    "snapshot_differs",
    "value_differs",
    "holdout_differs",
    "champion_unusable",
    "challenger_unusable",
    # it cannot be applied
    "moves_nothing",
    "awaits_no_approval",
    "other_gates_required",
    "promoted_before",
    "bundle_missing",
    "bundle_differs",
    "bundle_unusable",
    "manifest_differs",
    "model_blocked",
    "pointer_changed",
    "pointer_changed_just_now",
    "sequence_differs",
    "policy_differs",
    "as_of_ahead",
    "history_damaged",
    "later_labels",
    "judged_again",
    "champion_differs",
    "registry_moved_on",
    "unsigned",
    "another_key",
    "altered",
    "another_home",
]
"""The check of a decision that failed."""


@dataclass(frozen=True)
class DecisionFinding:
    """One reason why a decision does not hold or cannot be applied.

    Attributes:
        kind: the check that failed.
        detail: what was found, one sentence without a full stop.
    """

    kind: DecisionFindingKind
    detail: str

    def __str__(self) -> str:
        return self.detail


class DecisionNotVerifiedError(TaskclfDagsterError):
    """A promotion decision does not hold when checked again; the pointer stays as it was.

    Attributes:
        findings: the reasons, at least one.
    """

    def __init__(self, decision_id: str, findings: list[DecisionFinding]) -> None:
        self.findings = findings
        lines = "\n".join(f"  - {finding}" for finding in findings)
        super().__init__(f"Decision {decision_id} is refused, so the pointer was not moved:\n{lines}\nRun a new retrain.")


class ReceiptNotTrustedError(DecisionNotVerifiedError):
    """A receipt is not signed with a trusted key, or is that of another home; the pointer stays as it was.

    Attributes:
        kind: unsigned; signed with another_key; altered if the signature is not that of its content; another_home.
    """

    def __init__(self, decision_id: str, finding: DecisionFinding) -> None:
        self.kind = finding.kind
        super().__init__(decision_id, [finding])


class DecisionNotFoundError(TaskclfDagsterError):
    """There is no such decision record."""

    def __init__(self, decision_id: str, folder: Path) -> None:
        super().__init__(f"There is no decision {decision_id!r} in {folder}. `taskclf-dagster history` lists them.")


class ReceiptVersionError(TaskclfDagsterError):
    """A decision receipt is of a version that this program does not read."""

    def __init__(self, path: Path, version: object, expected: int) -> None:
        written = "has no receipt_version (written before 0.2.0)" if version is None else f"has receipt_version {version!r}"
        super().__init__(f"{path} {written}, and this version reads {expected} only. Read it with the version that wrote it, or retrain.")


class DrillError(TaskclfDagsterError):
    """A drill cannot be done with the data of a home."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"A drill with the data of {path} is not possible: {problem}. Without HOME it uses generated data.")
        self.path = path


class ProbationError(TaskclfDagsterError):
    """The record of a probation would lose what it says."""

    def __init__(self, path: Path, problem: str, fix: str) -> None:
        super().__init__(f"{path}: {problem}. {fix}")
        self.path = path


class TrialError(TaskclfDagsterError):
    """The record of a trial would lose what it says."""

    def __init__(self, path: Path, problem: str, fix: str) -> None:
        super().__init__(f"{path}: {problem}. {fix}")
        self.path = path
