"""Writes the report of a decision as `artifacts/reports/<decision_id>.html`.

It is written after the receipt is durable, and nothing reads it but people: that it cannot be written is a warning, never a failure of the
decision.
"""

from pathlib import Path
from typing import NamedTuple

from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import report_path
from taskclf_dagster.domain.reporting.decision_report import describe_decision
from taskclf_dagster.domain.reporting.report_document import render_report
from taskclf_dagster.domain.reporting.report_evidence import collect_evidence
from taskclf_dagster.domain.storage.files import write_text
from taskclf_dagster.home import Home


class WrittenReport(NamedTuple):
    """The result of writing a report.

    Attributes:
        path: the file; it exists unless there is a problem.
        problem: why it could not be written; None if it was.
    """

    path: Path
    problem: str | None


def make_report(home: Home, decision: PromotionDecision) -> str:
    """Returns the HTML of a decision's report: the same bytes as long as what it is made of is there."""
    return render_report(describe_decision(decision, collect_evidence(home, decision)))


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
