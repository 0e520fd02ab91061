"""challenger_model: the training step. Dagster concept: assets."""

import time
from collections.abc import Iterator

import dagster as dg

from taskclf_dagster.defs.assets.common import GROUP, OWNERS, POOL, materialized
from taskclf_dagster.defs.display.metadata import training_metadata
from taskclf_dagster.defs.resources.inputs import HomeResource, RunSettingsResource
from taskclf_dagster.defs.resources.run_supervisor import RunSupervisor
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
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
    """A model trained on the snapshot, as a bundle that taskclf can load.

    LightGBM on the training split, the reject threshold tuned on the validation split. Deterministic: the same snapshot and settings give
    the same trees. Nothing is trained when the snapshot says that nothing is new.
    """
    if dataset_snapshot.skip_reason is not None:
        context.log.info(f"not trained: {dataset_snapshot.skip_reason}")
        return
    record = build_challenger(
        home.open(),
        dataset_snapshot,
        config=run_settings.load_config(),
        cores=cores(),
        code_version=code_version(),
        library_versions=library_versions(),
        stopwatch=time.perf_counter,
        on_progress=context.log.info,
    )
    context.log.info(f"reject threshold {record.reject.detail}")
    yield materialized(record, metadata=_describe(record, dataset_snapshot))


def _describe(record: ChallengerModel, snapshot: DatasetSnapshot) -> dict[str, object]:
    return {
        "home": snapshot.home,
        "model_id": record.model_id,
        "bundle": dg.MetadataValue.path(record.path),
        "tree_hash": record.tree_hash,
        "training_windows": record.training_windows,
        "validation_macro_f1": record.macro_f1,
        "validation_weighted_f1": record.weighted_f1,
        "reject_threshold": record.reject.value,
        "reject_threshold_choice": record.reject.detail,
        "validation_reject_rate": record.reject.reject_rate,
        **training_metadata(record),
    }
