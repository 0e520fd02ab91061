"""The assets challenger_report and champion_report: both models evaluated on the same test windows. Dagster concept: assets.

Candidate gates are checks of challenger_report; they fail without stopping the run, because a rejected model is a result. Add a candidate
gate in `domain.decision`; what the pages show is in `defs.display.model_metadata`.
"""

from collections.abc import Iterator

import dagster as dg

from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.defs.assets.common import GROUP, OWNERS, POOL, materialized
from taskclf_dagster.defs.display.model_metadata import (
    ADVICE_CHECKS,
    CANDIDATE_CHECKS,
    MODEL_CHECKS,
    challenger_report_checks,
    challenger_report_metadata,
    champion_report_metadata,
)
from taskclf_dagster.defs.resources.inputs import HomeResource, RunSettingsResource
from taskclf_dagster.defs.resources.run_supervisor import RunSupervisor
from taskclf_dagster.defs.resources.signing_keys import open_keys
from taskclf_dagster.defs.runs.progress_reports import reports_of
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.execution.engine_choice import open_engine
from taskclf_dagster.domain.models.challenger import ChallengerModel
from taskclf_dagster.domain.models.training import resolve_num_threads
from taskclf_dagster.domain.retraining.reports import ChallengerReport, ChampionReport, report_challenger, report_champion
from taskclf_dagster.provenance import cores


@dg.asset(
    group_name=GROUP,
    pool=POOL,
    dagster_type=dg.PythonObjectDagsterType(ChallengerReport),
    owners=OWNERS,
    kinds={"json"},
    check_specs=[
        dg.AssetCheckSpec(name, asset="challenger_report", description=text)
        for name, text in {**CANDIDATE_CHECKS, **MODEL_CHECKS, **ADVICE_CHECKS}.items()
    ],
)
def challenger_report(
    context: dg.AssetExecutionContext,
    dataset_snapshot: DatasetSnapshot,
    challenger_model: ChallengerModel,
    home: HomeResource,
    run_settings: RunSettingsResource,
    supervisor: RunSupervisor,
) -> dg.MaterializeResult:
    """Evaluates the challenger's bundle on the test windows, compares it with two baselines, and checks every candidate gate."""
    taskclf_home = home.open()
    config = run_settings.load_config(taskclf_home)
    threads = _threads(config, dataset_snapshot)
    reports = reports_of(taskclf_home, context.run.run_id, context.log.info)
    with open_engine(config.execution, taskclf_home) as engine, reports as report:
        record = report_challenger(
            taskclf_home, dataset_snapshot, challenger_model, config=config, num_threads=threads, on_progress=report, engine=engine
        )
    for gate in record.gates.gates:
        context.log.info(f"{gate.status:14} {gate.name}: {gate.detail}")
    return materialized(
        record,
        metadata=challenger_report_metadata(record, dataset_snapshot),
        check_results=challenger_report_checks(record, challenger_model, config.evaluation),
    )


@dg.asset(
    group_name=GROUP,
    pool=POOL,
    dagster_type=dg.PythonObjectDagsterType(ChampionReport),
    owners=OWNERS,
    kinds={"json"},
    output_required=False,
)
def champion_report(
    context: dg.AssetExecutionContext,
    dataset_snapshot: DatasetSnapshot,
    home: HomeResource,
    run_settings: RunSettingsResource,
    supervisor: RunSupervisor,
) -> Iterator[dg.MaterializeResult]:
    """Evaluates the active model on the challenger's test set, with its own schema, vocabularies and threshold.

    Names the bundle, the reason for this one, and its state: a champion that cannot be used is a state, never a skipped comparison.
    """
    if dataset_snapshot.skip_reason is not None:
        return
    taskclf_home = home.open()
    config = run_settings.load_config(taskclf_home)
    threads = _threads(config, dataset_snapshot)
    keys = open_keys(taskclf_home, config.signing, signs=False)
    record = report_champion(taskclf_home, dataset_snapshot, config=config, num_threads=threads, keys=keys)
    for warning in record.warnings:
        context.log.warning(warning)
    yield materialized(record, metadata=champion_report_metadata(record, dataset_snapshot))


def _threads(config: RetrainConfig, snapshot: DatasetSnapshot) -> int:
    return resolve_num_threads(config.training.train_params.num_threads, rows=snapshot.rows["test"], cores=cores())
