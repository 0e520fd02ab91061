"""Writes the report of a decision as `artifacts/reports/<decision_id>.html`.

It is written after the receipt is durable, and nothing reads it but people: that it cannot be written is a warning, never a failure of the
decision.
"""

from pathlib import Path
from typing import NamedTuple

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import read_decision, receipt_text, report_path
from taskclf_dagster.domain.reporting.decision_report import describe_decision
from taskclf_dagster.domain.reporting.report_document import Report, render_report
from taskclf_dagster.domain.reporting.report_evidence import ReportEvidence, collect_evidence
from taskclf_dagster.domain.storage.files import write_text
from taskclf_dagster.home import Home

REPORT_PAGES = "/retrain/reports/"
"""The path, on the page's server, below which reports are shown by the id of their decision."""


class WrittenReport(NamedTuple):
    """The result of writing a report.

    Attributes:
        path: the file; it exists unless there is a problem.
        problem: why it could not be written; None if it was.
    """

    path: Path
    problem: str | None


def make_report(home: Home, decision: PromotionDecision) -> str:
    """Returns the HTML of a decision's report: the same bytes as long as the home has the same evidence."""
    return render_report(describe_stored(decision, collect_evidence(home, decision)))


def describe_stored(decision: PromotionDecision, evidence: ReportEvidence) -> Report:
    """Returns the report of a decision as its file has it: one that was just made has its keys in another order."""
    return describe_decision(PromotionDecision.model_validate_json(receipt_text(decision)), evidence)


def write_report(home: Home, decision: PromotionDecision) -> Path:
    """Writes the report of a decision, atomically.

    Raises:
        DecisionNotFoundError: its id is none.
        OSError: it cannot be written.
    """
    path = report_path(home, decision.decision_id)
    write_text(path, make_report(home, decision))
    return path


def try_to_write_report(home: Home, decision: PromotionDecision) -> WrittenReport:
    """Writes the report of a decision that was just made; whatever prevents it is returned, not raised."""
    path = report_path(home, decision.decision_id)
    try:
        return WrittenReport(write_report(home, decision), None)
    except Exception as error:  # a report is for people: a decision that stands must not fail for it
        return WrittenReport(path, f"{type(error).__name__}: {error}")


def write_trial_report(home: Home, decision_id: str | None) -> WrittenReport | None:
    """Writes the report of the decision that a trial made; None if it made none, or its receipt cannot be read."""
    decision = None if decision_id is None else read_decision(home, decision_id)
    return None if decision is None else try_to_write_report(home, decision)
