"""One retrain as page and API show it, made of the run history's records.

Add a field to `decision_records.JobRecord`, and its value here.
"""

from collections.abc import Mapping

from taskclf_dagster.status.decision_records import JobRecord, JobStatus, Metrics
from taskclf_dagster.status.records import Retrain

REPORT_PATH = "/retrain/reports/"
"""The path of the reports on the web server of one home, each behind it by the id of its decision."""


def describe_job(retrain: Retrain, reports: str = REPORT_PATH) -> JobRecord:
    """Returns a retrain as page and API show it.

    Args:
        retrain: the retrain.
        reports: the path of the reports of its home on the web server.
    """
    status: JobStatus = "pending" if retrain.status == "queued" else retrain.status
    return JobRecord(
        id=retrain.run_id or retrain.decision_id or "",
        model_id=retrain.challenger,
        previous_version=retrain.previous_version,
        new_version=retrain.new_version,
        status=status,
        outcome=retrain.outcome,
        cause=retrain.cause,
        started_at=retrain.started,
        completed_at=retrain.finished,
        label_count=retrain.labels,
        metrics_before=_describe_metrics(retrain.metrics_before),
        metrics_after=_describe_metrics(retrain.metrics_after),
        compared_windows=retrain.compared_windows,
        error_message=retrain.error,
        reason=retrain.reason,
        sentence=retrain.sentence,
        decision_id=retrain.decision_id,
        run_id=retrain.run_id,
        report_url=None if retrain.decision_id is None else f"{reports}{retrain.decision_id}",
    )


def _describe_metrics(figures: Mapping[str, float | None] | None) -> Metrics | None:
    if figures is None:
        return None
    return Metrics(
        precision=figures["macro_precision"], recall=figures["macro_recall"], f1=figures["macro_f1"], accuracy=figures["accuracy"]
    )
