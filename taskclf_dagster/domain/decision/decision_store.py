"""Reads and writes decision receipts in `artifacts/decisions/`."""

import re
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import ValidationError

from taskclf_dagster.domain.data.label_store import present_watermark
from taskclf_dagster.domain.decision.decision import RECEIPT_VERSION, DecisionContent, PromotionDecision, seal
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.storage.files import write_text
from taskclf_dagster.domain.storage.json_files import read_json_object
from taskclf_dagster.domain.storage.path_names import find_name_problem
from taskclf_dagster.domain.storage.records import canonical_json
from taskclf_dagster.errors import DecisionFinding, DecisionNotFoundError, ReceiptVersionError, TaskclfDagsterError, UnreadableFileError
from taskclf_dagster.home import Home

_RECEIPT = re.compile(r"\d{4}-\d\d-\d\d_\d{6}_[\w-]+\.json")
"""The names that follow from `make_decision_id`."""


_FileVersion = tuple[int, int, int] | None
"""Inode, time of the last change and size of a file; None if it does not exist."""


class UnreadableReceipt(NamedTuple):
    """A file among the receipts that cannot be read: damaged, or a receipt of another version of this program."""

    path: Path
    kind: Literal["damaged", "other_version"]
    problem: str


class ReceiptCache:
    """The receipts that were read, so that a file is opened again only after it was replaced or changed."""

    def __init__(self) -> None:
        self._found: dict[Path, tuple[_FileVersion, PromotionDecision]] = {}

    def load(self, home: Home, decision_id: str) -> PromotionDecision:
        """Returns a receipt; raises as `load_decision`."""
        path = receipt_path(home, decision_id)
        version = _version_of(path)
        known = self._found.get(path)
        if version is not None and known is not None and known[0] == version:
            return known[1]
        decision = load_decision(home, decision_id)
        self._found[path] = version, decision
        return decision

    def find(self, home: Home, decision_id: str) -> PromotionDecision | None:
        """Returns a receipt; None if it is missing, damaged or of another version, or the id is not one."""
        try:
            return self.load(home, decision_id)
        except TaskclfDagsterError:
            return None

    def holds(self, home: Home, decision: PromotionDecision) -> bool:
        """Returns True if the receipt of a decision is stored, and equal to it."""
        try:
            return self.load(home, decision.decision_id) == decision
        except (DecisionNotFoundError, ReceiptVersionError):
            return False


def _version_of(path: Path) -> _FileVersion:
    try:
        status = path.stat()
    except (OSError, ValueError):  # a name with a null byte
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def save_decision(home: Home, decision: PromotionDecision) -> Path:
    """Writes `artifacts/decisions/<decision_id>.json` as canonical JSON, so that equal decisions are equal files."""
    path = receipt_path(home, decision.decision_id)
    write_text(path, receipt_text(decision))
    return path


def is_receipt(path: Path) -> bool:
    """Returns True if a file has the name of a receipt; every other file in their folder is ignored."""
    return _RECEIPT.fullmatch(path.name) is not None


def receipt_path(home: Home, decision_id: str) -> Path:
    """Returns the file of a decision's receipt."""
    return home.decisions / f"{decision_id}.json"


def report_path(home: Home, decision_id: str) -> Path:
    """Returns the file of a decision's HTML report; it may not exist.

    Raises:
        DecisionNotFoundError: the id is none that a decision has, such as a path.
    """
    path = receipt_path(home, decision_id)
    if find_name_problem(path.name) is not None or not is_receipt(path):
        raise DecisionNotFoundError(decision_id, home.decisions)
    return home.reports / f"{decision_id}.html"


def is_report(path: Path) -> bool:
    """Returns True if a file has the name of a decision's report."""
    return path.suffix == ".html" and is_receipt(path.with_suffix(".json"))


def verify_stored(home: Home, decision_id: str) -> tuple[PromotionDecision, list[DecisionFinding]]:
    """Reads a receipt and verifies it; its file must be, byte for byte, the one that follows from its contents.

    Raises:
        DecisionNotFoundError: there is none, or it is damaged beyond reading.
        ReceiptVersionError: it is of another version.
    """
    decision = load_decision(home, decision_id)
    findings = verify_decision(decision)
    path = receipt_path(home, decision_id)
    if path.read_bytes() != receipt_text(decision).encode():
        found = f"{path.name} is not the canonical JSON of its contents: the file was written or changed by other hands"
        findings.append(DecisionFinding("file_differs", found))
    return decision, findings


def load_decision(home: Home, decision_id: str) -> PromotionDecision:
    """Reads a receipt.

    Raises:
        DecisionNotFoundError: there is none, it is damaged, or the id is not one.
        ReceiptVersionError: it is of another version.
    """
    if find_name_problem(decision_id) is not None:
        raise DecisionNotFoundError(decision_id, home.decisions)
    path = receipt_path(home, decision_id)
    try:
        document = read_json_object(path)
    except UnreadableFileError as error:
        raise DecisionNotFoundError(decision_id, home.decisions) from error
    version = document.get("receipt_version")
    if version != RECEIPT_VERSION and "decision_hash" in document:
        raise ReceiptVersionError(path, version, RECEIPT_VERSION)
    try:
        return PromotionDecision.model_validate(document)
    except ValidationError as error:
        raise DecisionNotFoundError(decision_id, home.decisions) from error


def read_decision(home: Home, decision_id: str) -> PromotionDecision | None:
    """Returns a receipt; None if it is missing, damaged or of another version, or the id is not one."""
    return ReceiptCache().find(home, decision_id)


def list_decisions(home: Home, receipts: ReceiptCache | None = None) -> tuple[list[PromotionDecision], list[UnreadableReceipt]]:
    """Returns every decision of a home, the newest as-of time first, and the files that cannot be read.

    Of several about one challenger the last judgement comes first.

    Args:
        home: the taskclf home.
        receipts: those that were read already.
    """
    receipts = receipts or ReceiptCache()
    decisions: list[PromotionDecision] = []
    unreadable: list[UnreadableReceipt] = []
    for path in filter(is_receipt, home.decisions.glob("*.json")):
        try:
            decision = receipts.load(home, path.stem)
        except ReceiptVersionError as error:
            unreadable.append(UnreadableReceipt(path, "other_version", str(error)))
        except DecisionNotFoundError:
            unreadable.append(UnreadableReceipt(path, "damaged", f"{path} is not a decision record"))
        else:
            if decision.decision_id == path.stem:
                decisions.append(decision)
            else:  # every command finds a receipt by its id
                unreadable.append(UnreadableReceipt(path, "damaged", f"{path} is the record of decision {decision.decision_id}"))
    newest_first = sorted(decisions, key=lambda each: (each.as_of, len(each.replaces), each.decision_id), reverse=True)
    return newest_first, unreadable


def find_later_decision(home: Home, decision: PromotionDecision, receipts: ReceiptCache | None = None) -> PromotionDecision | None:
    """Returns a decision about later and other labels, dry runs aside; None if there is none.

    The labels of the store as it is now are the latest, even if some were deleted; else the newest label counts, and how many, not as_of.

    Args:
        home: the taskclf home.
        decision: the decision.
        receipts: those that were read already.
    """
    mark = decision.dataset.label_watermark
    others = [other for other in list_decisions(home, receipts)[0] if not other.options.dry_run and other.dataset.label_watermark != mark]
    present = present_watermark(home) if others else None
    return next((other for other in others if _labels_seen(other, present) > _labels_seen(decision, present)), None)


def find_later_judgement(home: Home, decision: PromotionDecision, receipts: ReceiptCache | None = None) -> PromotionDecision | None:
    """Returns the decision that judged the same challenger again, dry runs aside; None if this one is the last about it.

    Args:
        home: the taskclf home.
        decision: the decision.
        receipts: those that were read already.
    """
    judged = _list_judgements(home, decision.challenger.model_id, receipts)
    return next((other for other in judged if other.decision_id not in (decision.decision_id, *decision.replaces)), None)


def find_replaced(home: Home, content: DecisionContent) -> tuple[str, ...]:
    """Returns the ids of the decisions that a new one about the same challenger replaces.

    A decision that is made once more, and says the same as the last one, is that one: it replaces what that one did. A dry run replaces
    nothing.
    """
    if content.options.dry_run:
        return ()
    judged = _list_judgements(home, content.challenger.model_id)
    if judged and seal(content.model_copy(update={"replaces": judged[0].replaces})).decision_id == judged[0].decision_id:
        return judged[0].replaces
    return tuple(sorted(decision.decision_id for decision in judged))


def _list_judgements(home: Home, model_id: str, receipts: ReceiptCache | None = None) -> list[PromotionDecision]:
    """Returns the decisions about a challenger, dry runs aside, the last one first."""
    return [each for each in list_decisions(home, receipts)[0] if each.challenger.model_id == model_id and not each.options.dry_run]


def _labels_seen(decision: PromotionDecision, present: str | None) -> tuple[bool, datetime, int]:
    dataset = decision.dataset
    return dataset.label_watermark == present, dataset.labels_until or decision.as_of, sum(dataset.split.values())


def receipt_text(decision: PromotionDecision) -> str:
    """Returns the bytes of a receipt's file, as text: canonical JSON and a newline."""
    return canonical_json(decision.model_dump(mode="json", exclude_defaults=True)) + "\n"
