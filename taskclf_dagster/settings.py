"""Settings of a retrain: frozen models of `configs/*.yaml`, with bounds on every field.

No thresholds live here: every value comes from `configs/retrain.yaml`, and what is read is what takes effect. What a single run may
change (force, dry_run, as_of, ...) is not a setting; see `defs/resources.py`.
"""

import os
from collections.abc import Hashable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from taskclf_dagster.errors import SettingsError

CONFIG_VARIABLE = "TASKCLF_DAGSTER_CONFIG"
DEFAULT_CONFIG_PATH = Path(__file__).resolve().parent.parent / "configs" / "retrain.yaml"

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


class ScheduleSettings(_Settings):
    """When the daily schedule ticks."""

    cron: Annotated[str, StringConstraints(pattern=r"^[\d*/,-]+( [\d*/,-]+){2}( ([\d*/,-]|[A-Za-z]{3})+){2}$")]
    timezone: str | None

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


class RetrainConfig(_Settings):
    """Everything that `configs/retrain.yaml` says; each key is explained there."""

    global_retrain_cadence_days: Annotated[int, Field(ge=1, le=365)]
    calibrator_update_cadence_days: Annotated[int, Field(ge=1, le=365)]
    min_new_labels: Annotated[int, Field(ge=1, le=100_000)]
    schedule: ScheduleSettings
    data_lookback_days: Days
    schema_version: Literal["auto", "v1", "v2", "v3"]
    skip_unreadable_days: bool
    weak_labels: Literal["train_only", "exclude"]
    min_labels: Annotated[int, Field(ge=1, le=1_000_000)]
    train_params: TrainParams
    reject_threshold: RejectThresholdSettings
    min_class_windows: Annotated[int, Field(ge=1, le=100_000)]
    gates: GateThresholds
    require_baseline_improvement: bool
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
    prove_reproducible: Literal["auto"] | bool
    advice: AdviceThresholds
    auto_promote: bool
    keep_versions: Annotated[int, Field(ge=1, le=10_000)]
    keep_rejected: Annotated[int, Field(ge=0, le=10_000)]

    @property
    def allowed_below_anchor(self) -> float:
        """How far below an anchor a challenger may be: `anchor_tolerance`, else twice `regression_tolerance`."""
        return 2 * self.regression_tolerance if self.anchor_tolerance is None else self.anchor_tolerance


def load_retrain_config(path: Path | None = None) -> RetrainConfig:
    """Reads a retrain configuration.

    Args:
        path: a YAML file laid over `configs/retrain.yaml`, key by key; None is that file alone.

    Raises:
        SettingsError: the file is missing, is not a YAML mapping, or a key is unknown, of a wrong type or out of bounds.
    """
    merged = _read_mapping(DEFAULT_CONFIG_PATH)
    if path is not None and path.resolve() != DEFAULT_CONFIG_PATH:
        merged = _lay_over(merged, _read_mapping(path))
    try:
        return RetrainConfig.model_validate(merged)
    except ValidationError as error:
        findings = [_finding(".".join(str(part) for part in e["loc"]), e["type"], e["msg"], e["input"]) for e in error.errors()]
        raise SettingsError(path or DEFAULT_CONFIG_PATH, findings) from error


def complete_config(recorded: Mapping[str, object]) -> RetrainConfig:
    """A configuration that was recorded by this or an earlier version: keys that are unknown now are left out, new ones have defaults.

    Raises:
        pydantic.ValidationError: a value is out of bounds.
    """
    return RetrainConfig.model_validate(_lay_over(_defaults(), _only_known(recorded, _defaults())))


def resolve_config(chosen: str | None, environ: Mapping[str, str] = os.environ) -> RetrainConfig:
    """The configuration a person chose, else the one that TASKCLF_DAGSTER_CONFIG names, else the default; relative to the project."""
    name = chosen or environ.get(CONFIG_VARIABLE)
    if not name:
        return load_retrain_config()
    path = Path(name).expanduser()
    return load_retrain_config(path if path.is_absolute() else DEFAULT_CONFIG_PATH.parent.parent / path)


class _UniqueKeyLoader(yaml.SafeLoader):
    """A SafeLoader that refuses a key that is written twice, where YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = sorted({str(key) for key in keys if keys.count(key) > 1})
        if repeated:
            raise yaml.constructor.ConstructorError(None, None, f"key {', '.join(repeated)} is written twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


def _finding(key: str, kind: str, message: str, value: object) -> str:
    if kind == "extra_forbidden":
        return f"{key}: unknown key (value {value!r}); remove it or mend its spelling"
    return f"{key}: {message} (value {value!r})"


_Range = TypeVar("_Range", RejectThresholdSettings, GateThresholds)


def _ordered(settings: _Range) -> _Range:
    if settings.min_reject_rate > settings.max_reject_rate:
        msg = f"min_reject_rate {settings.min_reject_rate} must not exceed max_reject_rate {settings.max_reject_rate}"
        raise ValueError(msg)
    return settings


@cache
def _defaults() -> dict[str, object]:
    return _read_mapping(DEFAULT_CONFIG_PATH)


def _read_mapping(path: Path) -> dict[str, object]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506  # a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(path, [f"cannot be read as YAML: {error}"]) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(path, [f"must be a mapping of keys to values, but is a {type(content).__name__}"])
    return content


def _lay_over(base: dict[str, object], top: dict[str, object]) -> dict[str, object]:
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        merged[key] = _lay_over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _only_known(recorded: Mapping[str, object], known: Mapping[str, object]) -> dict[str, object]:
    kept: dict[str, object] = {}
    for key, value in recorded.items():
        below = known.get(key)
        if key in known:
            kept[key] = _only_known(value, below) if isinstance(value, dict) and isinstance(below, dict) else value
    return kept
