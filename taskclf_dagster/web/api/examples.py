"""Examples of the OpenAPI document: they are records, so that one that no longer fits fails where it is made."""

from collections.abc import Mapping
from datetime import UTC, datetime

from pydantic import BaseModel

from taskclf_dagster.status.decision_records import JobRecord, Metrics
from taskclf_dagster.status.records import WireView
from taskclf_dagster.web.api.changes import RunView
from taskclf_dagster.web.api.configuration import ConfigForm
from taskclf_dagster.web.api.forms import ApproveForm, RollbackForm, TriggerForm
from taskclf_dagster.web.api.retrains import HistoryPageView
from taskclf_dagster.web.problems import KINDS, ProblemDetails, type_of

_RUN = "5f0c2c0e-6d54-4a52-8f0f-0d9c8a6f1b2e"


_DECISION = "2026-02-04_060000_1a2b3c4d"


_JOB = JobRecord(
    id=_RUN,
    model_id="2026-02-04_060000_run-0004",
    previous_version="2026-01-28_060000_run-0003",
    new_version="2026-02-04_060000_run-0004",
    status="completed",
    outcome="PROMOTE",
    cause="page",
    started_at=datetime(2026, 2, 4, 6, 0, 1, tzinfo=UTC),
    completed_at=datetime(2026, 2, 4, 6, 1, 12, tzinfo=UTC),
    label_count=4210,
    metrics_before=Metrics(precision=0.66, recall=0.61, f1=0.62, accuracy=0.71),
    metrics_after=Metrics(precision=0.69, recall=0.66, f1=0.67, accuracy=0.74),
    compared_windows=812,
    reason="All 21 gates that apply passed.",
    decision_id=_DECISION,
    run_id=_RUN,
    report_url=f"/retrain/reports/{_DECISION}",
)


ANSWER_EXAMPLES: Mapping[type[WireView] | None, WireView] = {
    JobRecord: _JOB,
    HistoryPageView: HistoryPageView(items=[_JOB], next_cursor=f"1770184800000000.{_RUN}"),
    RunView: RunView(
        run_id=_RUN, job="rollback", status="completed", message="taskclf now runs 2026-01-28_060000_run-0003: meetings are missed"
    ),
}


FORM_EXAMPLES: Mapping[type[BaseModel], Mapping[str, object]] = {
    TriggerForm: {"with the defaults": {"value": {}}, "a dry run": {"value": {"force": True, "dryRun": True}}},
    ApproveForm: {"the one that waits": {"value": {}}, "one by its id": {"value": {"decisionId": _DECISION}}},
    ConfigForm: {
        "label less often, ask first": {"value": {"minLabelsRequired": 30, "autoPromote": False}},
        "another time, the shipped floor": {"value": {"schedule.cron": "0 5 * * *", "gates.min_macro_f1": None}},
    },
    RollbackForm: {"to the model before": {"value": {"reason": "meetings are missed"}}},
}


PROBLEM_EXAMPLE = ProblemDetails(
    type=type_of("retrain_under_way"),
    title=KINDS["retrain_under_way"].title,
    kind="retrain_under_way",
    status=KINDS["retrain_under_way"].status,
    detail=f"A retrain is queued already: run {_RUN} (cause: page) since 2026-02-04 06:00:00 UTC. Wait for it to end.",
    instance="/api/ml/retrain/trigger",
).model_dump(mode="json", by_alias=True, exclude_none=True)
