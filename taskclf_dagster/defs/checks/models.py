"""Check of the challenger's bundle. Dagster concept: asset checks.

Add a check of a stored model here. It loads the bundle from disk on purpose: it is a claim about the files.
"""

import dagster as dg

from taskclf_dagster.defs.assets.models import challenger_model
from taskclf_dagster.defs.resources.inputs import HomeResource
from taskclf_dagster.domain.data.snapshot import DatasetSnapshot
from taskclf_dagster.domain.models.challenger import ChallengerModel, reload_and_probe
from taskclf_dagster.errors import BundleError


@dg.asset_check(
    asset=challenger_model,
    additional_ins={"dataset_snapshot": dg.AssetIn("dataset_snapshot")},
    pool="retrain",
    description="The bundle on disk gives the same predictions as the model in memory, to the last bit.",
)
def bundle_reloads_and_predicts_identically(
    challenger_model: ChallengerModel, dataset_snapshot: DatasetSnapshot, home: HomeResource
) -> dg.AssetCheckResult:
    """Loads the bundle and compares its probabilities on the probe windows with those of the trained model."""
    try:
        digest = reload_and_probe(home.open(), dataset_snapshot, challenger_model)
    except BundleError as error:
        return dg.AssetCheckResult(passed=False, description=str(error))
    same = digest == challenger_model.probe_digest
    return dg.AssetCheckResult(
        passed=same, description="Identical." if same else "The predictions of the bundle differ.", metadata={"probe": digest}
    )


MODEL_CHECKS = [bundle_reloads_and_predicts_identically]
