"""Operations on retrains: the state of the home, the history, one retrain, and launching one."""

from datetime import UTC, datetime

from taskclf_dagster.defs.runs.retrain_runs import RETRAIN, describe_unfinished_retrain, find_unfinished_retrain
from taskclf_dagster.defs.runs.run_tags import CAUSE_TAG, USER_TAG
from taskclf_dagster.errors import RequestRefusedError
from taskclf_dagster.status.decision_records import JobRecord
from taskclf_dagster.status.job_history import describe_job
from taskclf_dagster.status.records import WireView
from taskclf_dagster.status.run_history import read_history_page, read_retrain
from taskclf_dagster.web.api.forms import HistoryQuery, TriggerForm
from taskclf_dagster.web.api.operations import Answer, Asked, Service


class HistoryPageView(WireView):
    """A page of the history.

    Attributes:
        items: retrains, newest first.
        next_cursor: names the next page; None if this is the last.
    """

    items: list[JobRecord]
    next_cursor: str | None


def show_status(service: Service, asked: Asked) -> Answer:
    """Answers the state of the home at a glance."""
    return Answer(service.read_overview(datetime.now(UTC)).model_copy(update={"user": asked.user}))


def show_history(service: Service, asked: Asked) -> Answer:
    """Answers one page of the history."""
    query = asked.query_of(HistoryQuery)
    page = read_history_page(service.instance, service.home, limit=query.limit, after=query.cursor, receipts=service.receipts)
    return Answer(
        HistoryPageView(items=[describe_job(retrain, service.paths.reports) for retrain in page.retrains], next_cursor=page.next_cursor)
    )


def show_job(service: Service, asked: Asked) -> Answer:
    """Answers one retrain."""
    return Answer(_find_job(service, asked.path["id"]))


def trigger_retrain(service: Service, asked: Asked) -> Answer:
    """Launches a retrain, unless one is under way; of two requests at once, one is refused."""
    form = asked.form_of(TriggerForm)
    service.backend.load_config()  # a run with a configuration that is not valid would fail
    with service.launching:
        unfinished = find_unfinished_retrain(service.instance, service.home)
        if unfinished is not None:
            words = describe_unfinished_retrain(unfinished)
            raise RequestRefusedError(
                "retrain_under_way", f"{words[0].upper()}{words[1:]}. Wait for it to end: {service.paths.api}/jobs/{unfinished.run_id}."
            )
        run_id = service.backend.launch(RETRAIN, form.model_dump(exclude_none=True), tags=tags_of(asked))
    return Answer(_find_job(service, run_id), {"Location": f"{service.paths.api}/jobs/{run_id}"})


def tags_of(asked: Asked) -> dict[str, str]:
    """Returns the tags of a run that a request launches: its cause, and the signed-in person."""
    return {CAUSE_TAG: asked.cause, **({} if asked.user is None else {USER_TAG: asked.user})}


def _find_job(service: Service, name: str) -> JobRecord:
    retrain = read_retrain(service.instance, service.home, name, service.receipts)
    if retrain is None:
        raise RequestRefusedError("not_found", "This home has no retrain with this id; the history lists them.")
    return describe_job(retrain, service.paths.reports)
