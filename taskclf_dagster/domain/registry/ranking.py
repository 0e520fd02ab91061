"""Ranks the bundles of a models folder, and gives the reason why the others are excluded (contract, section 8).

Used if neither pointer nor history names the active model. It never decides a promotion, because stored metrics come from different data.
"""

from collections.abc import Collection
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from taskclf_dagster.domain.data.feature_schema import SCHEMA_VERSIONS, SCHEMAS
from taskclf_dagster.domain.models.bundle import (
    BundleMetrics,
    LoadedModel,
    ModelBundle,
    bundle_error,
    find_bundle_problem,
    load_bundle,
)
from taskclf_dagster.domain.models.bundle_paths import list_bundle_folders
from taskclf_dagster.domain.models.bundle_problem import BundleProblem
from taskclf_dagster.domain.registry.bundle_cache import BundleCache
from taskclf_dagster.domain.storage.path_names import is_within
from taskclf_dagster.domain.storage.records import Record
from taskclf_dagster.errors import BundleError


class SelectionPolicy(Record):
    """The rules by which bundles are ranked and eligible.

    Attributes:
        min_improvement: smallest difference in stored macro-F1 by which another bundle is preferred to the active one.
        allow_synthetic: True if a bundle trained on synthetic labels alone is eligible.
    """

    min_improvement: float = 0.0
    allow_synthetic: bool = False


class ExclusionRecord(Record):
    """A bundle that is excluded, and the reason."""

    model_id: str
    path: str
    reason: str


class SelectionReport(BaseModel):
    """The ranked bundles, and those that are excluded.

    Attributes:
        ranked: eligible bundles of the newest schema version that has any, best first, then those of older versions.
        policy: the rules by which they were ranked.
        required_schema_hash: the schema hash that was asked for; else that of the best bundle, without one that of the oldest version.
    """

    model_config = ConfigDict(frozen=True)

    ranked: list[ModelBundle]
    excluded: list[ExclusionRecord]
    policy: SelectionPolicy
    required_schema_hash: str

    @property
    def best(self) -> ModelBundle | None:
        return self.ranked[0] if self.ranked else None


def list_bundles(models: Path, *, bundles: BundleCache | None = None) -> list[ModelBundle]:
    """Parses every bundle folder of a models folder, in order of name; hidden folders are not bundles.

    Args:
        models: the folder of the bundles.
        bundles: those that were read already.
    """
    bundles = bundles or BundleCache()
    return [_parse_within(folder, bundles) for folder in list_bundle_folders(models)]


def is_compatible(bundle: ModelBundle, required_schema_hash: str | None = None, required_label_set: Collection[str] | None = None) -> bool:
    """Returns True if a bundle is valid and of a schema and a label set.

    Args:
        bundle: the bundle.
        required_schema_hash: the hash that its schema must have; None for that of its own schema version.
        required_label_set: the labels that it must have; None for the eight labels.
    """
    return _find_incompatibility(bundle, required_schema_hash, required_label_set) is None


def _find_incompatibility(
    bundle: ModelBundle, required_schema_hash: str | None, required_label_set: Collection[str] | None
) -> BundleProblem | None:
    """Returns why a bundle is invalid or not compatible, or None."""
    metadata, problem = bundle.metadata, find_bundle_problem(bundle)
    if metadata is None:
        return problem
    if required_schema_hash not in (None, metadata.schema_hash):
        return BundleProblem(code="schema_hash", detail="schema_hash mismatch")
    if required_label_set is not None and sorted(metadata.label_set) != sorted(required_label_set):
        return BundleProblem(code="label_set", detail="label_set mismatch")
    are_labels_asked_for = required_label_set is not None and problem is not None and problem.code == "label_set"
    return None if are_labels_asked_for else problem


def passes_constraints(bundle: ModelBundle, policy: SelectionPolicy) -> str | None:
    """Returns the reason why a compatible bundle is excluded without a pointer, or None.

    Excluded are bundles of synthetic provenance, and those whose model.txt is not the one that their metadata names.
    """
    if bundle.metadata is None:
        return None if bundle.problem is None else bundle.problem.reason
    if bundle.metadata.data_provenance == "synthetic" and not policy.allow_synthetic:
        return "constraint: trained on synthetic labels"
    if not bundle.has_named_model:
        return "constraint: model.txt is not the one that metadata.json names"
    return None


def score(bundle: ModelBundle) -> tuple[int, float, float, datetime]:
    """Returns the keys by which bundles are ranked, all descending: schema version, macro-F1, weighted F1, creation time.

    Raises:
        BundleError: the bundle is invalid.
    """
    if bundle.metadata is None or bundle.metrics is None:
        raise bundle_error(bundle.path, bundle.problem)
    version = [str(version) for version in SCHEMA_VERSIONS].index(bundle.metadata.schema_version)
    return version, bundle.metrics.macro_f1, bundle.metrics.weighted_f1, bundle.metadata.created_at


def find_best_model(
    models: Path,
    policy: SelectionPolicy | None = None,
    required_schema_hash: str | None = None,
    required_label_set: Collection[str] | None = None,
    *,
    bundles: BundleCache | None = None,
) -> SelectionReport:
    """Ranks every eligible bundle of a models folder, and gives a reason for each of the others.

    Args:
        models: the folder of the bundles.
        policy: the rules; by default those of a fallback.
        required_schema_hash: the schema hash of eligible bundles; None for every known schema version, the newest first.
        required_label_set: their labels; None for the eight labels.
        bundles: those that were read already.
    """
    policy = policy or SelectionPolicy()
    ranked: list[ModelBundle] = []
    excluded: list[ExclusionRecord] = []
    for bundle in list_bundles(models, bundles=bundles):
        problem = _find_incompatibility(bundle, required_schema_hash, required_label_set)
        reason = passes_constraints(bundle, policy) if problem is None else problem.reason
        if reason is None:
            ranked.append(bundle)
        else:
            excluded.append(ExclusionRecord(model_id=bundle.model_id, path=relative_path(bundle), reason=reason))
    ranked.sort(key=score, reverse=True)
    best = ranked[0].metadata if ranked else None
    required = required_schema_hash or (SCHEMAS[SCHEMA_VERSIONS[0]].schema_hash if best is None else best.schema_hash)
    return SelectionReport(ranked=ranked, excluded=excluded, policy=policy, required_schema_hash=required)


def find_best_loadable_model(
    models: Path, *, blocked: Collection[str] = (), bundles: BundleCache | None = None
) -> tuple[LoadedModel | None, SelectionReport]:
    """Loads the best ranked bundle that can be loaded and is not blocked; the others are moved to the report's exclusions."""
    bundles = bundles or BundleCache()
    report = find_best_model(models, bundles=bundles)
    excluded = list(report.excluded)
    for position, bundle in enumerate(report.ranked):
        if bundle.model_id in blocked:
            excluded.append(ExclusionRecord(model_id=bundle.model_id, path=relative_path(bundle), reason="a rollback left it"))
            continue
        try:
            model = load_bundle(bundles.files(bundle.path))
        except BundleError as error:
            excluded.append(ExclusionRecord(model_id=bundle.model_id, path=relative_path(bundle), reason=error.reason))
            continue
        return model, report.model_copy(update={"ranked": report.ranked[position:], "excluded": excluded})
    return None, report.model_copy(update={"ranked": [], "excluded": excluded})


def find_latest_model(models: Path) -> ModelBundle | None:
    """Returns the compatible bundle that was created last, or None."""
    bundles = [bundle for bundle in list_bundles(models) if is_compatible(bundle)]
    return max(bundles, key=lambda bundle: score(bundle)[3], default=None)


def should_switch_active(active: BundleMetrics | None, candidate: BundleMetrics, *, min_improvement: float) -> bool:
    """Returns True if a stored score is so much better that another bundle is preferred to the active one; for information only."""
    return active is None or candidate.macro_f1 >= active.macro_f1 + min_improvement


def _parse_within(folder: Path, bundles: BundleCache) -> ModelBundle:
    """Parses a bundle as `parse_bundle` does; a link that leaves the models folder is an invalid one."""
    if not is_within(folder, folder.parent):
        return ModelBundle(model_id=folder.name, path=folder, problem=BundleProblem(code="location", detail="it is outside the home"))
    return bundles.parsed(folder)


def relative_path(bundle: ModelBundle) -> str:
    """Returns the folder of a bundle relative to the home, as in `index.json`."""
    return f"{bundle.path.parent.name}/{bundle.model_id}"
