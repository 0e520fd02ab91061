"""The feature schemas of taskclf: columns, types, hashes, bounds and model inputs.

Facts about the format only. Files of this format are read in `windows`; rows become a matrix in `models.encoding`.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

LABELS = ("BreakIdle", "Build", "Communicate", "Debug", "Meet", "ReadResearch", "Review", "Write")
"""The eight labels in alphabetical order, which is the order of the model's class indices."""


REJECTED_LABEL = "Mixed/Unknown"
"""The name of a prediction below the reject threshold; never a training label."""


BREAK_IDLE = "BreakIdle"


WINDOW_SECONDS = 60


FEATURE_LOOKBACK_SECONDS = 15 * 60
"""The length of the longest rolling feature of a window [s]."""


DEFAULT_USER = "default-user"
"""The one implicit user of schema v2, whose rows carry no user_id."""


ColumnType = Literal["str", "int", "float", "bool", "list", "datetime"]


SchemaVersion = Literal["v1", "v2", "v3"]


SCHEMA_VERSIONS: tuple[SchemaVersion, ...] = ("v1", "v2", "v3")


_IDENTITY: dict[str, ColumnType] = {
    "user_id": "str",
    "device_id": "str",
    "session_id": "str",
    "bucket_start_ts": "datetime",
    "bucket_end_ts": "datetime",
    "schema_version": "str",
    "schema_hash": "str",
    "source_ids": "list",
}


_V1_FEATURES: dict[str, ColumnType] = {
    "app_id": "str",
    "app_category": "str",
    "window_title_hash": "str",
    "is_browser": "bool",
    "is_editor": "bool",
    "is_terminal": "bool",
    "app_switch_count_last_5m": "int",
    "app_foreground_time_ratio": "float",
    "app_change_count": "int",
    "app_dwell_time_seconds": "float",
    "app_entropy_5m": "float",
    "app_entropy_15m": "float",
    "top2_app_concentration_15m": "float",
    "idle_return_indicator": "bool",
    "keys_per_min": "float",
    "backspace_ratio": "float",
    "shortcut_rate": "float",
    "clicks_per_min": "float",
    "scroll_events_per_min": "float",
    "mouse_distance": "float",
    "active_seconds_keyboard": "float",
    "active_seconds_mouse": "float",
    "active_seconds_any": "float",
    "max_idle_run_seconds": "float",
    "event_density": "float",
    "domain_category": "str",
    "window_title_bucket": "int",
    "title_repeat_count_session": "int",
    "keys_per_min_rolling_5": "float",
    "keys_per_min_rolling_15": "float",
    "mouse_distance_rolling_5": "float",
    "mouse_distance_rolling_15": "float",
    "keys_per_min_delta": "float",
    "clicks_per_min_delta": "float",
    "mouse_distance_delta": "float",
    "app_switch_count_last_15m": "int",
    "hour_of_day": "int",
    "day_of_week": "int",
    "session_length_so_far": "float",
}


_TITLE_FEATURES: dict[str, ColumnType] = {
    **{f"title_token_sketch_{i:03d}": "float" for i in range(128)},
    **{f"title_char3_sketch_{i:03d}": "float" for i in range(128)},
    "title_char_count": "int",
    "title_token_count": "int",
    "title_unique_token_ratio": "float",
    "title_digit_ratio": "float",
    "title_separator_count": "int",
}


_CATEGORICAL = ("app_id", "app_category", "domain_category")


_UNIT_INTERVAL = {"top2_app_concentration_15m"}


_RANGES = {"hour_of_day": (0.0, 23.0), "day_of_week": (0.0, 6.0), "window_title_bucket": (0.0, 255.0)}


@dataclass(frozen=True)
class FeatureSchema:
    """One version of taskclf's feature rows.

    Attributes:
        version: "v1", "v2" or "v3".
        columns: every persisted column in order, with its logical type.
        model_inputs: columns of the training matrix, in matrix order.
        categorical: the model inputs that are encoded as integer codes.
    """

    version: SchemaVersion
    columns: dict[str, ColumnType]
    model_inputs: tuple[str, ...]
    categorical: tuple[str, ...]

    @property
    def schema_hash(self) -> str:
        """The first 12 hex digits of the SHA-256 over the ordered (name, type) pairs, as taskclf computes it."""
        pairs = json.dumps([[name, kind] for name, kind in self.columns.items()], separators=(",", ":"))
        return hashlib.sha256(pairs.encode()).hexdigest()[:12]

    @property
    def numeric_inputs(self) -> tuple[str, ...]:
        """The nullable numeric model inputs (float; whole numbers are never null): all missing in a window without any measurement."""
        return tuple(name for name in self.model_inputs if self.columns[name] == "float")

    @property
    def required_columns(self) -> tuple[str, ...]:
        """The columns that a partition must have for retraining: identity, row schema and model inputs."""
        identity = ("user_id", "session_id", "bucket_start_ts", "bucket_end_ts", "schema_version", "schema_hash")
        wanted = dict.fromkeys((*identity, *self.model_inputs))
        return tuple(name for name in wanted if name in self.columns)


def _schemas() -> dict[SchemaVersion, FeatureSchema]:
    v1: dict[str, ColumnType] = {**_IDENTITY, **_V1_FEATURES}
    v2 = {name: kind for name, kind in v1.items() if name != "user_id"}
    v3 = {**v1, **_TITLE_FEATURES}
    base = tuple(name for name in _V1_FEATURES if name != "window_title_hash")
    return {
        "v1": FeatureSchema("v1", v1, (*base, "user_id"), (*_CATEGORICAL, "user_id")),
        "v2": FeatureSchema("v2", v2, base, _CATEGORICAL),
        "v3": FeatureSchema("v3", v3, (*base, *_TITLE_FEATURES), _CATEGORICAL),
    }


SCHEMAS: dict[SchemaVersion, FeatureSchema] = _schemas()


def check_schema_hash(version: SchemaVersion, schema_hash: str) -> None:
    """Checks that a hash is that of a schema version: a record that names another version is not as it was written.

    Raises:
        ValueError: it is not.
    """
    expected = SCHEMAS[version].schema_hash
    if schema_hash != expected:
        msg = f"schema_hash is {schema_hash}, but that of {version} is {expected}"
        raise ValueError(msg)


def column_bounds(name: str) -> tuple[float, float]:
    """Returns the smallest and largest value allowed in a numeric column, both inclusive [the column's own unit].

    Infinite where the contract sets no limit: deltas may be negative, counts and rates have no upper bound.
    """
    if name in _RANGES:
        return _RANGES[name]
    if name.endswith("_ratio") or "_sketch_" in name or name in _UNIT_INTERVAL:
        return (0.0, 1.0)
    if name.endswith("_delta"):
        return (float("-inf"), float("inf"))
    return (0.0, float("inf"))
