"""promotion_decision and active_pointer: what follows, and the only step that changes what taskclf runs. Dagster concept: assets.

Dagster is not the safety boundary: whoever moves the pointer checks the decision again.
"""

from collections.abc import Iterator
from datetime import datetime

import dagster as dg

from taskclf_dagster.defs.assets.common import GROUP, OWNERS, POOL, materialized
from taskclf_dagster.defs.display.decision_metadata import ENOUGH_USER_DAYS, comparative_checks, comparison_metadata, draw_interval
from taskclf_dagster.defs.display.metadata import comparison_table, gate_table, plotted
from taskclf_dagster.defs.resources.inputs import ClockResource, HomeResource, RunSettingsResource
from taskclf_dagster.defs.resources.run_supervisor import RunSupervisor
from taskclf_dagster.defs.runs.run_tags import DECISION_TAG, MODEL_TAG, OUTCOME_REASON_TAG, OUTCOME_TAG
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.decision.comparative_gates import COMPARATIVE_GATES
from taskclf_dagster.domain.decision.decision import PromotionDecision
from taskclf_dagster.domain.decision.references import RunOptions
from taskclf_dagster.domain.models.challenger import ChallengerModel
from taskclf_dagster.domain.registry.applied_decisions import is_applied, put_aside
from taskclf_dagster.domain.registry.promotion import promote
from taskclf_dagster.domain.registry.retention import prune
from taskclf_dagster.domain.retraining.decision_step import make_decision
from taskclf_dagster.domain.retraining.reports import ChallengerReport, ChampionReport
from taskclf_dagster.domain.retraining.steps import remember_decision, remember_if_forgotten
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import RunEndedError, TaskclfDagsterError
from taskclf_dagster.home import Home
from taskclf_dagster.provenance import code_version, cores

COMPARATIVE_CHECKS: dict[str, str] = {
    "macro_f1_no_regression": "On the same unseen windows the challenger is not worse than the champion, as evidence_policy wants it.",
    "min_improvement": "On the same windows the challenger is at least min_improvement above the champion; off at 0.",
    "not_worse_than_anchor": "Not far below the best of the models that ran lately: no slow decline in tolerated steps.",
    "no_user_clearly_worse": "No user gets clearly worse predictions than from the champion.",
    "no_class_clearly_worse": "No label is clearly worse recognised than by the champion.",
    "negative_flips": "Few windows that were right become wrong.",
    "not_rolled_back": "Not a model that a person rolled back.",
}


class PointerChange(Record):
    """That a decision moved the pointer, and to what."""

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
        *(dg.AssetCheckSpec(name, asset="promotion_decision", description=COMPARATIVE_CHECKS[name]) for name in COMPARATIVE_GATES),
        dg.AssetCheckSpec(
            ENOUGH_USER_DAYS,
            asset="promotion_decision",
            description="Advice: the comparison rests on enough user-days to say how sure it is.",
        ),
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
    """PROMOTE, AWAITING_APPROVAL, REJECT or HOLD: one record with every gate's observed value and threshold, and hashes of all it judged.

    Every outcome is a successful run. The record is kept in artifacts/decisions.
    """
    record = make_decision(
        home.open(),
        dataset_snapshot,
        challenger_model,
        challenger_report,
        champion_report,
        config=run_settings.load_config(),
        options=RunOptions(dry_run=run_settings.dry_run, forced=run_settings.force, bootstrap=run_settings.bootstrap),
        code_version=code_version(),
        num_threads=cores(),
    )
    outcome, interval = record.outcome, None if record.comparison is None else record.comparison.evidence.interval
    context.log.info(f"{outcome}: {record.reason}")
    told = {
        OUTCOME_TAG: outcome,
        OUTCOME_REASON_TAG: record.reason,
        MODEL_TAG: record.challenger.model_id,
        DECISION_TAG: record.decision_id,
    }
    context.instance.add_run_tags(context.run.run_id, told)
    picture = draw_interval(record)
    metadata = {
        "verdict": outcome,
        "reason": record.reason,
        "home": record.home,
        "decision_id": record.decision_id,
        "champion_model": "none" if record.champion.model is None else record.champion.model.model_id,
        "record": dg.MetadataValue.path(str(home.open().decisions / f"{record.decision_id}.json")),
        "gates": gate_table(record.gates),
        "champion_versus_challenger": comparison_table(challenger_report.report, champion_report.report),
        **comparison_metadata(record, picture),
        **plotted(
            challenger_macro_f1=record.challenger.macro_f1,
            challenger_weighted_f1=record.challenger.weighted_f1,
            champion_macro_f1=None if record.champion.model is None else record.champion.model.macro_f1,
            champion_weighted_f1=None if record.champion.model is None else record.champion.model.weighted_f1,
            macro_f1_delta=None if record.comparison is None else record.comparison.macro_f1_delta,
            interval_low=None if interval is None else interval[0],
            interval_high=None if interval is None else interval[1],
            gates_failed=sum(gate.status == "FAIL" for gate in record.gates),
        ),
    }
    return materialized(record, metadata=metadata, check_results=comparative_checks(record, picture))


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
    clock: ClockResource,
    supervisor: RunSupervisor,
) -> Iterator[dg.MaterializeResult]:
    """What taskclf runs. Materialized only when it moves, so its age is the age of the model.

    Checks the decision, the bundle and the present pointer again, then writes history, inference policy, active.json and index.json. Any
    verdict but PROMOTE leaves models/ as it is, byte for byte, and puts the challenger aside.
    """
    taskclf_home = home.open()
    _require_wanted(context)
    if is_applied(taskclf_home, promotion_decision):
        context.log.info(f"decision {promotion_decision.decision_id} is in effect already: nothing to do")
        remember_if_forgotten(taskclf_home, promotion_decision, run_id=context.run.run_id, at=clock.now())
        return
    if not promotion_decision.moves_pointer:
        target = put_aside(taskclf_home, promotion_decision)
        remember_decision(taskclf_home, promotion_decision, run_id=context.run.run_id, at=clock.now())
        _tidy(context, taskclf_home, promotion_decision, clock.now(), promoted=False)
        context.log.info(f"{promotion_decision.outcome}: the pointer stays as it is; the challenger lies in {target}")
        return
    pointer, previous = promote(taskclf_home, promotion_decision, at=clock.now(), run_id=context.run.run_id)
    remember_decision(taskclf_home, promotion_decision, run_id=context.run.run_id, at=clock.now())
    _tidy(context, taskclf_home, promotion_decision, clock.now(), promoted=True)
    record = PointerChange(
        decision_id=promotion_decision.decision_id,
        model_id=promotion_decision.challenger.model_id,
        model_dir=pointer.model_dir,
        selected_at=pointer.selected_at.isoformat(),
        previous_model_dir=None if previous is None else previous.model_dir,
    )
    context.log.info(f"taskclf now runs {record.model_id} (before: {record.previous_model_dir or 'nothing'})")
    metadata = {
        "home": promotion_decision.home,
        "model_id": record.model_id,
        "previous": record.previous_model_dir or "none",
        "decision_id": record.decision_id,
        "reason": promotion_decision.reason,
        "pointer": dg.MetadataValue.path(str(taskclf_home.active_pointer)),
        **plotted(macro_f1=promotion_decision.challenger.macro_f1),
    }
    yield materialized(record, metadata=metadata)


def _require_wanted(context: dg.AssetExecutionContext) -> None:
    """Looks at the run once more before anything is moved: it may have been canceled, or reported as failed, while it was at work.

    Raises:
        RunEndedError: it was.
    """
    run = context.instance.get_run_by_id(context.run.run_id)
    if run is not None and run.status not in (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.NOT_STARTED):
        raise RunEndedError(run.run_id, run.status.value)


def _tidy(context: dg.AssetExecutionContext, home: Home, decision: PromotionDecision, at: datetime, *, promoted: bool) -> None:
    """Removes what retention no longer keeps; promoted bundles only after a promotion, so that anything else leaves models/ as it is."""
    kept = decision.settings.retention
    try:
        removed = prune(home, keep_versions=kept.keep_versions, keep_rejected=kept.keep_rejected, at=at, promoted=promoted).remove
    except (OSError, TaskclfDagsterError) as error:  # the decision stands; the next run tidies up
        context.log.warning(f"retention was put off: {error}")
        return
    if removed:
        context.log.info(f"retention removed {len(removed)} files and folders: {', '.join(item.path for item in removed[:10])}")
