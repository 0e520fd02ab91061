"""The schemas are facts of taskclf's format: every number here stands in the contract, none is computed from the code."""

import hashlib

import pytest

from taskclf_dagster.domain.data.feature_schema import LABELS, REJECTED_LABEL, SCHEMAS, SchemaVersion, column_bounds

INFINITE = float("inf")


@pytest.mark.parametrize(
    ("version", "schema_hash", "columns"), [("v1", "4077fe0dba70", 47), ("v2", "a15f4751a947", 46), ("v3", "7f29b4b8795e", 308)]
)
def test_a_schema_has_the_hash_and_the_columns_that_taskclf_writes(version: SchemaVersion, schema_hash: str, columns: int) -> None:
    assert SCHEMAS[version].schema_hash == schema_hash
    assert len(SCHEMAS[version].columns) == columns


@pytest.mark.parametrize(
    ("version", "inputs", "order", "categorical"),
    [
        # order: first 16 hex digits of sha256 over the comma-separated names in the contract's feature_schema.json
        ("v1", 39, "748d143b0390f169", ("app_id", "app_category", "domain_category", "user_id")),
        ("v2", 38, "1b8001d65b4c7311", ("app_id", "app_category", "domain_category")),
        ("v3", 299, "9843293a6075565b", ("app_id", "app_category", "domain_category")),
    ],
)
def test_the_model_inputs_have_the_number_and_order_of_the_contract(
    version: SchemaVersion, inputs: int, order: str, categorical: tuple[str, ...]
) -> None:
    schema = SCHEMAS[version]
    assert len(schema.model_inputs) == inputs
    assert hashlib.sha256(",".join(schema.model_inputs).encode()).hexdigest()[:16] == order
    assert schema.categorical == categorical


def test_v2_is_v1_without_the_user() -> None:
    assert list(SCHEMAS["v2"].columns) == [name for name in SCHEMAS["v1"].columns if name != "user_id"]


def test_v3_is_v1_with_the_hashed_titles_behind_it() -> None:
    names = list(SCHEMAS["v3"].columns)
    assert names[:47] == list(SCHEMAS["v1"].columns)
    assert len(names[47:]) == 261  # 128 + 128 sketch columns and 5 title columns
    assert names[47] == "title_token_sketch_000"
    assert names[-1] == "title_separator_count"


def test_the_labels_are_the_eight_of_the_contract_in_class_index_order() -> None:
    assert LABELS == ("BreakIdle", "Build", "Communicate", "Debug", "Meet", "ReadResearch", "Review", "Write")
    assert REJECTED_LABEL == "Mixed/Unknown"
    assert REJECTED_LABEL not in LABELS


@pytest.mark.parametrize(
    ("column", "low", "high"),
    [
        ("hour_of_day", 0, 23),
        ("day_of_week", 0, 6),
        ("window_title_bucket", 0, 255),
        ("backspace_ratio", 0, 1),
        ("app_foreground_time_ratio", 0, 1),
        ("title_digit_ratio", 0, 1),
        ("top2_app_concentration_15m", 0, 1),
        ("title_token_sketch_000", 0, 1),
        ("title_char3_sketch_127", 0, 1),
        ("keys_per_min", 0, INFINITE),
        ("app_switch_count_last_5m", 0, INFINITE),
        ("shortcut_rate", 0, INFINITE),
        ("title_char_count", 0, INFINITE),
        ("keys_per_min_delta", -INFINITE, INFINITE),
        ("mouse_distance_delta", -INFINITE, INFINITE),
    ],
)
def test_a_column_has_the_bounds_of_the_contract(column: str, low: float, high: float) -> None:
    assert column_bounds(column) == (low, high)


def test_only_nullable_numbers_count_as_measurements() -> None:
    measured = set(SCHEMAS["v1"].numeric_inputs)
    assert {"keys_per_min", "app_entropy_5m", "session_length_so_far"} <= measured
    assert not measured & {"app_id", "user_id", "is_editor", "hour_of_day", "window_title_bucket", "app_change_count"}


def test_a_partition_must_have_identity_and_inputs_but_not_what_training_never_reads() -> None:
    required = SCHEMAS["v1"].required_columns
    assert {"user_id", "session_id", "bucket_start_ts", "bucket_end_ts", "schema_version", "schema_hash"} <= set(required)
    assert set(SCHEMAS["v1"].model_inputs) <= set(required)
    assert not {"device_id", "source_ids", "window_title_hash"} & set(required)
    assert "user_id" not in SCHEMAS["v2"].required_columns
    assert "user_id" in SCHEMAS["v3"].required_columns
