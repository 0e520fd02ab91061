"""The jobs by which a person changes what taskclf runs without training: rollback and approve. Dagster concept: op jobs.

Each calls one function of the registry and reports the move on the asset `active_pointer`.
"""

import dagster as dg
from pydantic import Field

from taskclf_dagster.defs.assets.common import POOL
from taskclf_dagster.defs.resources import ClockResource, HomeResource
from taskclf_dagster.domain.pointer import ActivePointer
from taskclf_dagster.domain.promotion import approve
from taskclf_dagster.domain.registry import rollback


class RollbackParams(dg.Config):
    """Where to go back to, and why."""

    to: str | None = Field(None, description="Id of a model in models/. Default: the last known good one before the present.")
    reason: str = Field(description="Why, for the record.", min_length=1)


class ApproveParams(dg.Config):
    """Which decision a person approves."""

    decision_id: str = Field(description="Id of a decision that awaits approval; `taskclf-dagster history` lists them.", min_length=1)


@dg.op(pool=POOL, name="roll_back")
def _roll_back(context: dg.OpExecutionContext, config: RollbackParams, home: HomeResource, clock: ClockResource) -> None:
    place = home.open()
    _report(context, rollback(place, to=config.to, reason=config.reason, at=clock.now(), run_id=context.run.run_id), config.reason)


@dg.op(pool=POOL, name="approve_decision")
def _approve(context: dg.OpExecutionContext, config: ApproveParams, home: HomeResource, clock: ClockResource) -> None:
    pointer = approve(home.open(), config.decision_id, at=clock.now(), run_id=context.run.run_id)
    _report(context, pointer, f"decision {config.decision_id} was approved")


@dg.config_mapping
def _rollback_form(val: RollbackParams) -> dg.RunConfig:
    return dg.RunConfig(ops={"roll_back": val})


@dg.config_mapping
def _approve_form(val: ApproveParams) -> dg.RunConfig:
    return dg.RunConfig(ops={"approve_decision": val})


@dg.job(
    name="rollback",
    config=_rollback_form,
    executor_def=dg.in_process_executor,
    description="Goes back to an earlier model at once, without training, and blocks the one it leaves.",
)
def rollback_job() -> None:
    """Goes back to an earlier model."""
    _roll_back()


@dg.job(
    name="approve",
    config=_approve_form,
    executor_def=dg.in_process_executor,
    description="Promotes the challenger of a decision that awaits approval; refused if anything it judged has changed since.",
)
def approve_job() -> None:
    """Promotes what awaited approval."""
    _approve()


def _report(context: dg.OpExecutionContext, pointer: ActivePointer, reason: str) -> None:
    """Shows the move on the asset's page, and as the run's outcome."""
    context.log.info(f"taskclf now runs {pointer.name}: {reason}")
    metadata: dict[str, str | int] = {"model_id": pointer.name, "reason": reason, "record": pointer.sequence or 0}
    context.log_event(dg.AssetMaterialization("active_pointer", description=reason, metadata=metadata))
    context.instance.add_run_tags(context.run.run_id, {"taskclf/model": pointer.name})


OPERATIONS = [rollback_job, approve_job]
