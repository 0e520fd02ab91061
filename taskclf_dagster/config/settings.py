"""The settings of a retrain as frozen models, one for each concern, with bounds on every field.

The values come from `configs/retrain.yaml` and its overrides (`loading`); there are no defaults and no thresholds here. A configuration
that is made in code, such as `RetrainConfig()`, takes what it is not given from that file (`shipped`). What a single run may
change (force, dry_run, as_of, ...) is not a setting; see `defs/resources`.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, Field, field_validator, model_validator

from taskclf_dagster.config.cron import check_cron
from taskclf_dagster.config.drift_settings import DriftSettings
from taskclf_dagster.config.event_settings import EventSettings
from taskclf_dagster.config.execution_settings import ExecutionSettings
from taskclf_dagster.config.home_location_settings import HomeLocationSettings
from taskclf_dagster.config.monitoring_settings import CalibratingSettings, LiveSettings, MonitoringSettings
from taskclf_dagster.config.server_settings import ServerSettings
from taskclf_dagster.config.setting_types import Days, Penalty, Settings, Share
from taskclf_dagster.config.shipped import read_shipped_config
from taskclf_dagster.config.signing_settings import SigningSettings
from taskclf_dagster.config.trial_settings import ProbationSettings, TrialSettings
from taskclf_dagster.config.yaml_files import merge_mappings

OPERATIONAL = frozenset(
    {
        *("enabled", "global_retrain_cadence_days", "min_new_labels", "label_quiet_minutes", "max_days_since_training"),
        *("drift_trigger", "max_attempts", "timeout_minutes", "schedule", "events", "signing", "drift", "server", "execution", "home"),
        "trials",
        *("score_schedule", "keep_score_days", "probation_days", "auto_rollback"),
        *("live_days", "max_live_drop", "live_trigger"),
        *("calibration_method", "calibration"),
    }
)
"""Keys that only say when and where a retrain runs, where its events go, what signs, who reaches the server, and how the active model is
watched. They are no part of what is recorded, hashed or seeded."""


ClockInput = Literal["hour_of_day", "day_of_week", "session_length_so_far"]
"""An input that follows from the time alone, and not from what a person does."""


class TrainParams(Settings):
    """Parameters of LightGBM; what is not given has the shipped value."""

    num_boost_round: Annotated[int, Field(ge=1, le=10_000)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    num_leaves: Annotated[int, Field(ge=2, le=4096)]
    max_depth: Annotated[int, Field(ge=-1, le=64)]
    min_data_in_leaf: Annotated[int, Field(ge=0, le=1_000_000)]
    min_gain_to_split: Penalty
    feature_fraction: Annotated[float, Field(gt=0, le=1)]
    lambda_l1: Penalty
    lambda_l2: Penalty
    path_smooth: Penalty
    max_bin: Annotated[int, Field(ge=2, le=65_535)]
    cat_smooth: Penalty
    cat_l2: Penalty
    class_weight: Literal["balanced", "none"]
    constant_inputs: list[ClockInput]
    num_threads: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)]

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, value: object) -> object:
        shipped = read_shipped_config().get("train_params")
        return {**shipped, **value} if isinstance(value, dict) and isinstance(shipped, dict) else value


class RejectThresholdSettings(Settings):
    """Range of reject rates in which the reject threshold is searched [share of windows], and the weight of its fallback [windows]."""

    min_reject_rate: Share
    max_reject_rate: Share
    fallback: Share
    fallback_windows: Annotated[int, Field(ge=0, le=1_000_000)]

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> "RejectThresholdSettings":
        return _ordered(self)


class GateThresholds(Settings):
    """Thresholds of the candidate gates [0 to 1]."""

    min_macro_f1: Share
    min_weighted_f1: Share
    min_breakidle_precision: Share
    min_breakidle_recall: Share
    min_class_precision: Share
    min_reject_rate: Share
    max_reject_rate: Share
    min_seen_user_f1: Share
    min_unseen_user_f1: Share

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> "GateThresholds":
        return _ordered(self)

    def allows_rejecting(self, rate: float) -> bool:
        """Returns True if a share of rejected windows [0 to 1] is within its bounds."""
        return self.min_reject_rate <= rate <= self.max_reject_rate

    @property
    def rejecting_allowed(self) -> str:
        """The bounds of the share of rejected windows, as people read them."""
        return f"{self.min_reject_rate:.0%} to {self.max_reject_rate:.0%}"


class AdviceThresholds(Settings):
    """Thresholds of advice, which is no gate [label changes per window]."""

    max_flap_rate: Share
    max_flap_rate_smoothed: Share
    min_long_blocks: Share
    max_short_blocks: Share


Cron = Annotated[str, AfterValidator(check_cron)]


class ScheduleSettings(Settings):
    """Cron lines of the schedules, and their time zone."""

    cron: Cron
    timezone: str | None
    verify_cron: Cron
    monitor_cron: Cron

    @field_validator("timezone")
    @classmethod
    def _timezone_is_known(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ZoneInfo(value)
            except (KeyError, ValueError, OSError) as error:
                msg = f"{value!r} is not an IANA time zone such as Europe/Vienna"
                raise ValueError(msg) from error
        return value


class SchedulingSettings(Settings):
    """Triggers of a retrain, and the time that it may take."""

    enabled: bool
    global_retrain_cadence_days: Annotated[int, Field(ge=1, le=365)]
    calibrator_update_cadence_days: Annotated[int, Field(ge=1, le=365)]
    min_new_labels: Annotated[int, Field(ge=1, le=100_000)]
    label_quiet_minutes: Annotated[int, Field(ge=0, le=1440)]
    max_days_since_training: Annotated[int, Field(ge=1, le=3650)]
    drift_trigger: Literal["critical", "warning", "never"]
    max_attempts: Annotated[int, Field(ge=1, le=100)]
    timeout_minutes: Annotated[int, Field(ge=1, le=1440)]
    schedule: ScheduleSettings


class DatasetSettings(Settings):
    """Range of days, schema and labels of a dataset."""

    data_lookback_days: Days
    training_lookback_days: Days
    schema_version: Literal["auto", "v1", "v2", "v3"]
    skip_unreadable_days: bool
    weak_labels: Literal["train_only", "exclude"]
    min_labels: Annotated[int, Field(ge=1, le=1_000_000)]


class TrainingSettings(Settings):
    """Training of the challenger, and the proof that it can be repeated."""

    train_params: TrainParams
    refit: bool
    search: Literal["auto", "off"]
    search_budget: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]
    search_cadence_days: Days
    reject_threshold: RejectThresholdSettings
    prove_reproducible: Literal["auto"] | bool


class EvaluationSettings(Settings):
    """Candidate gates: a model judged on its own, or beside a champion that misses a floor."""

    min_class_windows: Annotated[int, Field(ge=1, le=100_000)]
    gates: GateThresholds
    floor_policy: Literal["strict", "improve"]
    require_baseline_improvement: bool
    advice: AdviceThresholds


class ComparisonSettings(Settings):
    """Comparative gates: the challenger beside the champion and the anchors."""

    regression_tolerance: Share
    min_improvement: Share
    evidence_policy: Literal["point", "hold", "superior"]
    significance: Annotated[float, Field(gt=0, le=0.5)]
    min_user_days: Annotated[int, Field(ge=2, le=10_000)]
    min_windows: Annotated[int, Field(ge=1, le=1_000_000)]
    max_leaked_share: Share
    clearly_worse_margin: Share
    slice_gate: bool
    min_slice_windows: Annotated[int, Field(ge=1, le=1_000_000)]
    max_negative_flips: Share | None
    max_flip_excess: Share
    anchor_tolerance: Share | None

    @property
    def allowed_below_anchor(self) -> float:
        """Largest distance below an anchor's macro-F1: `anchor_tolerance`, or else twice `regression_tolerance`."""
        return 2 * self.regression_tolerance if self.anchor_tolerance is None else self.anchor_tolerance


class PromotionSettings(Settings):
    """Promotion without a person's approval."""

    auto_promote: bool


class RetentionSettings(Settings):
    """Number of bundles to keep."""

    keep_versions: Annotated[int, Field(ge=1, le=10_000)]
    keep_rejected: Annotated[int, Field(ge=0, le=10_000)]


class RetrainConfig(Settings):
    """Everything that `configs/retrain.yaml` holds, grouped by concern; each key is explained there.

    The YAML keys are flat: `RetrainConfig(...)` and `RetrainConfig.model_validate` take them, what is not given has the shipped value, and
    `document` returns all of them. The keys that taskclf's own configuration has can be read without their group, as there.
    """

    scheduling: SchedulingSettings
    events: EventSettings
    dataset: DatasetSettings
    training: TrainingSettings
    evaluation: EvaluationSettings
    comparison: ComparisonSettings
    promotion: PromotionSettings
    live: LiveSettings
    calibrating: CalibratingSettings
    retention: RetentionSettings
    monitoring: MonitoringSettings
    signing: SigningSettings
    drift: DriftSettings
    server: ServerSettings
    execution: ExecutionSettings
    home: HomeLocationSettings
    trials: TrialSettings
    probation: ProbationSettings

    @model_validator(mode="before")
    @classmethod
    def _group_keys(cls, value: object) -> object:
        """Puts each flat key into its group; an unknown key stays at the top, where it is refused."""
        if not isinstance(value, dict):
            return value
        value = merge_mappings(read_shipped_config(), value)
        grouped: dict[str, object] = {}
        groups: dict[str, dict[object, object]] = {name: {} for name in GROUPS}
        for key, item in value.items():
            group = GROUP_OF.get(key, key if key in GROUPS else None)
            if group is None:
                grouped[key] = item
            else:
                groups[group][key] = item
        return {**grouped, **groups}

    @property
    def document(self) -> dict[str, object]:
        """Every flat key of the YAML file with its value, as JSON."""
        return _flatten_groups(self.model_dump(mode="json"))

    @property
    def policy(self) -> dict[str, object]:
        """The part of the document that shapes a model or a decision: all but the keys of OPERATIONAL."""
        return {key: value for key, value in self.document.items() if key not in OPERATIONAL}

    @property
    def global_retrain_cadence_days(self) -> int:
        return self.scheduling.global_retrain_cadence_days

    @property
    def calibrator_update_cadence_days(self) -> int:
        return self.scheduling.calibrator_update_cadence_days

    @property
    def data_lookback_days(self) -> int:
        return self.dataset.data_lookback_days

    @property
    def regression_tolerance(self) -> float:
        return self.comparison.regression_tolerance

    @property
    def require_baseline_improvement(self) -> bool:
        return self.evaluation.require_baseline_improvement

    @property
    def auto_promote(self) -> bool:
        return self.promotion.auto_promote

    @property
    def min_improvement(self) -> float:
        return self.comparison.min_improvement

    @property
    def train_params(self) -> TrainParams:
        return self.training.train_params

    def with_changes(self, **changes: object) -> "RetrainConfig":
        """Returns a validated copy with other values of some flat keys; a mapping replaces only the keys that it has.

        Raises:
            pydantic.ValidationError: a key is unknown, or its value is of the wrong type or out of bounds.
        """
        return RetrainConfig.model_validate(merge_mappings(_flatten_groups(self.model_dump()), changes))


_NESTED = ("events", "signing", "drift", "server", "execution", "home", "trials")
GROUPS = frozenset(name for name in RetrainConfig.model_fields if name not in _NESTED)
"""Names of the groups; those of `_NESTED` are groups and keys of the file."""
GROUP_OF: Mapping[object, str] = {
    key: name
    for name, field in RetrainConfig.model_fields.items()
    if name in GROUPS and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    for key in field.annotation.model_fields
}
"""The group of each flat key."""


def _flatten_groups(grouped: Mapping[str, object]) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in grouped.items():
        flat |= value if name in GROUPS and isinstance(value, dict) else {name: value}
    return flat


_Range = TypeVar("_Range", RejectThresholdSettings, GateThresholds)


def _ordered(settings: _Range) -> _Range:
    if settings.min_reject_rate > settings.max_reject_rate:
        msg = f"min_reject_rate {settings.min_reject_rate} must not exceed max_reject_rate {settings.max_reject_rate}"
        raise ValueError(msg)
    return settings
