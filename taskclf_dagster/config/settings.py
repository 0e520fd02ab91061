"""Settings of a retrain: frozen models of `configs/*.yaml`, with bounds on every field.

No thresholds live here: every value comes from `configs/retrain.yaml`, and what is read is what takes effect. What a single run may
change (force, dry_run, as_of, ...) is not a setting; see `defs/resources.py`.
"""

import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    field_validator,
    model_validator,
)

from taskclf_dagster.config.cron import check_cron
from taskclf_dagster.config.event_settings import EventSettings, describe_mistake
from taskclf_dagster.config.yaml_files import flatten, keep_known_keys, merge_mappings, nested, read_mapping
from taskclf_dagster.errors import SettingsError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


CONFIG_VARIABLE = "TASKCLF_DAGSTER_CONFIG"


PROJECT = Path(__file__).resolve().parents[2]
DEFAULT_CONFIG_PATH = PROJECT / "configs" / "retrain.yaml"


_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


ENVIRONMENT = {
    "RETRAIN_SCHEDULE": "schedule.cron",
    "RETRAIN_ENABLED": "enabled",
    "RETRAIN_TIMEOUT_MINUTES": "timeout_minutes",
    "RETRAIN_MIN_LABELS": "min_new_labels",
    "RETRAIN_AUTO_PROMOTE": "auto_promote",
}
"""Environment variables that override a key of the files; an empty one overrides nothing."""


OPERATIONAL = frozenset(
    {
        *("enabled", "global_retrain_cadence_days", "min_new_labels", "label_quiet_minutes", "max_days_since_training"),
        *("drift_trigger", "max_attempts", "timeout_minutes", "schedule", "events"),
    }
)
"""Keys that say when a retrain runs and whom it tells, not how it decides: they are no part of what is recorded, hashed or seeded."""


Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


Days = Annotated[int, Field(ge=1, le=3650)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TrainParams(_Settings):
    """How the challenger is trained."""

    num_boost_round: Annotated[int, Field(ge=1, le=10_000)]
    num_leaves: Annotated[int, Field(ge=2, le=4096)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    class_weight: Literal["balanced", "none"]
    num_threads: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)]


class RejectThresholdSettings(_Settings):
    """Where the reject threshold is looked for on the validation split [share of windows]."""

    min_reject_rate: Share
    max_reject_rate: Share
    fallback: Share

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> "RejectThresholdSettings":
        return _ordered(self)


class GateThresholds(_Settings):
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


class AdviceThresholds(_Settings):
    """Thresholds that only advise [label changes per window]."""

    max_flap_rate: Share
    max_flap_rate_smoothed: Share


Cron = Annotated[str, AfterValidator(check_cron)]


class ScheduleSettings(_Settings):
    """When the schedules tick."""

    cron: Cron
    timezone: str | None
    verify_cron: Cron

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


class SchedulingSettings(_Settings):
    """When a retrain is launched, and how long it may take."""

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


class DatasetSettings(_Settings):
    """What enters a dataset."""

    data_lookback_days: Days
    schema_version: Literal["auto", "v1", "v2", "v3"]
    skip_unreadable_days: bool
    weak_labels: Literal["train_only", "exclude"]
    min_labels: Annotated[int, Field(ge=1, le=1_000_000)]


class TrainingSettings(_Settings):
    """How the challenger is trained, and whether it is trained a second time."""

    train_params: TrainParams
    reject_threshold: RejectThresholdSettings
    prove_reproducible: Literal["auto"] | bool


class EvaluationSettings(_Settings):
    """How a model is judged on its own."""

    min_class_windows: Annotated[int, Field(ge=1, le=100_000)]
    gates: GateThresholds
    require_baseline_improvement: bool
    advice: AdviceThresholds


class ComparisonSettings(_Settings):
    """How the challenger is judged beside the champion and the anchors."""

    regression_tolerance: Share
    min_improvement: Share
    evidence_policy: Literal["point", "hold", "superior"]
    significance: Annotated[float, Field(gt=0, le=0.5)]
    min_user_days: Annotated[int, Field(ge=2, le=10_000)]
    min_windows: Annotated[int, Field(ge=1, le=1_000_000)]
    max_leaked_share: Share
    clearly_worse_margin: Share
    max_negative_flips: Share
    max_flip_excess: Share
    anchor_tolerance: Share | None

    @property
    def allowed_below_anchor(self) -> float:
        """How far below an anchor a challenger may be: `anchor_tolerance`, else twice `regression_tolerance`."""
        return 2 * self.regression_tolerance if self.anchor_tolerance is None else self.anchor_tolerance


class PromotionSettings(_Settings):
    """Whether a model that passes every gate is promoted without a person."""

    auto_promote: bool


class RetentionSettings(_Settings):
    """How many bundles are kept."""

    keep_versions: Annotated[int, Field(ge=1, le=10_000)]
    keep_rejected: Annotated[int, Field(ge=0, le=10_000)]


class RetrainConfig(_Settings):
    """Everything that `configs/retrain.yaml` holds, grouped by concern; each key is explained there.

    The YAML keys are flat: `RetrainConfig.model_validate` takes a mapping of them, and `document` returns one.
    """

    scheduling: SchedulingSettings
    events: EventSettings
    dataset: DatasetSettings
    training: TrainingSettings
    evaluation: EvaluationSettings
    comparison: ComparisonSettings
    promotion: PromotionSettings
    retention: RetentionSettings

    @model_validator(mode="before")
    @classmethod
    def _group_keys(cls, value: object) -> object:
        """Puts each flat key into its group; an unknown key stays at the top, where it is refused."""
        if not isinstance(value, dict):
            return value
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
        """Every key with its value as JSON, under the flat keys of the YAML file."""
        return _flatten_groups(self.model_dump(mode="json"))

    @property
    def policy(self) -> dict[str, object]:
        """The part of the document that shapes a model or a decision: all but the keys of OPERATIONAL."""
        return {key: value for key, value in self.document.items() if key not in OPERATIONAL}

    def with_changes(self, **changes: object) -> "RetrainConfig":
        """A validated copy with other values of some flat keys; a mapping replaces only the keys it names.

        Raises:
            pydantic.ValidationError: a key is unknown, or its value is of the wrong type or out of bounds.
        """
        return RetrainConfig.model_validate(merge_mappings(_flatten_groups(self.model_dump()), changes))


GROUPS = frozenset(name for name in RetrainConfig.model_fields if name != "events")
"""Names of the groups; `events` is a group and a key of the file."""
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


def load_retrain_config(path: Path | None = None, environ: Mapping[str, str] | None = None) -> RetrainConfig:
    """Reads a retrain configuration.

    Args:
        path: a YAML file laid over `configs/retrain.yaml`, key by key; None is that file alone.
        environ: where to look for the variables of ENVIRONMENT, which override both; None looks nowhere.

    Raises:
        SettingsError: the file is missing, is not a YAML mapping, or a key is unknown, of a wrong type or out of bounds.
    """
    merged = read_mapping(DEFAULT_CONFIG_PATH)
    if path is not None and path.resolve() != DEFAULT_CONFIG_PATH:
        merged = merge_mappings(merged, read_mapping(path))
    overrides = find_overrides(environ or {})
    for key, (_, value) in overrides.items():
        merged = merge_mappings(merged, nested(key, value))
    try:
        return RetrainConfig.model_validate(merged)
    except ValidationError as error:
        findings = [_finding(e) + _said_by(overrides, _key(e)) for e in error.errors()]
        raise SettingsError(path or DEFAULT_CONFIG_PATH, findings) from None  # its words repeat every value, secrets as well


def find_overrides(environ: Mapping[str, str]) -> dict[str, tuple[str, object]]:
    """The keys that the environment overrides, each with the variable and its value: a number, a flag, or else the text."""
    set_ones = {key: name for name, key in ENVIRONMENT.items() if environ.get(name, "").strip()}
    return {key: (name, _read_value(key, environ[name].strip())) for key, name in set_ones.items()}


def list_sources(chosen: str | None, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Where the value of each key comes from, nested keys with dots: the name of a file, or `environment NAME`."""
    path = find_config_file(chosen, environ)
    own = dict(flatten(read_mapping(path))) if path is not None else {}
    overrides = find_overrides(environ)
    return {
        key: f"environment {overrides[key][0]}" if key in overrides else str(path) if key in own else DEFAULT_CONFIG_PATH.name
        for key, _ in flatten(_defaults())
    }


def complete_config(recorded: Mapping[str, object]) -> RetrainConfig:
    """A configuration that was recorded by this or an earlier version: keys that are unknown now are left out, new ones have defaults.

    Raises:
        pydantic.ValidationError: a value is out of bounds.
    """
    return RetrainConfig.model_validate(merge_mappings(_defaults(), keep_known_keys(recorded, _defaults())))


def resolve_config(chosen: str | None, environ: Mapping[str, str] = os.environ) -> RetrainConfig:
    """The configuration a person chose, else the one that TASKCLF_DAGSTER_CONFIG names, else the default; the environment over it."""
    return load_retrain_config(find_config_file(chosen, environ), environ)


def find_config_file(chosen: str | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The file laid over the default: the chosen one, else the one of TASKCLF_DAGSTER_CONFIG, relative to the project; None is neither."""
    name = chosen or environ.get(CONFIG_VARIABLE)
    if not name:
        return None
    path = Path(name).expanduser()
    return path if path.is_absolute() else PROJECT / path


RecordedConfig = Annotated[
    RetrainConfig,
    BeforeValidator(lambda value: complete_config(value) if isinstance(value, dict) else value),
    PlainSerializer(lambda config: config.policy),
]
"""A configuration in a record: its policy, completed when it is read back."""


def _read_value(key: str, text: str) -> object:
    """A flag or a decimal number where the key wants one, else the text, which is then found to be wrong."""
    if key in ("enabled", "auto_promote"):
        return _FLAGS.get(text.lower(), text)
    return int(text) if key != "schedule.cron" and re.fullmatch(r"[+-]?[0-9]{1,18}", text) else text


def _said_by(overrides: Mapping[str, tuple[str, object]], key: str) -> str:
    return f"; the environment variable {overrides[key][0]} says so" if key in overrides else ""


def _key(error: "ErrorDetails") -> str:
    """The key with dots; what is no name, as a line `url:https://...` without a space makes one, may hold a secret and is not told."""
    parts = error["loc"][1:] if error["loc"] and error["loc"][0] in GROUPS else error["loc"]
    return ".".join(str(part) if re.fullmatch(r"[\w.-]{1,60}", str(part)) else "(no name)" for part in parts)


def _finding(error: "ErrorDetails") -> str:
    """What is wrong with a key. A value that may hold a secret is not told: one of events, or text and more under an unknown key."""
    key, message, value = _key(error), error["msg"], error["input"]
    if error["type"] == "extra_forbidden":
        tells = isinstance(value, bool | int | float) and not key.startswith("events")
        return f"{key}: unknown key{f' (value {value!r})' if tells else ''}; remove it or mend its spelling"
    if key.startswith("events"):
        return f"{key}: {describe_mistake(error)}"
    return f"{key}: {message} (value {value!r})"


_Range = TypeVar("_Range", RejectThresholdSettings, GateThresholds)


def _ordered(settings: _Range) -> _Range:
    if settings.min_reject_rate > settings.max_reject_rate:
        msg = f"min_reject_rate {settings.min_reject_rate} must not exceed max_reject_rate {settings.max_reject_rate}"
        raise ValueError(msg)
    return settings


@cache
def _defaults() -> dict[str, object]:
    return read_mapping(DEFAULT_CONFIG_PATH)
