"""Reads and writes decision receipts in `artifacts/decisions/`."""

from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from taskclf_dagster.domain.data.label_store import present_watermark
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.verification import verify_decision
from taskclf_dagster.domain.storage.files import read_json_object, write_text
from taskclf_dagster.domain.storage.records import canonical_json
from taskclf_dagster.errors import DecisionNotFoundError, UnreadableFileError
from taskclf_dagster.home import Home


def save_decision(home: Home, decision: PromotionDecision) -> Path:
    """Writes `artifacts/decisions/<decision_id>.json` as canonical JSON, so that equal decisions are equal files."""
    path = home.decisions / f"{decision.decision_id}.json"
    write_text(path, receipt_text(decision))
    return path


def verify_stored(home: Home, decision_id: str) -> tuple[PromotionDecision, list[str]]:
    """Reads a receipt and checks it; its file must be, byte for byte, the one that follows from its contents.

    Raises:
        DecisionNotFoundError: there is none, or it is damaged beyond reading.
    """
    decision = read_decision(home, decision_id)
    if decision is None:
        raise DecisionNotFoundError(decision_id, home.decisions)
    findings = verify_decision(decision)
    path = home.decisions / f"{decision_id}.json"
    if path.read_bytes() != receipt_text(decision).encode():
        findings.append(f"{path.name} is not the canonical JSON of its contents: the file was written or changed by other hands")
    return decision, findings


def read_decision(home: Home, decision_id: str) -> PromotionDecision | None:
    """The stored record of a decision; None where it is missing or damaged, or the id is not one."""
    if Path(decision_id).name != decision_id:
        return None
    try:
        return PromotionDecision.model_validate(read_json_object(home.decisions / f"{decision_id}.json"))
    except (UnreadableFileError, ValidationError):
        return None


def list_decisions(home: Home) -> tuple[list[PromotionDecision], list[Path]]:
    """Every decision of a home, the newest as-of time first, and the files that are none."""
    decisions: list[PromotionDecision] = []
    damaged: list[Path] = []
    for path in home.decisions.glob("*_*_*.json"):
        decision = read_decision(home, path.stem)
        if decision is None:
            damaged.append(path)
        else:
            decisions.append(decision)
    return sorted(decisions, key=lambda decision: (decision.as_of, decision.decision_id), reverse=True), damaged


def find_later_decision(home: Home, decision: PromotionDecision) -> PromotionDecision | None:
    """A decision about later and other labels, dry runs aside, or None.

    The labels of the store as it is now are the latest, even if some were deleted; else the newest label counts, and how many, not as_of.
    """
    others = [other for other in list_decisions(home)[0] if not other.dry_run and other.label_watermark != decision.label_watermark]
    present = present_watermark(home) if others else None
    return next((other for other in others if _labels_seen(other, present) > _labels_seen(decision, present)), None)


def _labels_seen(decision: PromotionDecision, present: str | None) -> tuple[bool, datetime, int]:
    return decision.label_watermark == present, decision.labels_until or decision.as_of, sum(decision.split.values())


def receipt_text(decision: PromotionDecision) -> str:
    """The bytes of a receipt's file, as text: canonical JSON and a newline."""
    return canonical_json(decision.model_dump(mode="json", exclude_defaults=True)) + "\n"
