"""The two models of a probation, loaded, and what they do on the days since the promotion."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import pandas as pd

from taskclf_dagster.config.settings import GateThresholds, RetrainConfig
from taskclf_dagster.domain.data.windows import read_windows_of_time
from taskclf_dagster.domain.decision.probation import DayRejects, ProbationRecord
from taskclf_dagster.domain.decision.trial import TrialRecord
from taskclf_dagster.domain.evaluation.window_scores import LEAST_WINDOWS, score_windows
from taskclf_dagster.domain.models.bundle import LoadedModel
from taskclf_dagster.domain.models.reproducibility import open_training_snapshot
from taskclf_dagster.domain.registry.active_model import find_user_thresholds
from taskclf_dagster.domain.registry.applied_calibrators import find_calibrators
from taskclf_dagster.domain.registry.champion import resolve_active_model
from taskclf_dagster.domain.registry.inference_policy import reject_threshold_in_force
from taskclf_dagster.domain.registry.last_promotion import LastPromotion
from taskclf_dagster.domain.registry.rollback import find_rollback_policy
from taskclf_dagster.domain.registry.state import RegistryState
from taskclf_dagster.domain.trials.two_models import ComparedModels
from taskclf_dagster.errors import BundleError, TaskclfDagsterError
from taskclf_dagster.home import Home


@dataclass(frozen=True)
class ProbationModels:
    """The promoted model as taskclf applies it, and the one before it as a rollback would apply it.

    Attributes:
        state: the registry.
        active: the promoted model.
        previous: the model before; None if it does not load.
        previous_problem: why; empty if it does.
    """

    state: RegistryState
    active: LoadedModel
    previous: LoadedModel | None
    previous_problem: str

    def pair(self, config: RetrainConfig, cores: int) -> ComparedModels:
        """Returns both for a comparison.

        Raises:
            BundleError: the model before does not load, or the dataset of the promoted one is unknown.
            SnapshotError: that dataset is missing or was changed.
        """
        home = self.state.home
        if self.previous is None:
            raise BundleError(home.models, "not_loadable", self.previous_problem)
        return ComparedModels(
            home=home,
            champion_model=self.previous,
            contender=self.active,
            training=open_training_snapshot(home, self.active.files),
            min_class_windows=config.evaluation.min_class_windows,
            num_threads=cores,
        )

    def count_rejects(self, day: date, gates: GateThresholds, *, cores: int) -> DayRejects | None:
        """Counts what both models reject on a whole UTC day; None for a day without windows.

        Raises:
            BundleError: the promoted model does not predict.
            DataContractError: the windows violate the data contract.
            UnreadableFileError: the file of the windows cannot be read.
        """
        own = find_user_thresholds(self.state, self.active.bundle.model_id)
        rows = _read_day(self.state.home, day, self.active)
        if rows.empty:
            return None
        rate = float(np.mean(score_windows(self.active, rows, num_threads=cores, user_thresholds=own)["rejected"]))
        before = self._previous_rate(day, cores)
        return DayRejects(
            day=day,
            windows=len(rows),
            rate=rate,
            previous_rate=before,
            outside=len(rows) >= LEAST_WINDOWS and not gates.allows_rejecting(rate),
            previous_outside=before is not None and not gates.allows_rejecting(before),
        )

    def _previous_rate(self, day: date, cores: int) -> float | None:
        if self.previous is None:
            return None
        try:
            rows = _read_day(self.state.home, day, self.previous)
            return None if rows.empty else float(np.mean(score_windows(self.previous, rows, num_threads=cores)["rejected"]))
        except TaskclfDagsterError:
            return None


def open_probation_models(state: RegistryState, promotion: LastPromotion, *, at: datetime) -> ProbationModels:
    """Loads both models of a probation.

    Raises:
        BundleError: the promoted model does not load, so that taskclf runs another one or none.
    """
    champion = resolve_active_model(state)
    model_dir = f"{state.home.models.name}/{promotion.model_id}"
    if champion.model is None or champion.model.bundle.model_id != promotion.model_id:
        problem = state.model_problem(model_dir)
        raise BundleError(state.home.models / promotion.model_id, "not_loadable", champion.reason if problem is None else problem.reason)
    try:
        previous: LoadedModel | None = _load_previous(state, promotion.previous_id, at)
        problem_text = ""
    except TaskclfDagsterError as error:
        previous, problem_text = None, str(error)
    return ProbationModels(state, champion.model, previous, problem_text)


def start_comparison(models: ComparedModels, promotion: LastPromotion, config: RetrainConfig) -> TrialRecord | str:
    """Returns the comparison of a promoted model with the one before, without user-days, or why there is none.

    Only windows count that start after the promotion and that neither model can have learned from.
    """
    reference, start = models.count_reference(), models.find_start()
    if start is None:
        return "nobody knows until when one of the two models learned"
    if not reference.labels:
        return "no label has enough test windows in the dataset of the new model"
    days = config.probation.probation_days
    return TrialRecord(
        model_id=promotion.model_id,
        decision_id=promotion.decision_id,
        champion_id=promotion.previous_id,
        started_at=promotion.at,
        windows_from=max(start, promotion.at),
        days=days,
        label_delay_days=config.trials.label_delay_days,
        expected_user_days=max(1, models.training.load(columns=["user_id"])["user_id"].nunique() * days // 2),  # harm is to be found early
        significance=config.comparison.significance,
        reference=reference,
        schema_version=models.contender.schema.version,
    )


def list_open_days(record: ProbationRecord, *, as_of: datetime) -> list[date]:
    """Returns the whole UTC days since a promotion that are over and were not looked at for what is rejected."""
    first = (record.promoted_at.astimezone(UTC) + timedelta(days=1) - timedelta(microseconds=1)).date()
    last = min(as_of.astimezone(UTC), record.ends_at.astimezone(UTC)).date()
    seen = {rejects.day for rejects in record.rejects}
    return [day for number in range((last - first).days) if (day := first + timedelta(days=number)) not in seen]


def _load_previous(state: RegistryState, model_id: str, at: datetime) -> LoadedModel:
    """Loads the model before a promotion with the policy that a rollback would give it.

    Raises:
        BundleError: it does not load, or is not what its manifest says.
    """
    model_dir = f"{state.home.models.name}/{model_id}"
    problem = state.model_problem(model_dir)
    if problem is not None:
        raise BundleError(state.home.models / model_id, problem.code, problem.reason)
    model = state.load(model_dir)
    policy = find_rollback_policy(state, model, at)
    threshold = reject_threshold_in_force(policy, model)
    return replace(model, reject_threshold=threshold, calibrators=find_calibrators(state.home, policy).store)


def _read_day(home: Home, day: date, model: LoadedModel) -> pd.DataFrame:
    start = datetime.combine(day, time(), tzinfo=UTC)
    return read_windows_of_time(home, start=start, end=start + timedelta(days=1), schema_version=model.schema.version)
