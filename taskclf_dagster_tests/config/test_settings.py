"""The settings: every key takes the values within its bounds, and refuses the others by key and kind."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.config.loading import load_retrain_config
from taskclf_dagster.config.settings import OPERATIONAL
from taskclf_dagster.config.yaml_files import flatten
from taskclf_dagster_tests.config.yaml_documents import get, kinds, load_error, write
from taskclf_dagster_tests.scenario import retrain_config
from taskclf_dagster_tests.signing import EARLIER, OWNER

DASK = {"engine": "dask", "scheduler_address": "tcp://scheduler:8786"}

SHARE = (0.0, 1.0, -0.001, 1.001)

PENALTY = (0.0, 1e6, -0.001, 1_000_001.0)
NUMBERS: dict[str, tuple[float, float, float, float]] = {
    # key: smallest and largest value that is allowed, and values just outside
    "global_retrain_cadence_days": (1, 365, 0, 366),
    "calibrator_update_cadence_days": (1, 365, 0, 366),
    "min_new_labels": (1, 100_000, 0, 100_001),
    "label_quiet_minutes": (0, 1440, -1, 1441),
    "max_days_since_training": (1, 3650, 0, 3651),
    "max_attempts": (1, 100, 0, 101),
    "timeout_minutes": (1, 1440, 0, 1441),
    "data_lookback_days": (1, 3650, 0, 3651),
    "training_lookback_days": (1, 3650, 0, 3651),
    "search_budget": (0.0, 1000.0, -0.001, 1000.001),
    "search_cadence_days": (1, 3650, 0, 3651),
    "min_labels": (1, 1_000_000, 0, 1_000_001),
    "train_params.num_boost_round": (1, 10_000, 0, 10_001),
    "train_params.num_leaves": (2, 4096, 1, 4097),
    "train_params.learning_rate": (1e-9, 1.0, 0.0, 1.001),
    "train_params.max_depth": (-1, 64, -2, 65),
    "train_params.min_data_in_leaf": (0, 1_000_000, -1, 1_000_001),
    "train_params.min_gain_to_split": PENALTY,
    "train_params.feature_fraction": (1e-9, 1.0, 0.0, 1.001),
    "train_params.lambda_l1": PENALTY,
    "train_params.lambda_l2": PENALTY,
    "train_params.path_smooth": PENALTY,
    "train_params.max_bin": (2, 65_535, 1, 65_536),
    "train_params.cat_smooth": PENALTY,
    "train_params.cat_l2": PENALTY,
    "train_params.num_threads": (1, 1024, 0, 1025),
    "reject_threshold.min_reject_rate": (0.0, 0.25, -0.001, 1.001),  # max_reject_rate is 0.25
    "reject_threshold.max_reject_rate": (0.08, 1.0, -0.001, 1.001),  # min_reject_rate is 0.08
    "reject_threshold.fallback": SHARE,
    "reject_threshold.fallback_windows": (0, 1_000_000, -1, 1_000_001),
    "min_class_windows": (1, 100_000, 0, 100_001),
    "gates.min_macro_f1": SHARE,
    "gates.min_weighted_f1": SHARE,
    "gates.min_breakidle_precision": SHARE,
    "gates.min_breakidle_recall": SHARE,
    "gates.min_class_precision": SHARE,
    "gates.min_reject_rate": (0.0, 0.30, -0.001, 1.001),  # max_reject_rate is 0.30
    "gates.max_reject_rate": (0.05, 1.0, -0.001, 1.001),  # min_reject_rate is 0.05
    "gates.min_seen_user_f1": SHARE,
    "gates.min_unseen_user_f1": SHARE,
    "regression_tolerance": SHARE,
    "min_improvement": SHARE,
    "significance": (1e-9, 0.5, 0.0, 0.501),
    "min_user_days": (2, 10_000, 1, 10_001),
    "min_windows": (1, 1_000_000, 0, 1_000_001),
    "max_leaked_share": SHARE,
    "clearly_worse_margin": SHARE,
    "min_slice_windows": (1, 1_000_000, 0, 1_000_001),
    "max_negative_flips": SHARE,
    "max_flip_excess": SHARE,
    "anchor_tolerance": SHARE,
    "live_days": (1, 365, 0, 366),
    "max_live_drop": SHARE,
    "calibration.min_windows": (10, 1_000_000, 9, 1_000_001),
    "calibration.min_days": (1, 3650, 0, 3651),
    "calibration.min_labels": (2, 8, 1, 9),
    "calibration.fit_share": (0.1, 0.9, 0.099, 0.901),
    "calibration.min_brier_gain": SHARE,
    "keep_versions": (1, 10_000, 0, 10_001),
    "keep_rejected": (0, 10_000, -1, 10_001),
    "drift.days": (2, 90, 1, 91),
    "drift.min_windows": (1, 1_000_000, 0, 1_000_001),
    "drift.min_psi": (0.0, 10.0, -0.001, 10.001),
    "drift.noise_quantile": (0.5, 1.0, 0.499, 1.001),
    "drift.min_inputs": (1, 1000, 0, 1001),
    "drift.max_missing_increase": SHARE,
    "drift.max_unseen_increase": SHARE,
    "drift.max_class_shift": SHARE,
    "drift.max_reject_increase": SHARE,
    "drift.max_entropy_ratio": (1.0, 100.0, 0.999, 100.001),
    "drift.keep_days": (1, 3650, 0, 3651),
    "advice.max_flap_rate": SHARE,
    "advice.max_flap_rate_smoothed": SHARE,
    "advice.min_long_blocks": SHARE,
    "advice.max_short_blocks": SHARE,
    "keep_score_days": (1, 3650, 0, 3651),
    "trials.max_contenders": (0, 10, -1, 11),
    "trials.days": (1, 90, 0, 91),
    "trials.label_delay_days": (0, 14, -1, 15),
    "trials.challenger_share": (0.0, 0.5, -0.001, 0.501),
    "probation_days": (0, 90, -1, 91),
}
CHOICES: dict[str, tuple[object, ...]] = {
    "enabled": (True, False),
    "drift_trigger": ("critical", "warning", "never"),
    "score_schedule": ("hourly", "daily", "off"),
    "schedule.cron": ("0 6 * * *", "*/15 8-18 1,15 * MON-FRI", "59 23 31 12 7", "*/90 * * * *"),
    "schedule.verify_cron": ("30 6 * * 1", "0 0 1 1 0"),
    "schedule.monitor_cron": ("0 5 * * *", "15 */6 * * *"),
    "live_trigger": (True, False),
    "schedule.timezone": (None, "Europe/Vienna", "UTC"),
    "schema_version": ("auto", "v1", "v2", "v3"),
    "skip_unreadable_days": (True, False),
    "weak_labels": ("train_only", "exclude"),
    "train_params.class_weight": ("balanced", "none"),
    "train_params.constant_inputs": ([], ["hour_of_day", "day_of_week", "session_length_so_far"]),
    "refit": (True, False),
    "search": ("auto", "off"),
    "train_params.num_threads": ("auto", 4),
    "require_baseline_improvement": (True, False),
    "floor_policy": ("strict", "improve"),
    "evidence_policy": ("point", "hold", "superior"),
    "anchor_tolerance": (None, 0.03),
    "max_negative_flips": (None, 0.05),
    "prove_reproducible": ("auto", True, False),
    "auto_promote": (True, False),
    "trials.awaiting_approval": (True, False),
    "auto_rollback": (True, False),
    "slice_gate": (True, False),
    "calibration_method": ("temperature", "isotonic", "off"),
    "events.sinks": ([],),
    "execution.engine": ("local",),  # dask: with the next one
    "execution.scheduler_address": (None, "tcp://scheduler:8786", "tls://10.0.0.7:8786", "tcp://[fd00::7]:8786"),
    "home.features_url": (None,),  # only the settings file of a home sets it, see test_home_locations
    "home.snapshots_url": (None,),
    "server.url": (None, "https://retrain.example.org", "http://10.0.0.7:8080/retrain"),
    "server.allowed_hosts": ([], ["retrain.example.org", "retrain:8443", "[fd00::7]"]),
    "server.user_header": (None, "X-Forwarded-User"),
    "signing.private_key_env": (None, "SIGNING_KEY"),
    "signing.private_key_file": (None, "/etc/taskclf/signing.pem"),
    "signing.public_key": ([], [OWNER[1]], [OWNER[1], EARLIER[1]]),
}


BAD_VALUES: dict[str, tuple[str, object, str]] = {
    # what is wrong: key, value, kind
    "an unknown key": ("auto_promot", True, "extra_forbidden"),
    "an unknown inner key": ("gates.min_macro_f2", 0.5, "extra_forbidden"),
    "the name of a group": ("dataset", 50, "extra_forbidden"),
    "a number for a choice": ("schema_version", 3, "literal_error"),
    "an unknown choice": ("weak_labels", "always", "literal_error"),
    "a flag that YAML reads as no": ("drift_trigger", False, "literal_error"),
    "a text for a number": ("min_labels", "many", "int_type"),
    "a number in quotes": ("min_labels", "200", "int_type"),
    "a fraction of a day": ("data_lookback_days", 7.5, "int_type"),
    "a flag for a whole number": ("min_labels", True, "int_type"),
    "a flag for a share": ("regression_tolerance", True, "float_type"),
    "a text for a number that may be null": ("anchor_tolerance", "twice", "float_type"),
    "not a number where null is allowed": ("max_negative_flips", float("nan"), "finite_number"),
    "a number for a flag": ("auto_promote", 1, "bool_type"),
    "a text for a flag": ("auto_promote", "true", "bool_type"),
    "null for a number": ("keep_versions", None, "int_type"),
    "null for a mapping": ("gates", None, "model_type"),
    "a list for a mapping": ("gates", [0.5], "model_type"),
    "not a number": ("min_improvement", float("nan"), "finite_number"),
    "infinity": ("regression_tolerance", float("inf"), "finite_number"),
    "not a number where only bounds are checked": ("significance", float("nan"), "less_than_equal"),
    "an unknown time zone": ("schedule.timezone", "Europe/Wien", "value_error"),
    "half a time zone": ("schedule.timezone", "Europe", "value_error"),
    "an empty time zone": ("schedule.timezone", "", "value_error"),
    "a path for a time zone": ("schedule.timezone", "../../etc/passwd", "value_error"),
    "a wrong cron line": ("schedule.cron", "0 25 * * *", "value_error"),
    "a wrong cron line of the weekly check": ("schedule.verify_cron", "0 6 31 2 *", "value_error"),
    "an address without a scheme": ("server.url", "retrain.example.org", "value_error"),
    "an address with a password": ("server.url", "https://me:secret@example.org", "value_error"),
    "an address with a port that is none": ("server.url", "https://example.org:99999", "value_error"),
    "any host": ("server.allowed_hosts", ["*"], "value_error"),
    "an address for a host": ("server.allowed_hosts", ["https://example.org"], "value_error"),
    "too many hosts": ("server.allowed_hosts", [f"host-{number}" for number in range(21)], "too_long"),
    "an unknown engine": ("execution.engine", "spark", "literal_error"),
    "a scheduler without a port": ("execution.scheduler_address", "tcp://scheduler", "string_pattern_mismatch"),
    "a scheduler without a scheme": ("execution.scheduler_address", "scheduler:8786", "string_pattern_mismatch"),
    "dask without a scheduler": ("execution", {"engine": "dask"}, "value_error"),
    "a header of two lines": ("server.user_header", "X-User\r\nX-Other", "value_error"),
    "a header that every browser sends": ("server.user_header", "Cookie", "value_error"),
    "an empty range of reject rates": ("reject_threshold", {"min_reject_rate": 0.3, "max_reject_rate": 0.2}, "value_error"),
    "an empty range of a gate": ("gates", {"min_reject_rate": 0.31}, "value_error"),
}


def test_every_key_has_its_row_in_these_tables() -> None:
    assert set(NUMBERS) | set(CHOICES) == set(dict(flatten(load_retrain_config().document)))


def test_a_number_at_either_bound_is_taken_as_it_is(tmp_path: Path) -> None:
    given = {(key, value): get(load_retrain_config(write(tmp_path, key, value)), key) for key, row in NUMBERS.items() for value in row[:2]}
    assert {key: value for key, value in given.items() if value != key[1]} == {}


def test_a_number_just_outside_its_bounds_is_refused(tmp_path: Path) -> None:
    taken = {}
    for key, (_, _, below, above) in NUMBERS.items():
        for value, side in ((below, "greater_than"), (above, "less_than")):
            error = load_error(write(tmp_path, key, value))
            if not any(found.startswith(key) and kind.startswith(side) for found, kind in kinds(error)) or repr(value) not in str(error):
                taken[key, value] = kinds(error)
    assert taken == {}


def test_every_choice_is_taken_as_it_is(tmp_path: Path) -> None:
    for key, values in CHOICES.items():
        assert [get(load_retrain_config(write(tmp_path, key, value)), key) for value in values] == list(values), key


def test_a_bad_value_is_an_error_with_its_key_and_kind(tmp_path: Path) -> None:
    found = {}
    for name, (key, value, kind) in BAD_VALUES.items():
        (invalid,) = load_error(write(tmp_path, key, value)).invalid
        if (invalid.key.removesuffix(".0"), invalid.kind) != (key, kind):  # of a list
            found[name] = invalid
    assert found == {}


def test_a_value_of_several_types_is_refused_for_each_of_them(tmp_path: Path) -> None:
    for key, value, expected in (
        ("train_params.num_threads", "all", ["literal_error", "int_type"]),
        ("prove_reproducible", 1, ["literal_error", "bool_type"]),
    ):
        assert [kind for _, kind in kinds(load_error(write(tmp_path, key, value)))] == expected


def test_all_errors_of_a_file_are_listed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("auto_promot: true\nregression_tolerance: 5\nmin_improvement: -1\ndata_lookback_days: -3\n", encoding="utf-8")
    assert {key for key, _ in kinds(load_error(path))} == {"auto_promot", "regression_tolerance", "min_improvement", "data_lookback_days"}


def test_messages_name_file_key_value_and_rule(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    shown = (
        "an unknown key", "an unknown choice", "a number in quotes", "a text for a flag", "an unknown time zone", "a wrong cron line",
        "an empty range of a gate",
    )  # fmt: skip
    messages = {name: str(load_error(write(tmp_path, *BAD_VALUES[name][:2]))) for name in shown}
    assert {name: text.replace(str(tmp_path), "") for name, text in messages.items()} == snapshot


def test_a_range_of_one_value_is_allowed(tmp_path: Path) -> None:
    config = load_retrain_config(write(tmp_path, "reject_threshold", {"min_reject_rate": 0.2, "max_reject_rate": 0.2}))
    assert config.training.reject_threshold.min_reject_rate == config.training.reject_threshold.max_reject_rate == 0.2


def test_a_whole_number_is_accepted_for_a_share(tmp_path: Path) -> None:
    assert get(load_retrain_config(write(tmp_path, "gates.min_macro_f1", 1)), "gates.min_macro_f1") == 1.0


def test_a_configuration_cannot_be_changed_after_loading() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_retrain_config().dataset.min_labels = 5


def test_an_anchor_tolerance_that_is_null_is_twice_the_other() -> None:
    cases = [(0.02, None, 0.04), (0.0, None, 0.0), (0.02, 0.01, 0.01), (0.02, 0.0, 0.0)]
    for regression, anchor, allowed in cases:
        changed = retrain_config(regression_tolerance=regression, anchor_tolerance=anchor)
        assert changed.comparison.allowed_below_anchor == allowed


def test_dask_is_taken_with_a_scheduler(tmp_path: Path) -> None:
    assert load_retrain_config(write(tmp_path, "execution", DASK)).execution.model_dump() == DASK


def test_keys_that_only_say_when_to_run_are_not_part_of_the_policy() -> None:
    policy = retrain_config().policy
    assert set(policy) == set(load_retrain_config().document) - OPERATIONAL
    assert {"gates", "train_params", "auto_promote", "data_lookback_days", "keep_versions"} <= set(policy)
    assert retrain_config(timeout_minutes=5, enabled=False, events={"sinks": []}, execution=DASK).policy == policy
    assert retrain_config(min_labels=50).policy != policy


def test_changes_are_validated_and_keep_what_they_do_not_name(tmp_path: Path) -> None:
    assert retrain_config(search="auto") == load_retrain_config()
    path = tmp_path / "mine.yaml"
    path.write_text("min_labels: 50\nsearch: off\ngates:\n  min_macro_f1: 0.1\n", encoding="utf-8")
    assert retrain_config(min_labels=50, gates={"min_macro_f1": 0.1}) == load_retrain_config(path)
    with pytest.raises(ValidationError):
        retrain_config(min_labels=0)
