"""The asset challenger_model: training. Dagster concept: assets.

Encoding, training and the bundle belong to `domain.models`, what the page shows to `defs.display.model_metadata`.
"""

import time
from collections.abc import Iterator

import dagster as dg

from taskclf_dagster.defs.assets.common import GROUP, OWNERS, POOL, materialized
from taskclf_dagster.defs.display.model_metadata import challenger_metadata
from taskclf_dagster.defs.resources.inputs import HomeResource, RunSettingsResource
from taskclf_dagster.defs.resources.run_supervisor import RunSupervisor
from taskclf_dagster.defs.runs.progress_reports import reports_of
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.decision.last_decided import read_last_decided
from taskclf_dagster.domain.execution.engine_choice import open_engine
from taskclf_dagster.domain.models.challenger import ChallengerModel, build_challenger
from taskclf_dagster.provenance import code_version, cores, library_versions


@dg.asset(
    group_name=GROUP,
    pool=POOL,
    dagster_type=dg.PythonObjectDagsterType(ChallengerModel),
    owners=OWNERS,
    kinds={"lightgbm"},
    output_required=False,
)
def challenger_model(
    context: dg.AssetExecutionContext,
    dataset_snapshot: DatasetSnapshot,
    home: HomeResource,
    run_settings: RunSettingsResource,
    supervisor: RunSupervisor,
) -> Iterator[dg.MaterializeResult]:
    """The challenger: a model trained on the snapshot, as a bundle that taskclf can load.

    Chooses the settings that fit this home by a search on earlier labels, or keeps those of the last one. Trains LightGBM on the training
    split, chooses the reject threshold on folds, and trains again with the validation split as well. Deterministic: the same snapshot,
    configuration and choice give the same trees. Trains nothing if the snapshot has a skip reason.
    """
    if dataset_snapshot.skip_reason is not None:
        context.log.info(f"not trained: {dataset_snapshot.skip_reason}")
        return
    taskclf_home = home.open()
    config, last = run_settings.load_config(taskclf_home), read_last_decided(taskclf_home)
    reports = reports_of(taskclf_home, context.run.run_id, context.log.info)
    with open_engine(config.execution, taskclf_home) as engine, reports as report:
        record = build_challenger(
            taskclf_home,
            dataset_snapshot,
            config=config,
            earlier=None if last is None else last.settings,
            cores=cores(),
            code_version=code_version(),
            library_versions=library_versions(),
            stopwatch=time.perf_counter,
            on_progress=report,
            engine=engine,
        )
    context.log.info(record.settings.reason)
    context.log.info(f"reject threshold {record.reject.detail}")
    yield materialized(record, metadata=challenger_metadata(record, dataset_snapshot))
