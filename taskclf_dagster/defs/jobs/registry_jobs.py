"""The jobs of the registry: rollback, approve, prune and verify_registry. Dagster concept: op jobs.

Each calls one function of the registry and reports the result in its log, its output and the run's tags; a pointer change is reported on
the asset `active_pointer`. They do not wait for a retrain: the registry lock separates them, and a retrain whose champion changed
meanwhile is refused.
"""

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from taskclf_dagster.defs.display.metadata import Cell, table
from taskclf_dagster.defs.display.pointer_changes import describe_pointer, report_registry_checks
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.resources.signing_keys import open_keys
from taskclf_dagster.defs.runs.instance_home import require_own_instance
from taskclf_dagster.defs.runs.run_tags import (
    HOME_TAG,
    MAX_RUNTIME_TAG,
    MODEL_TAG,
    OUTCOME_REASON_TAG,
    OUTCOME_TAG,
    PARTITION_TAG,
    USER_TAG,
    WORKER_TAG,
    home_tag,
)
from taskclf_dagster.defs.runs.worker_processes import describe_worker
from taskclf_dagster.domain.decision.decision_store import load_decision
from taskclf_dagster.domain.registry.fsck import check_registry
from taskclf_dagster.domain.registry.fsck_files import find_unchecked
from taskclf_dagster.domain.registry.fsck_findings import summarize_findings
from taskclf_dagster.domain.registry.pointer import ActivePointer
from taskclf_dagster.domain.registry.promotion import approve
from taskclf_dagster.domain.registry.recovery import repair
from taskclf_dagster.domain.registry.retention import plan_prune, prune, require_only_awaiting
from taskclf_dagster.domain.registry.rollback import rollback
from taskclf_dagster.domain.retraining.present_policy import require_present_policy
from taskclf_dagster.domain.retraining.recomputation import recompute_decision
from taskclf_dagster.domain.storage.files import MEBIBYTE
from taskclf_dagster.home import Home
from taskclf_dagster.provenance import cores
from taskclf_dagster.shown_text import counted, show_line

REGISTRY_POOL = "registry"


LIMITS = {MAX_RUNTIME_TAG: "600"}
"""These jobs take seconds; ten minutes [s] are for one that waits for the lock of a large home."""


class RollbackParams(dg.Config):
    """The launch form of the job `rollback`."""

    to: str | None = Field(None, description="Id of a model in models/. Default: the last known good one before the present.")
    reason: str = Field(description="Why, for the record.", min_length=1)


class ApproveParams(dg.Config):
    """The launch form of the job `approve`."""

    decision_id: str | None = Field(None, description="Id of a decision that awaits approval. Default: the one that does.", min_length=1)
    as_judged: bool = Field(False, description="Approve although today's policy is stricter and would reject or hold it.")


class PruneParams(dg.Config):
    """The launch form of the job `prune`."""

    dry_run: bool = Field(False, description="List what would go, with size and reason, and remove nothing.")


class VerifyParams(dg.Config):
    """The launch form of the job `verify_registry`."""

    repair: bool = Field(
        False, description="First complete or abort an interrupted change and restore the last known good model; the history records both."
    )


@dg.op(pool=REGISTRY_POOL, name="roll_back")
def _roll_back(
    context: dg.OpExecutionContext, config: RollbackParams, home: HomeResource, run_settings: RunSettingsResource, clock: ClockResource
) -> None:
    taskclf_home = _begin(context, home)
    keys = open_keys(taskclf_home, run_settings.load_signing(), signs=True)
    by = context.run.tags.get(USER_TAG)
    reason = config.reason if by is None else f"{config.reason} (by {by})"
    pointer = rollback(taskclf_home, to=config.to, reason=reason, at=clock.now(), run_id=context.run.run_id, keys=keys)
    _report_move(context, taskclf_home, pointer, reason)


@dg.op(pool=REGISTRY_POOL, name="approve_decision")
def _approve(
    context: dg.OpExecutionContext, config: ApproveParams, home: HomeResource, run_settings: RunSettingsResource, clock: ClockResource
) -> None:
    taskclf_home = _begin(context, home)
    decision_id = config.decision_id or require_only_awaiting(taskclf_home)
    if not config.as_judged:
        require_present_policy(load_decision(taskclf_home, decision_id), run_settings.load_config(taskclf_home), approved=True)
    by = context.run.tags.get(USER_TAG)
    pointer = approve(
        taskclf_home,
        decision_id,
        recompute=partial(recompute_decision, cores=cores()),
        at=clock.now(),
        by=by,
        run_id=context.run.run_id,
        keys=open_keys(taskclf_home, run_settings.load_signing(), signs=True),
    )
    _report_move(context, taskclf_home, pointer, f"decision {decision_id} was approved{'' if by is None else f' by {by}'}")


@dg.op(pool=REGISTRY_POOL, name="remove_old_bundles")
def _prune(
    context: dg.OpExecutionContext, config: PruneParams, home: HomeResource, run_settings: RunSettingsResource, clock: ClockResource
) -> None:
    taskclf_home = _begin(context, home)
    settings = run_settings.load_config(taskclf_home)
    act = plan_prune if config.dry_run else partial(prune, keys=open_keys(taskclf_home, settings.signing, signs=True))
    plan = act(taskclf_home, keep_versions=settings.retention.keep_versions, keep_rejected=settings.retention.keep_rejected, at=clock.now())
    verb = "would go" if config.dry_run else "removed"
    rows: list[dict[str, Cell]] = [
        {"what": item.kind, "path": item.path, "MiB": round(item.bytes / MEBIBYTE, 1), "why": item.reason} for item in plan.remove
    ]
    stays = [{"model": model_id, "why it stays": reason} for model_id, reason in plan.reachable.items()]
    metadata = {"removed": table(rows), "kept_whatever_their_number": table(stays)}
    _report(context, taskclf_home, f"{len(rows)} files and folders {verb}, {plan.bytes / MEBIBYTE:.1f} MiB", metadata)


@dg.op(pool=REGISTRY_POOL, name="check_every_promise")
def _verify(
    context: dg.OpExecutionContext, config: VerifyParams, home: HomeResource, run_settings: RunSettingsResource, clock: ClockResource
) -> None:
    taskclf_home = _begin(context, home)
    keys = open_keys(taskclf_home, run_settings.load_signing(), signs=config.repair)
    done = repair(taskclf_home, at=clock.now(), keys=keys).done if config.repair else []
    findings = check_registry(taskclf_home, keys)
    damage = [finding for finding in findings if finding.severity == "damage"]
    rows: list[dict[str, str]] = [{"severity": f.severity, "promise": f.promise, "found": f.detail, "what to do": f.fix} for f in findings]
    unchecked: list[dict[str, Cell]] = [{"kind": kind, "files": len(paths)} for kind, paths in find_unchecked(taskclf_home).items()]
    metadata = {"findings": table(rows), "mended": show_line("; ".join(map(str, done)) or "nothing"), "without_digest": table(unchecked)}
    if damage:
        summary = show_line("; ".join(f"{finding.promise}: {finding.detail}. {finding.fix}" for finding in damage))
        raise dg.Failure(f"the registry of {taskclf_home.display_name} is damaged: {summary}", metadata=metadata, allow_retries=False)
    _report(context, taskclf_home, f"{summarize_findings(findings)}, {counted(len(findings), 'warning')}", metadata)


@dg.config_mapping
def _rollback_form(val: RollbackParams) -> dg.RunConfig:
    return dg.RunConfig(ops={"roll_back": val})


@dg.config_mapping
def _approve_form(val: ApproveParams) -> dg.RunConfig:
    return dg.RunConfig(ops={"approve_decision": val})


@dg.config_mapping
def _prune_form(val: PruneParams) -> dg.RunConfig:
    return dg.RunConfig(ops={"remove_old_bundles": val})


@dg.config_mapping
def _verify_form(val: VerifyParams) -> dg.RunConfig:
    return dg.RunConfig(ops={"check_every_promise": val})


@dg.job(
    name="rollback",
    config=_rollback_form,
    executor_def=dg.in_process_executor,
    tags=LIMITS,
    description="Goes back to an earlier model at once, without training, and blocks the one it leaves.",
)
def rollback_job() -> None:
    """Makes an earlier model the active model."""
    _roll_back()


@dg.job(
    name="approve",
    config=_approve_form,
    executor_def=dg.in_process_executor,
    tags=LIMITS,
    description="Promotes the challenger of a waiting decision; refused if what it judged changed, or today's policy is stricter.",
)
def approve_job() -> None:
    """Promotes the challenger of a decision that awaits approval."""
    _approve()


@dg.job(
    name="prune",
    config=_prune_form,
    executor_def=dg.in_process_executor,
    tags=LIMITS,
    description="Removes bundles beyond keep_versions and keep_rejected, and what only they needed; never what may still be needed.",
)
def prune_job() -> None:
    """Deletes what retention no longer keeps."""
    _prune()


@dg.job(
    name="verify_registry",
    config=_verify_form,
    executor_def=dg.in_process_executor,
    tags=LIMITS,
    description="Checks every promise of the registry, every bundle and every receipt; the run is red if one does not hold.",
)
def verify_registry_job() -> None:
    """Checks the promises of the registry, and repairs damage if asked to."""
    _verify()


def _begin(context: dg.OpExecutionContext, home: HomeResource) -> Home:
    """Tags the run with its worker process, so that it blocks nothing if that dies, and returns the home.

    Raises:
        HomeNotFoundError: the folder is no home.
        InstanceError: the instance belongs to another home.
    """
    taskclf_home = home.open()
    context.instance.add_run_tags(context.run.run_id, {HOME_TAG: home_tag(taskclf_home), WORKER_TAG: describe_worker(os.getpid())})
    require_own_instance(context.instance, taskclf_home)
    return taskclf_home


def _report_move(context: dg.OpExecutionContext, home: Home, pointer: ActivePointer, reason: str) -> None:
    """Reports the pointer change on the asset's page, and as the run's outcome."""
    reason = show_line(reason)
    metadata = describe_pointer(home, pointer, reason)
    partition = context.run.tags.get(PARTITION_TAG)
    context.log_event(dg.AssetMaterialization("active_pointer", description=reason, metadata=metadata, partition=partition))
    report_registry_checks(home, context.instance)
    context.instance.add_run_tags(context.run.run_id, {MODEL_TAG: pointer.name})
    _report(context, home, f"taskclf now runs {pointer.name}: {reason}", metadata)


def _report(context: dg.OpExecutionContext, home: Home, summary: str, metadata: Mapping[str, Any]) -> None:
    """Reports the result in the log, on the output, and in the run's tags."""
    summary = show_line(summary)
    context.log.info(summary)
    context.add_output_metadata({"result": summary, **metadata, "home": home.display_name})
    tags = {OUTCOME_TAG: "DONE", OUTCOME_REASON_TAG: summary}
    context.instance.add_run_tags(context.run.run_id, tags)


OPERATIONS = [rollback_job, approve_job, prune_job, verify_registry_job]


REGISTRY_FORMS = {"rollback": _rollback_form, "approve": _approve_form, "prune": _prune_form, "verify_registry": _verify_form}
"""The launch forms by job."""


def with_partitions(job: dg.JobDefinition, homes: dg.PartitionsDefinition[str]) -> dg.JobDefinition:
    """Returns a job of the registry with partitions; what its launch form has for default, its operation has as well."""
    tags, executor = dict(job.tags), dg.in_process_executor
    return job.graph.to_job(name=job.name, description=job.description, partitions_def=homes, executor_def=executor, tags=tags)
