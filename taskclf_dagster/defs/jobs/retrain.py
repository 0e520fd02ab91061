"""The job `retrain` and its flat launch form, and a function that runs it. Dagster concept: jobs, run configuration.

The job is the graph of assets; nothing is computed here.
"""

from dataclasses import dataclass

import dagster as dg
from pydantic import Field

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.assets.common import RETRAIN_ASSETS
from taskclf_dagster.defs.dagster_internals import AssetJob, outlasting_interrupts, runs_of_the_code_location
from taskclf_dagster.defs.jobs.launch_forms import Homes, choose_form
from taskclf_dagster.defs.resources.inputs import RunSettingsResource
from taskclf_dagster.defs.resources.run_supervisor import max_runtime
from taskclf_dagster.defs.runs.retrain_runs import RETRAIN
from taskclf_dagster.defs.runs.run_failures import TOOK_TOO_LONG, describe_failure
from taskclf_dagster.defs.runs.run_tags import (
    CAUSE_TAG,
    COMMAND_LINE,
    EXCLUSIVE_TAG,
    FAILED,
    FAILURE_TAG,
    JUDGED_RUN_TAG,
    MAX_RUNTIME_TAG,
    OUTCOME_REASON_TAG,
    OUTCOME_TAG,
    SKIPPED,
)
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.scheduling.failure_kinds import TIMEOUT

CONFIG_METADATA = "configuration"


JUDGING_ASSETS = ("challenger_report", "champion_report", "promotion_decision", "active_pointer")
"""The assets that follow from a dataset and a challenger."""


class RetrainParams(dg.Config):
    """The launch form of the job `retrain`; the defaults are those of the schedule."""

    force: bool = Field(False, description="Train although nothing is new since the last decided run.")
    dry_run: bool = Field(False, description="Decide, but move nothing: the pointer stays, and the run does not count for cadence.")
    as_of: str | None = Field(None, description="End of the look-back range: an ISO date or time (UTC without an offset). Default: now.")
    holdout_user_fraction: float = Field(
        0.0, ge=0, lt=1, description="Share of users kept out of training, to judge unseen users [0 to 1)."
    )
    config_path: str | None = Field(None, description="Absolute path of a YAML file that overrides configs/retrain.yaml.")
    bootstrap: bool = Field(False, description="Let the absolute gates alone decide where a champion exists that cannot be compared with.")


@dg.config_mapping
def retrain_run_config(val: RetrainParams) -> dg.RunConfig:
    """Maps the launch form to the resource that the assets read. The console shows messages of assets only, the event log everything."""
    return dg.RunConfig(
        resources={"run_settings": RunSettingsResource(**val.model_dump())},
        loggers={"console": {"config": {"log_level": "INFO"}}},
    )


def build_retrain_job(config: RetrainConfig, homes: Homes = None) -> AssetJob:
    """Returns the job, of one home or with partitions.

    Its metadata show the configuration that was in effect when it was loaded, on its page and over the API.
    """
    return dg.define_asset_job(
        RETRAIN,
        selection=dg.AssetSelection.assets(*RETRAIN_ASSETS),
        config=choose_form(retrain_run_config, homes),
        executor_def=dg.in_process_executor,
        description="From windows and labels to a decision, and to a new active model if every gate passes. Fields: see the launch form.",
        tags={EXCLUSIVE_TAG: RETRAIN, MAX_RUNTIME_TAG: str(max_runtime(60.0 * config.scheduling.timeout_minutes))},
        metadata={CONFIG_METADATA: dg.MetadataValue.json(config.document)},
    )


@dataclass(frozen=True)
class RetrainResult:
    """The outcome of a retrain.

    Attributes:
        success: True if the run ended without an error; a rejected challenger is a success.
        outcome: the verdict, SKIP, or FAILED.
        reason: reason of the outcome.
        decision: the decision; None if none was made.
        pointer_moved: True if the active model changed.
    """

    run_id: str
    success: bool
    outcome: str
    reason: str
    decision: PromotionDecision | None
    pointer_moved: bool


def run_retrain_pipeline(
    definitions: dg.Definitions, params: RetrainParams, *, instance: dg.DagsterInstance, judged_run: str | None = None
) -> RetrainResult:
    """Runs the job in this process, recorded in the instance, and returns its outcome.

    Args:
        definitions: the project's definitions.
        params: the launch form.
        instance: the Dagster instance that records the run.
        judged_run: the run whose challenger is judged again, with its dataset; None trains a new one.
    """
    job = definitions.resolve_job_def(RETRAIN)
    with runs_of_the_code_location(instance, RETRAIN), outlasting_interrupts():
        result = job.execute_in_process(
            run_config=params.model_dump(),
            instance=instance,
            raise_on_error=False,
            tags={CAUSE_TAG: COMMAND_LINE, **({} if judged_run is None else {JUDGED_RUN_TAG: judged_run})},
            asset_selection=None if judged_run is None else [dg.AssetKey(name) for name in JUDGING_ASSETS],
        )
    made = {event.node_name: event for event in result.get_asset_materialization_events()}
    if not result.success:
        run = instance.get_run_by_id(result.run_id)
        timed_out = run is not None and run.tags.get(FAILURE_TAG) == TIMEOUT
        reason = TOOK_TOO_LONG if timed_out else describe_failure(result.all_events)
        instance.add_run_tags(result.run_id, {OUTCOME_TAG: FAILED, OUTCOME_REASON_TAG: reason})
        return RetrainResult(result.run_id, False, FAILED, reason, None, False)
    if "promotion_decision" not in made:
        snapshot = result.output_for_node("dataset_snapshot")
        return RetrainResult(result.run_id, True, SKIPPED, snapshot.skip_reason or "nothing was decided", None, False)
    decision: PromotionDecision = result.output_for_node("promotion_decision")
    return RetrainResult(result.run_id, True, decision.verdict, decision.reason, decision, "active_pointer" in made)
