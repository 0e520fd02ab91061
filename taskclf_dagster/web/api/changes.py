"""Operations that change the active model: approving a decision, rolling back, and the state of any launched run."""

from pathlib import Path
from typing import Literal

from taskclf_dagster.defs.resources.signing_keys import open_keys
from taskclf_dagster.defs.runs.retrain_runs import RetrainRun, find_run, iterate_unfinished_runs
from taskclf_dagster.defs.runs.run_failures import explain_failure
from taskclf_dagster.defs.runs.run_tags import OUTCOME_REASON_TAG
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.decision_store import list_decisions
from taskclf_dagster.domain.models.bundle_paths import is_model_id
from taskclf_dagster.domain.registry.health import find_last_known_good
from taskclf_dagster.domain.registry.retention import find_awaiting, require_only_awaiting
from taskclf_dagster.domain.registry.state import RegistryState, read_registry_state
from taskclf_dagster.domain.retraining.present_policy import require_present_policy
from taskclf_dagster.errors import DecisionNotFoundError, ReceiptVersionError, RegistryRefusedError, RequestRefusedError
from taskclf_dagster.status.decision_records import JobStatus
from taskclf_dagster.status.records import WireView
from taskclf_dagster.web.api.forms import ApproveForm, RollbackForm
from taskclf_dagster.web.api.operations import Answer, Asked, Service
from taskclf_dagster.web.api.retrains import tags_of

APPROVE: Literal["approve"] = "approve"


ROLLBACK: Literal["rollback"] = "rollback"


class RunView(WireView):
    """The state of a launched run of any job.

    Attributes:
        run_id: the run.
        job: name of the job.
        status: state of the run.
        message: what came of it, or what it waits for.
    """

    run_id: str
    job: str
    status: JobStatus
    message: str


def show_run(service: Service, asked: Asked) -> Answer:
    """Answers the state of a run."""
    run = find_run(service.instance, service.home, asked.path["id"])
    if run is None:
        raise RequestRefusedError("not_found", "This home has no run with this id.")
    return Answer(_describe_run(service, run))


def approve_decision(service: Service, asked: Asked) -> Answer:
    """Launches the approval of a decision, if it still can be approved."""
    form = asked.form_of(ApproveForm)
    config = service.backend.load_config()
    try:
        decision = _find_awaiting(service, form.decision_id or require_only_awaiting(service.home))
        if not form.as_judged:
            require_present_policy(decision, config, approved=True)
    except RegistryRefusedError as error:
        raise RequestRefusedError("not_possible", str(error)) from error
    return _launch(service, asked, APPROVE, {"decision_id": decision.decision_id, "as_judged": form.as_judged})


def roll_back(service: Service, asked: Asked) -> Answer:
    """Launches a rollback to a model that can run."""
    form = asked.form_of(RollbackForm)
    keys = open_keys(service.home, service.backend.load_config().signing, signs=False)
    state = read_registry_state(service.home, keys)
    target = _find_target(state, form.to)
    return _launch(service, asked, ROLLBACK, {"to": target, "reason": form.reason})


def _launch(service: Service, asked: Asked, job: str, form: dict[str, object]) -> Answer:
    """Launches a job of the registry, unless one is under way: a second rollback would go back one model more."""
    with service.launching:
        runs = iterate_unfinished_runs(service.instance, service.home)
        other = next((run for run in runs if run.run.job_name in (APPROVE, ROLLBACK)), None)
        if other is not None:
            where = f"{service.paths.api}/runs/{other.run_id}"
            detail = f"Run {other.run_id} of the job {other.run.job_name} is {other.state}. Wait for it to end: {where}."
            raise RequestRefusedError("change_under_way", detail)
        run_id = service.backend.launch(job, form, tags=tags_of(asked))
    view = RunView(run_id=run_id, job=job, status="pending", message="It waits for the daemon to start it.")
    return Answer(view, {"Location": f"{service.paths.api}/runs/{run_id}"})


def _find_awaiting(service: Service, decision_id: str) -> PromotionDecision:
    """Returns a decision that can be approved."""
    try:
        decision = service.receipts.load(service.home, decision_id)
    except DecisionNotFoundError as error:
        raise RequestRefusedError("not_found", "This home has no decision with this id; the history lists them.") from error
    except ReceiptVersionError as error:
        raise RequestRefusedError("not_possible", str(error)) from error
    state = read_registry_state(service.home)
    awaiting = find_awaiting(state, list_decisions(service.home, service.receipts)[0])
    if decision.decision_id not in {other.decision_id for other in awaiting}:
        detail = f"Decision {decision.decision_id} does not wait for approval, or no longer: its outcome was {decision.outcome}."
        raise RequestRefusedError("not_possible", detail)
    return decision


def _find_target(state: RegistryState, model_id: str | None) -> str:
    """Returns the model that a rollback goes to."""
    active = None if state.active_model_dir is None else Path(state.active_model_dir).name
    if model_id is None:
        good = find_last_known_good(state, but=state.active_model_dir)
        if good is None:
            raise RequestRefusedError("not_possible", "The history has no other model that can run. Launch a retrain instead.")
        return good.name
    if not is_model_id(model_id) or not (state.home.models / model_id).is_dir():
        raise RequestRefusedError("not_found", "There is no promoted model with this id.")
    if model_id == active:
        raise RequestRefusedError("not_possible", f"{model_id} is the active model. Name another one.")
    if model_id in state.history.blocked:
        detail = f"An earlier rollback left {model_id}. `taskclf-dagster unblock {model_id}` allows it again."
        raise RequestRefusedError("not_possible", detail)
    problem = state.model_problem(f"{state.home.models.name}/{model_id}")
    if problem is not None:
        raise RequestRefusedError("not_possible", f"{model_id} cannot run: {problem.reason}.")
    return model_id


def _describe_run(service: Service, run: RetrainRun) -> RunView:
    statuses: dict[str, JobStatus] = {"queued": "pending", "running": "running", "skipped": "skipped", "failed": "failed"}
    messages = {"queued": "It waits for the daemon to start it.", "running": "It runs."}
    message = messages.get(run.state) or run.tags.get(OUTCOME_REASON_TAG) or "It has ended."
    if run.state == "failed":
        message = explain_failure(service.instance, run).message
    return RunView(run_id=run.run_id, job=run.run.job_name, status=statuses.get(run.state, "completed"), message=message)
