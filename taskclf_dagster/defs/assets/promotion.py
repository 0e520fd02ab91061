"""The assets promotion_decision and active_pointer: the verdict, and the only step that changes the active model. Dagster concept: assets.

Dagster is not the safety boundary: `apply_decision` verifies the decision again. Gates and verdicts belong to `domain.decision`, pointer
changes to `domain.registry`, what the pages show to `defs.display.promotion_metadata`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import dagster as dg

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.assets.common import GROUP, OWNERS, POOL, materialized, tag_run
from taskclf_dagster.defs.display.decision_metadata import ENOUGH_USER_DAYS, comparative_checks, draw_interval
from taskclf_dagster.defs.display.metadata import unusual_days_check
from taskclf_dagster.defs.display.model_metadata import FLOORS_CHECK
from taskclf_dagster.defs.display.promotion_metadata import (
    COMPARATIVE_CHECKS,
    DISAGREEMENT,
    DISAGREEMENT_CHECK,
    FLOORS_CLAIM,
    PROMOTED,
    PROMOTED_CHECK,
    USER_DAYS_CHECK,
    decision_metadata,
    floors_check,
    pointer_metadata,
    promoted_check,
    report_metadata,
)
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.resources.run_supervisor import RunSupervisor
from taskclf_dagster.defs.resources.signing_keys import open_keys
from taskclf_dagster.defs.runs.run_tags import DECISION_TAG, JUDGED_RUN_TAG, MODEL_TAG, OUTCOME_REASON_TAG, OUTCOME_TAG, REPORT_TAG
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.decision.comparative_gates import COMPARATIVE_GATES
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.last_decided import read_last_decided
from taskclf_dagster.domain.decision.references import RunOptions
from taskclf_dagster.domain.models.challenger import ChallengerModel
from taskclf_dagster.domain.registry.pointer import ActivePointer
from taskclf_dagster.domain.reporting.report_file import REPORT_PAGES, try_to_write_report
from taskclf_dagster.domain.retraining.apply_decision import AppliedDecision, apply_decision
from taskclf_dagster.domain.retraining.day_effect_step import find_day_effects
from taskclf_dagster.domain.retraining.decision_step import find_disagreeing_days, load_predictions_once, make_decision
from taskclf_dagster.domain.retraining.recomputation import recompute_decision
from taskclf_dagster.domain.retraining.reports import ChallengerReport, ChampionReport
from taskclf_dagster.domain.retraining.suggestion_step import suggest_what_to_label
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import RunEndedError
from taskclf_dagster.home import Home
from taskclf_dagster.provenance import code_version, cores


class PointerChange(Record):
    """A pointer change that a decision made."""

    decision_id: str
    model_id: str
    model_dir: str
    selected_at: str
    previous_model_dir: str | None


@dg.asset(
    group_name=GROUP,
    pool=POOL,
    dagster_type=dg.PythonObjectDagsterType(PromotionDecision),
    owners=OWNERS,
    kinds={"json"},
    check_specs=[
        dg.AssetCheckSpec(PROMOTED, asset="promotion_decision", description=PROMOTED_CHECK),
        dg.AssetCheckSpec(FLOORS_CHECK, asset="promotion_decision", description=FLOORS_CLAIM),
        *(dg.AssetCheckSpec(name, asset="promotion_decision", description=COMPARATIVE_CHECKS[name]) for name in COMPARATIVE_GATES),
        dg.AssetCheckSpec(ENOUGH_USER_DAYS, asset="promotion_decision", description=USER_DAYS_CHECK),
        dg.AssetCheckSpec(DISAGREEMENT, asset="promotion_decision", description=DISAGREEMENT_CHECK),
    ],
)
def promotion_decision(
    context: dg.AssetExecutionContext,
    dataset_snapshot: DatasetSnapshot,
    challenger_model: ChallengerModel,
    challenger_report: ChallengerReport,
    champion_report: ChampionReport,
    home: HomeResource,
    run_settings: RunSettingsResource,
    supervisor: RunSupervisor,
) -> dg.MaterializeResult:
    """The verdict PROMOTE, AWAITING_APPROVAL, REJECT or HOLD, with the value and threshold of every gate and the hashes of its inputs.

    Every verdict is a successful run. The decision receipt is stored in artifacts/decisions.
    """
    taskclf_home = home.open()
    config = run_settings.load_config(taskclf_home)
    load = load_predictions_once(taskclf_home)
    record = make_decision(
        taskclf_home,
        dataset_snapshot,
        challenger_model,
        challenger_report,
        champion_report,
        config=config,
        options=RunOptions(dry_run=run_settings.dry_run, forced=run_settings.force, bootstrap=run_settings.bootstrap),
        code_version=code_version(),
        keys=open_keys(taskclf_home, config.signing, signs=True),
        load=load,
    )
    _say_decision(context, record)
    reports, interval = (challenger_report, champion_report), draw_interval(record)
    effects = find_day_effects(taskclf_home, dataset_snapshot, challenger_model, reports, record, config=config, load=load, cores=cores())
    suggestions = suggest_what_to_label(taskclf_home, dataset_snapshot, *reports, record, effects)
    metadata = decision_metadata(taskclf_home, record, challenger_report, champion_report, interval, suggestions)
    metadata |= _write_report(context, taskclf_home, record, config)
    advice = unusual_days_check(DISAGREEMENT, find_disagreeing_days(challenger_report, champion_report, load))
    checks = [promoted_check(record), floors_check(record), *comparative_checks(record, interval), advice]
    return materialized(record, metadata=metadata, check_results=checks)


@dg.asset(
    group_name=GROUP,
    pool=POOL,
    dagster_type=dg.PythonObjectDagsterType(PointerChange),
    owners=OWNERS,
    kinds={"json"},
    output_required=False,
)
def active_pointer(
    context: dg.AssetExecutionContext,
    promotion_decision: PromotionDecision,
    home: HomeResource,
    run_settings: RunSettingsResource,
    clock: ClockResource,
    supervisor: RunSupervisor,
) -> Iterator[dg.MaterializeResult]:
    """The active model. Materialized only when the pointer changes, so that its age is the age of the model.

    Verifies the decision, the bundle and the pointer again, then writes history, inference policy, active.json and index.json. Any verdict
    but PROMOTE leaves models/ unchanged, byte for byte, and moves the challenger to the rejected or pending models.
    """
    _require_unended(context)
    taskclf_home = home.open()
    settings = run_settings.load_config(taskclf_home)
    applied = apply_decision(
        taskclf_home,
        promotion_decision,
        settings=settings,
        recompute=partial(recompute_decision, cores=cores()),
        run_id=context.run.run_id,
        at=clock.now(),
        trained_at=_find_training_time(context, taskclf_home),
        keys=open_keys(taskclf_home, settings.signing, signs=True),
    )
    _log_effect(context, promotion_decision, applied)
    if applied.pointer is not None:
        record = _describe_change(promotion_decision, applied.pointer, applied.previous)
        shown = pointer_metadata(taskclf_home, applied.pointer, applied.previous, promotion_decision, promotion_decision.reason)
        yield materialized(record, metadata=shown)


def _write_report(context: dg.AssetExecutionContext, home: Home, decision: PromotionDecision, config: RetrainConfig) -> dict[str, object]:
    """Writes the report of a decision, and returns where it is; that it cannot be written is a warning."""
    written = try_to_write_report(home, decision)
    if written.problem is not None:
        fix = f"`taskclf-dagster report {decision.decision_id}` writes it"
        context.log.warning(f"the report of the decision could not be written: {written.problem}; {fix}")
        return {}
    page = None if config.server.url is None else f"{config.server.url}{REPORT_PAGES}{decision.decision_id}"
    context.log.info(f"report: {page or written.path}")
    tag_run(context, {REPORT_TAG: page or str(written.path)})
    return report_metadata(written.path, page)


def _say_decision(context: dg.AssetExecutionContext, record: PromotionDecision) -> None:
    """Writes the verdict into the log and the tags of the run."""
    context.log.info(f"{record.outcome}: {record.reason}")
    tags = {OUTCOME_TAG: record.outcome, OUTCOME_REASON_TAG: record.reason}
    tag_run(context, {**tags, MODEL_TAG: record.challenger.model_id, DECISION_TAG: record.decision_id})


def _find_training_time(context: dg.AssetExecutionContext, home: Home) -> datetime | None:
    """Returns the time at which the challenger that this run judges again was trained; None if this run trained it, or nobody knows."""
    judged_run = context.run.tags.get(JUDGED_RUN_TAG)
    if judged_run is None:
        return None
    events = context.instance.get_records_for_run(judged_run, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
    trained = [event.timestamp for event in events if event.asset_key == dg.AssetKey("challenger_model")]
    last = read_last_decided(home)
    return datetime.fromtimestamp(trained[-1], UTC) if trained else None if last is None else last.trained_at


def _require_unended(context: dg.AssetExecutionContext) -> None:
    """Reads the state of the run again: it may have been canceled or reported as failed while it was executing.

    Raises:
        RunEndedError: the run has ended for Dagster.
    """
    run = context.instance.get_run_by_id(context.run.run_id)
    if run is not None and run.status not in (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED):
        raise RunEndedError(run.run_id, run.status.value)


def _log_effect(context: dg.AssetExecutionContext, decision: PromotionDecision, applied: AppliedDecision) -> None:
    if applied.outcome == "already_applied":
        context.log.info(f"decision {decision.decision_id} is in effect already: nothing to do")
    elif applied.outcome == "promoted":
        before = "nothing" if applied.previous is None else applied.previous.model_dir
        context.log.info(f"taskclf now runs {decision.challenger.model_id} (before: {before})")
    else:
        context.log.info(f"{decision.outcome}: the pointer is unchanged; the challenger is in {applied.bundle}")
    if applied.retention_problem is not None:
        context.log.warning(f"retention is postponed to the next run: {applied.retention_problem}")
    if applied.removed:
        names = ", ".join(item.path for item in applied.removed[:10])
        context.log.info(f"retention removed {len(applied.removed)} files and folders: {names}")


def _describe_change(decision: PromotionDecision, pointer: ActivePointer, previous: ActivePointer | None) -> PointerChange:
    return PointerChange(
        decision_id=decision.decision_id,
        model_id=decision.challenger.model_id,
        model_dir=pointer.model_dir,
        selected_at=pointer.selected_at.isoformat(),
        previous_model_dir=None if previous is None else previous.model_dir,
    )
