"""Finds what a report shows beside the receipt: evaluations, the snapshot's record, and the decision before.

All of it may be missing, because retention removes it earlier than the receipt; a report then says what it leaves out. It is always read
from files, so that a report that is written again is the same.
"""

from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

from taskclf_dagster.domain.data.snapshot import DatasetSnapshot, read_snapshot_document
from taskclf_dagster.domain.data.snapshot_places import snapshot_folder
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.decision.references import ModelRef
from taskclf_dagster.domain.evaluation.metrics import EvaluationReport
from taskclf_dagster.domain.retraining.reports import ChallengerReport, ChampionReport
from taskclf_dagster.domain.storage.json_files import look_at_json
from taskclf_dagster.domain.storage.numbered_files import sort_numbered
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import TaskclfDagsterError
from taskclf_dagster.home import Home

_Record = TypeVar("_Record", bound=Record)


class ReportEvidence(NamedTuple):
    """The evidence that a report shows beside the receipt; None where the home no longer has it.

    Attributes:
        challenger: the evaluation of the challenger on all test windows.
        champion: that of the champion.
        snapshot: the record of the dataset.
        previous: the decision before this one, dry runs aside.
        left_out: why sections are left out, one sentence each.
    """

    challenger: EvaluationReport | None
    champion: EvaluationReport | None
    snapshot: DatasetSnapshot | None
    previous: PromotionDecision | None
    left_out: list[str]


def collect_evidence(home: Home, decision: PromotionDecision) -> ReportEvidence:
    """Reads what there still is about a decision; what is missing or damaged is left out."""
    ours = _find_record(home, "challenger_report", ChallengerReport, decision.challenger)
    theirs = None if decision.champion.model is None else _find_record(home, "champion_report", ChampionReport, decision.champion.model)
    snapshot = _read_snapshot(home, decision)
    snapshot = snapshot if snapshot is not None and snapshot.dataset_digest == decision.dataset.digest else None
    left_out = []
    if ours is None:
        left_out.append("The new model's evaluation is gone, so confusions and calibration are left out.")
    if theirs is None and decision.champion.model is not None:
        left_out.append("The running model's evaluation is gone, so its calibration is left out.")
    if snapshot is None:
        left_out.append("The dataset is gone, so labels by part and exclusions are left out.")
    if decision.prediction_diff is None and decision.champion.state != "none":
        left_out.append("The receipt has no predictions of the last days by both models, so what changes for you is left out.")
    return ReportEvidence(
        challenger=None if ours is None else ours.report,
        champion=None if theirs is None else theirs.report,
        snapshot=snapshot,
        previous=_find_previous(home, decision),
        left_out=left_out,
    )


def _find_record(home: Home, asset: str, kind: type[_Record], model: ModelRef) -> _Record | None:
    """Returns the step record with the hash that a receipt names; None if there is none."""
    for path in reversed(sort_numbered((home.records / asset).glob("*.json"))):
        record = None if path.name.startswith(".") else _read_record(path, kind, digest=model.report_hash)
        if record is not None:
            return record
    return None


def _read_record(path: Path, kind: type[_Record], *, digest: str | None = None) -> _Record | None:
    document = look_at_json(path).document
    if document is None:
        return None
    try:
        record = kind.model_validate(document)
    except ValidationError:
        return None
    return record if digest in (None, record.record_hash) else None


def _read_snapshot(home: Home, decision: PromotionDecision) -> DatasetSnapshot | None:
    try:
        document = read_snapshot_document(snapshot_folder(home, decision.dataset.path))
        document.pop("record_hash", None)  # a snapshot has its own hash beside it
        return DatasetSnapshot.model_validate(document)
    except (OSError, TaskclfDagsterError, ValidationError):
        return None


def _find_previous(home: Home, decision: PromotionDecision) -> PromotionDecision | None:
    """Returns the last decision that was made as of an earlier time, dry runs aside."""
    earlier = (other for other in list_decisions(home)[0] if other.as_of < decision.as_of and not other.options.dry_run)
    return next(earlier, None)
