"""The champion: the active model, loaded, with which a challenger is compared. Nothing here writes; `active_model` finds it."""

from dataclasses import dataclass, field, replace

from taskclf_dagster.domain.decision.references import AppliedCalibration, AppliedThreshold, ChampionSource, ChampionState
from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.models.bundle_problem import problem_of
from taskclf_dagster.domain.registry.active_model import find_trusted_model
from taskclf_dagster.domain.registry.ranking import ExclusionRecord
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.errors import BundleError


@dataclass(frozen=True)
class Champion:
    """The model a challenger is compared with.

    Attributes:
        state: ok; none if nothing was ever promoted; unreadable or incompatible if what is named cannot be loaded, and nothing else can.
        source: where it was found.
        model: the loaded model, exactly where the state is ok; its reject threshold and calibrators are those that taskclf applies.
        warnings: everything a person should know about how it was found.
        threshold: that threshold and its origin; None without a model.
        calibration: those calibrators; None without any.
    """

    state: ChampionState
    source: ChampionSource
    model: LoadedModel | None
    model_dir: str | None
    reason: str
    warnings: list[str] = field(default_factory=list)
    excluded: list[ExclusionRecord] = field(default_factory=list)
    threshold: AppliedThreshold | None = None
    calibration: AppliedCalibration | None = None


def resolve_active_model(state: RegistryState) -> Champion:
    """Finds the active model as `find_trusted_model` does and loads it; one that turns out not to load is passed over. Never writes."""
    found = find_trusted_model(state)
    while found.model_dir is not None and found.threshold is not None:
        try:
            model = state.load(found.model_dir)
            model = replace(model, reject_threshold=found.threshold.value, calibrators=found.calibrators.store)
        except BundleError as error:
            state.note_problem(found.model_dir, problem_of(error))
            found = find_trusted_model(state)
        else:
            return Champion(
                state="ok",
                source=found.source,
                model=model,
                model_dir=found.model_dir,
                reason=found.reason,
                warnings=found.details(),
                excluded=found.excluded,
                threshold=found.threshold,
                calibration=found.calibrators.applied,
            )
    return Champion(found.state, found.source, None, found.model_dir, found.reason, found.details(), found.excluded)
