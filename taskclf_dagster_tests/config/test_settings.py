"""The configuration: what is shipped, what a file of one's own may say, and the one clear error that everything else is."""

import traceback
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from taskclf_dagster.config.event_settings import EventSettings
from taskclf_dagster.config.settings import (
    DEFAULT_CONFIG_PATH,
    ENVIRONMENT,
    OPERATIONAL,
    RetrainConfig,
    complete_config,
    find_overrides,
    load_retrain_config,
    resolve_config,
)
from taskclf_dagster.config.yaml_files import flatten
from taskclf_dagster.errors import SettingsError
from taskclf_dagster_tests.scenario import retrain_config

SHARE = (0.0, 1.0, -0.001, 1.001)
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
    "min_labels": (1, 1_000_000, 0, 1_000_001),
    "train_params.num_boost_round": (1, 10_000, 0, 10_001),
    "train_params.num_leaves": (2, 4096, 1, 4097),
    "train_params.learning_rate": (1e-9, 1.0, 0.0, 1.001),
    "train_params.num_threads": (1, 1024, 0, 1025),
    "reject_threshold.min_reject_rate": (0.0, 0.25, -0.001, 1.001),  # max_reject_rate is 0.25
    "reject_threshold.max_reject_rate": (0.08, 1.0, -0.001, 1.001),  # min_reject_rate is 0.08
    "reject_threshold.fallback": SHARE,
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
    "max_negative_flips": SHARE,
    "max_flip_excess": SHARE,
    "anchor_tolerance": SHARE,
    "keep_versions": (1, 10_000, 0, 10_001),
    "keep_rejected": (0, 10_000, -1, 10_001),
    "advice.max_flap_rate": SHARE,
    "advice.max_flap_rate_smoothed": SHARE,
}
CHOICES: dict[str, tuple[object, ...]] = {
    "enabled": (True, False),
    "drift_trigger": ("critical", "warning", "never"),
    "schedule.cron": ("0 6 * * *", "*/15 8-18 1,15 * MON-FRI", "59 23 31 12 7", "*/90 * * * *"),
    "schedule.verify_cron": ("30 6 * * 1", "0 0 1 1 0"),
    "schedule.timezone": (None, "Europe/Vienna", "UTC"),
    "schema_version": ("auto", "v1", "v2", "v3"),
    "skip_unreadable_days": (True, False),
    "weak_labels": ("train_only", "exclude"),
    "train_params.class_weight": ("balanced", "none"),
    "train_params.num_threads": ("auto", 4),
    "require_baseline_improvement": (True, False),
    "evidence_policy": ("point", "hold", "superior"),
    "anchor_tolerance": (None, 0.03),
    "prove_reproducible": ("auto", True, False),
    "auto_promote": (True, False),
    "events.sinks": ([],),
}


def write(tmp_path: Path, key: str, value: object) -> Path:
    """A file that sets one key, nested keys with a dot."""
    content: object = value
    for name in reversed(key.split(".")):
        content = {name: content}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def get(config: RetrainConfig, key: str) -> object:
    """The value of a flat key of the file; keys of inner mappings with dots."""
    return dict(flatten(config.document))[key]


def leaves(config: RetrainConfig) -> set[str]:
    return set(dict(flatten(config.document)))


# --- What is shipped --------------------------------------------------------------------------------------------------------------


def test_the_shipped_configuration_loads() -> None:
    config = load_retrain_config()
    assert config == load_retrain_config(DEFAULT_CONFIG_PATH)
    assert (config.dataset.data_lookback_days, config.dataset.min_labels, config.promotion.auto_promote) == (30, 200, False)
    assert config.evaluation.gates.min_breakidle_precision == 0.95


def test_the_values_of_the_contract_are_the_shipped_ones() -> None:
    config = load_retrain_config()
    assert (config.scheduling.global_retrain_cadence_days, config.scheduling.calibrator_update_cadence_days) == (7, 7)
    assert (config.comparison.regression_tolerance, config.comparison.min_improvement, config.evaluation.require_baseline_improvement) == (
        0.02,
        0.0,
        True,
    )
    assert (
        config.training.train_params.num_boost_round,
        config.training.train_params.num_leaves,
        config.training.train_params.learning_rate,
    ) == (100, 31, 0.1)
    assert (
        config.comparison.evidence_policy,
        config.comparison.significance,
        config.comparison.min_user_days,
        config.comparison.min_windows,
    ) == ("point", 0.05, 5, 300)
    assert (config.comparison.max_leaked_share, config.comparison.clearly_worse_margin) == (0.30, 0.05)
    assert (config.comparison.max_negative_flips, config.comparison.max_flip_excess, config.comparison.anchor_tolerance) == (
        0.05,
        0.01,
        None,
    )
    assert (config.training.prove_reproducible, config.retention.keep_versions, config.retention.keep_rejected) == ("auto", 10, 10)
    gates = config.evaluation.gates
    assert (gates.min_macro_f1, gates.min_weighted_f1, gates.min_class_precision) == (0.65, 0.70, 0.50)
    assert (gates.min_breakidle_precision, gates.min_breakidle_recall) == (0.95, 0.90)
    assert (gates.min_reject_rate, gates.max_reject_rate) == (0.05, 0.30)
    assert (gates.min_seen_user_f1, gates.min_unseen_user_f1) == (0.70, 0.60)


def test_every_shipped_file_loads() -> None:
    files = sorted(DEFAULT_CONFIG_PATH.parent.glob("*.yaml"))
    assert {path.name for path in files} >= {"retrain.yaml", "demo.yaml"}
    for path in files:
        load_retrain_config(path)
    assert load_retrain_config(DEFAULT_CONFIG_PATH.parent / "demo.yaml").promotion.auto_promote


def test_the_shipped_file_says_every_key() -> None:
    shipped = yaml.safe_load(DEFAULT_CONFIG_PATH.read_text(encoding="utf-8"))
    for key in leaves(load_retrain_config()):
        value = shipped
        for name in key.split("."):
            assert name in value, f"{key} is not in {DEFAULT_CONFIG_PATH.name}"
            value = value[name]


def test_a_configuration_cannot_be_changed_after_loading() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_retrain_config().dataset.min_labels = 5


# --- Files of one's own -----------------------------------------------------------------------------------------------------------


def test_a_partial_file_keeps_everything_else(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("min_labels: 50\ntrain_params:\n  num_boost_round: 7\n", encoding="utf-8")
    expected = load_retrain_config().document
    expected["min_labels"] = 50
    expected["train_params"]["num_boost_round"] = 7
    assert load_retrain_config(path).document == expected


@pytest.mark.parametrize("text", ["", "\n", "# nothing but a comment\n", "---\n"])
def test_an_empty_file_changes_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    assert load_retrain_config(path) == load_retrain_config()


def test_the_file_of_the_original_tool_loads_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "retrain.yaml"
    path.write_text(
        "global_retrain_cadence_days: 14\n"
        "calibrator_update_cadence_days: 3\n"
        "data_lookback_days: 60\n"
        "regression_tolerance: 0.05\n"
        "require_baseline_improvement: false\n"
        "auto_promote: true\n"
        "min_improvement: 0.01\n"
        "train_params:\n"
        "  num_boost_round: 200\n"
        "  class_weight: none\n",
        encoding="utf-8",
    )
    config = load_retrain_config(path)
    assert (
        config.scheduling.global_retrain_cadence_days,
        config.scheduling.calibrator_update_cadence_days,
        config.dataset.data_lookback_days,
    ) == (14, 3, 60)
    assert (config.comparison.regression_tolerance, config.comparison.min_improvement) == (0.05, 0.01)
    assert (config.evaluation.require_baseline_improvement, config.promotion.auto_promote) == (False, True)
    assert (
        config.training.train_params.num_boost_round,
        config.training.train_params.class_weight,
        config.training.train_params.num_leaves,
    ) == (200, "none", 31)


@pytest.mark.parametrize("key", ["regression_tolerance", "gates.min_macro_f1", "train_params.learning_rate"])
def test_a_whole_number_is_accepted_where_a_share_is_wanted(tmp_path: Path, key: str) -> None:
    assert get(load_retrain_config(write(tmp_path, key, 1)), key) == 1.0


@pytest.mark.parametrize(("regression", "anchor", "allowed"), [(0.02, None, 0.04), (0.0, None, 0.0), (0.02, 0.01, 0.01), (0.02, 0.0, 0.0)])
def test_an_anchor_tolerance_that_is_null_is_twice_the_other(regression: float, anchor: float | None, allowed: float) -> None:
    assert retrain_config(regression_tolerance=regression, anchor_tolerance=anchor).comparison.allowed_below_anchor == allowed


# --- Bounds, one key at a time ----------------------------------------------------------------------------------------------------


def test_every_key_has_its_row_in_these_tables() -> None:
    assert set(NUMBERS) | set(CHOICES) == leaves(load_retrain_config())


@pytest.mark.parametrize("key", NUMBERS)
def test_a_number_at_either_bound_is_taken_as_it_is(tmp_path: Path, key: str) -> None:
    low, high, _, _ = NUMBERS[key]
    for value in (low, high):
        assert get(load_retrain_config(write(tmp_path, key, value)), key) == value


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("side", [2, 3], ids=["below", "above"])
def test_a_number_just_outside_its_bounds_is_an_error_that_names_key_and_value(tmp_path: Path, key: str, side: int) -> None:
    value = NUMBERS[key][side]
    path = write(tmp_path, key, value)
    with pytest.raises(SettingsError) as caught:
        load_retrain_config(path)
    for part in (str(path), key, f"value {value!r}", "greater than" if side == 2 else "less than", "configs/retrain.yaml"):
        assert part in str(caught.value)


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in CHOICES.items() for value in values])
def test_every_choice_is_taken_as_it_is(tmp_path: Path, key: str, value: object) -> None:
    assert get(load_retrain_config(write(tmp_path, key, value)), key) == value


BAD_VALUES: dict[str, tuple[str, object, tuple[str, ...]]] = {
    "an unknown key": ("auto_promot", True, ("auto_promot: unknown key", "value True", "mend its spelling")),
    "an unknown nested key": ("gates.min_macro_f2", 0.5, ("gates.min_macro_f2: unknown key", "value 0.5")),
    "a number for a text": ("schema_version", 3, ("schema_version", "'auto', 'v1', 'v2' or 'v3'", "value 3")),
    "an unknown schema version": ("schema_version", "v4", ("schema_version", "'auto', 'v1', 'v2' or 'v3'", "value 'v4'")),
    "an unknown use of weak labels": ("weak_labels", "always", ("weak_labels", "'train_only' or 'exclude'", "value 'always'")),
    "an unknown class weight": ("train_params.class_weight", "sqrt", ("train_params.class_weight", "'balanced' or 'none'", "value 'sqrt'")),
    "a text for a number": ("min_labels", "many", ("min_labels", "integer", "value 'many'")),
    "a number in quotes": ("min_labels", "200", ("min_labels", "integer", "value '200'")),
    "a fraction of a day": ("data_lookback_days", 7.5, ("data_lookback_days", "integer", "value 7.5")),
    "a flag for a number": ("regression_tolerance", True, ("regression_tolerance", "number", "value True")),
    "a number for a flag": ("auto_promote", 1, ("auto_promote", "boolean", "value 1")),
    "a text for a flag": ("auto_promote", "true", ("auto_promote", "boolean", "value 'true'")),
    "null for a number": ("min_labels", None, ("min_labels", "integer", "value None")),
    "null for a section": ("gates", None, ("gates", "value None")),
    "a list for a section": ("gates", [0.5], ("gates", "value [0.5]")),
    "not a number": ("min_improvement", float("nan"), ("min_improvement", "finite", "value nan")),
    "infinity": ("regression_tolerance", float("inf"), ("regression_tolerance", "value inf")),
    "not a number as learning rate": ("train_params.learning_rate", float("nan"), ("train_params.learning_rate", "value nan")),
    "threads in words": ("train_params.num_threads", "all", ("train_params.num_threads", "'auto'", "value 'all'")),
    "an unknown evidence policy": ("evidence_policy", "strict", ("evidence_policy", "'point', 'hold' or 'superior'", "value 'strict'")),
    "a proof in words": ("prove_reproducible", "sometimes", ("prove_reproducible", "'auto'", "value 'sometimes'")),
    "a number for a proof": ("prove_reproducible", 1, ("prove_reproducible", "value 1")),
    "an anchor tolerance in words": ("anchor_tolerance", "twice", ("anchor_tolerance", "number", "value 'twice'")),
    "not a number as significance": ("significance", float("nan"), ("significance", "value nan")),
    "half a user-day": ("min_user_days", 5.5, ("min_user_days", "integer", "value 5.5")),
    "null for a tolerance that has no default": ("max_negative_flips", None, ("max_negative_flips", "number", "value None")),
    "null for the bundles that stay": ("keep_versions", None, ("keep_versions", "integer", "value None")),
    "an unknown time zone": ("schedule.timezone", "Europe/Wien", ("schedule.timezone", "'Europe/Wien'", "IANA", "such as Europe/Vienna")),
    "half a time zone": ("schedule.timezone", "Europe", ("schedule.timezone", "'Europe'", "IANA time zone")),
    "an empty time zone": ("schedule.timezone", "", ("schedule.timezone", "IANA time zone")),
    "a path for a time zone": ("schedule.timezone", "../../etc/passwd", ("schedule.timezone", "IANA time zone")),
    "a cron line of four fields": ("schedule.cron", "0 6 * *", ("schedule.cron", "'0 6 * *' is no cron line of five fields", "value")),
    "a cron line of six fields": ("schedule.cron", "0 0 6 * * *", ("schedule.cron", "no cron line of five fields")),
    "a minute that no hour has": ("schedule.cron", "60 6 * * *", ("schedule.cron", "minute 60 of the cron line must be from 0 to 59")),
    "an hour that no day has": ("schedule.cron", "0 6-24 * * *", ("schedule.cron", "hour 24 of the cron line must be from 0 to 23")),
    "a weekday that no week has": ("schedule.verify_cron", "0 6 * * 1,8", ("schedule.verify_cron", "weekday 8", "from 0 to 7")),
    "a day that never comes": ("schedule.cron", "0 6 31 2 *", ("schedule.cron", "day 31 of the cron line never comes", "29 days")),
    "a step of nothing": ("schedule.verify_cron", "*/0 * * * *", ("schedule.verify_cron", "must have a step of at least 1")),
    "an unknown kind of drift": ("drift_trigger", "always", ("drift_trigger", "'critical', 'warning' or 'never'", "value 'always'")),
    "a flag that YAML reads as no": ("drift_trigger", False, ("drift_trigger", "'critical', 'warning' or 'never'", "value False")),
    "an unknown sink": ("events.sinks", [{"type": "mail"}], ("events.sinks.0: type must be one of 'jsonl', 'webhook', 'redis'",)),
    "a sink that leaves the home": (
        "events.sinks", [{"type": "jsonl", "path": "../x"}], ("events.sinks.0.jsonl.path: ", "a file below artifacts/events/"),
    ),
    "a sink without a place": ("events.sinks", [{"type": "webhook"}], ("events.sinks", "give either url, or url_env")),
    "a sink with two places": (
        "events.sinks", [{"type": "redis", "url": "redis://127.0.0.1", "url_env": "X"}], ("events.sinks", "give either url, or url_env"),
    ),
    "a sink that waits for ever": (
        "events.sinks", [{"type": "webhook", "url": "http://127.0.0.1", "timeout_seconds": 61}], ("timeout_seconds", "less than"),
    ),
    "a variable that cannot be one": (
        "events.sinks", [{"type": "webhook", "url": "http://127.0.0.1", "secret_env": "MY KEY"}],
        ("secret_env", "the name of an environment variable, such as EVENTS_SECRET"),
    ),
    "a threshold range that is empty": (
        "reject_threshold", {"min_reject_rate": 0.3, "max_reject_rate": 0.2},
        ("reject_threshold", "min_reject_rate 0.3 must not exceed max_reject_rate 0.2"),
    ),
    "a gate range that is empty": (
        "gates", {"min_reject_rate": 0.31}, ("gates", "min_reject_rate 0.31 must not exceed max_reject_rate 0.3"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("key", "value", "parts"), BAD_VALUES.values(), ids=BAD_VALUES)
def test_a_bad_value_is_an_error_that_names_file_key_value_and_rule(
    tmp_path: Path, key: str, value: object, parts: tuple[str, ...]
) -> None:
    path = write(tmp_path, key, value)
    with pytest.raises(SettingsError) as caught:
        load_retrain_config(path)
    for part in (str(path), *parts):
        assert part in str(caught.value)


def test_a_range_of_one_value_is_allowed(tmp_path: Path) -> None:
    config = load_retrain_config(write(tmp_path, "reject_threshold", {"min_reject_rate": 0.2, "max_reject_rate": 0.2}))
    assert config.training.reject_threshold.min_reject_rate == config.training.reject_threshold.max_reject_rate == 0.2


def test_all_mistakes_of_a_file_are_listed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("auto_promot: true\nregression_tolerance: 5\nmin_improvement: -1\ndata_lookback_days: -3\n", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_retrain_config(path)
    for key in ("auto_promot", "regression_tolerance", "min_improvement", "data_lookback_days"):
        assert f"  - {key}: " in str(caught.value)


# --- Where events may go, and secrets that were written there by mistake ----------------------------------------------------------------

IN_THE_VARIABLE = "such a URL belongs into the variable that url_env names"
SECRETIVE: dict[str, tuple[object, str]] = {
    "a password in the URL of a webhook": ({"type": "webhook", "url": "https://ann:TOPSECRET@h.example/x"}, IN_THE_VARIABLE),
    "a user in the URL of a webhook": ({"type": "webhook", "url": "https://TOPSECRET@h.example/x"}, IN_THE_VARIABLE),
    "a token in the query of a webhook": ({"type": "webhook", "url": "https://h.example/x?key=TOPSECRET"}, IN_THE_VARIABLE),
    "a token in the fragment of a webhook": ({"type": "webhook", "url": "https://h.example/x#TOPSECRET"}, IN_THE_VARIABLE),
    "a URL without a scheme": ({"type": "webhook", "url": "ann:TOPSECRET@h.example"}, IN_THE_VARIABLE),
    "a password of redis": ({"type": "redis", "url": "redis://:TOPSECRET@127.0.0.1:6379/0"}, IN_THE_VARIABLE),
    "a password of redis in the query": ({"type": "redis", "url": "rediss://h.example/0?password=TOPSECRET"}, IN_THE_VARIABLE),
    "a URL with a password beside url_env": (
        {"type": "redis", "url": "redis://TOPSECRET", "url_env": "X"}, "give either url, or url_env",
    ),
    "a secret for a variable": ({"type": "webhook", "url_env": "X", "secret_env": "TOP-TOPSECRET"}, "the name of an environment variable"),
    "a URL for a variable": ({"type": "webhook", "url_env": "https://u:TOPSECRET@h"}, "url_env: Value error, must be the name of"),
    "a secret under an unknown key": ({"type": "webhook", "url_env": "X", "secret": "TOPSECRET"}, "secret: unknown key; remove it"),
    "a whole sink of an unknown type": ({"type": "https://u:TOPSECRET@h"}, "type must be one of 'jsonl', 'webhook', 'redis'"),
    "a sink without a type": ({"url": "https://u:TOPSECRET@h"}, "type"),
    "a sink that is a text": ("https://u:TOPSECRET@h", "events.sinks.0: "),
    "a list for a URL": ({"type": "webhook", "url": ["TOPSECRET"]}, "webhook.url: Input should be a valid string"),
    "a key without a space behind it": ({"type": "webhook", "url:https://u:TOPSECRET@h": None}, "(no name): unknown key"),
    "a URL for a path": ({"type": "jsonl", "path": "https://u:TOPSECRET@h"}, "must be a file below artifacts/events/"),
}  # fmt: skip


@pytest.mark.parametrize(("sink", "words"), SECRETIVE.values(), ids=SECRETIVE)
def test_a_secret_among_the_events_is_refused_and_never_printed(tmp_path: Path, sink: object, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_retrain_config(write(tmp_path, "events.sinks", [sink]))
    assert words in str(caught.value)
    assert "TOPSECRET" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("key", ["events", "event", "sinks", "events.sink", "events.sinks", "url"])
@pytest.mark.parametrize("value", ["TOPSECRET", ["TOPSECRET"], {"url": "TOPSECRET"}], ids=["text", "list", "mapping"])
def test_a_secret_is_not_printed_where_the_place_of_the_events_was_missed(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"  - {key}") as caught:
        load_retrain_config(write(tmp_path, key, value))
    assert "TOPSECRET" not in "".join(traceback.format_exception(caught.value))


def test_the_settings_of_events_alone_do_not_print_a_secret_either() -> None:
    with pytest.raises(ValidationError) as caught:
        EventSettings.model_validate({"sinks": [{"type": "redis", "url": "redis://:TOPSECRET@h"}]})
    assert "TOPSECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        *(("webhook", "http://127.0.0.1:8080/events"), ("webhook", "https://example.org/a/b%40c")),
        *(("redis", "redis://localhost:6379/0"), ("redis", "rediss://[::1]/1"), ("redis", "unix:///run/redis.sock")),
    ],
)
def test_a_url_that_holds_no_secret_may_stand_there(tmp_path: Path, kind: str, url: str) -> None:
    (sink,) = load_retrain_config(write(tmp_path, "events.sinks", [{"type": kind, "url": url}])).events.sinks
    assert sink.document["url"] == url


@pytest.mark.parametrize("path", ["artifacts/events/events.jsonl", "artifacts/events/mine/of today.jsonl", "./artifacts/events/x"])
def test_lines_of_events_may_go_below_the_folder_of_events(tmp_path: Path, path: str) -> None:
    (sink,) = load_retrain_config(write(tmp_path, "events.sinks", [{"type": "jsonl", "path": path}])).events.sinks
    assert sink.document["path"] == path


@pytest.mark.parametrize(
    "path",
    [
        *("", ".", "events.jsonl", "models/active_history.jsonl", "data/processed/labels_v1/labels.parquet", "artifacts/outbox/x"),
        *("artifacts/events", "artifacts/events/", "artifacts/eventsx/x", "x/artifacts/events/x", "artifacts/events/../decisions/x"),
        *("/artifacts/events/x", "/tmp/x", "../artifacts/events/x", "artifacts/events/.."),  # noqa: S108  # no file is made
    ],
)
def test_lines_of_events_may_go_nowhere_else_where_they_would_damage_a_file(tmp_path: Path, path: str) -> None:
    with pytest.raises(SettingsError, match=r"events\.sinks\.0\.jsonl\.path: .*such as artifacts/events/events\.jsonl"):
        load_retrain_config(write(tmp_path, "events.sinks", [{"type": "jsonl", "path": path}]))


# --- Configurations of earlier versions ---------------------------------------------------------------------------------------------


def test_a_recorded_configuration_is_read_back_as_it_was() -> None:
    config = retrain_config(anchor_tolerance=0.03, prove_reproducible=False, gates={"min_macro_f1": 0.61})
    assert complete_config(config.document) == config


def test_keys_that_a_recorded_configuration_does_not_know_have_the_present_defaults_and_unknown_ones_are_left_out() -> None:
    recorded = retrain_config(min_labels=50).document
    for key in ("evidence_policy", "min_windows"):
        del recorded[key]
    del recorded["gates"]["min_class_precision"]
    recorded |= {"of_a_later_version": 1}
    recorded["gates"] |= {"min_anything": 0.5}
    assert complete_config(recorded) == retrain_config(min_labels=50)


def test_a_recorded_configuration_that_is_out_of_bounds_is_an_error() -> None:
    with pytest.raises(ValidationError, match="regression_tolerance"):
        complete_config({**retrain_config().document, "regression_tolerance": 5.0})


def test_keys_that_say_when_to_run_and_whom_to_tell_are_no_part_of_what_is_recorded() -> None:
    policy = retrain_config().policy
    assert set(policy) == set(load_retrain_config().document) - OPERATIONAL
    assert {"gates", "train_params", "auto_promote", "data_lookback_days", "keep_versions"} <= set(policy)
    assert retrain_config(timeout_minutes=5, enabled=False, events={"sinks": []}).policy == policy
    assert retrain_config(min_labels=50).policy != policy


# --- The environment --------------------------------------------------------------------------------------------------------------

OVERRIDES = {
    "RETRAIN_SCHEDULE": ("schedule.cron", "5 4 * * *", "5 4 * * *"),
    "RETRAIN_ENABLED": ("enabled", "false", False),
    "RETRAIN_TIMEOUT_MINUTES": ("timeout_minutes", "45", 45),
    "RETRAIN_MIN_LABELS": ("min_new_labels", "12", 12),
    "RETRAIN_AUTO_PROMOTE": ("auto_promote", "true", True),
}


def test_these_variables_can_override_a_key() -> None:
    assert set(ENVIRONMENT) == set(OVERRIDES)


@pytest.mark.parametrize("variable", OVERRIDES)
def test_a_variable_overrides_its_key_and_nothing_else(variable: str) -> None:
    key, text, value = OVERRIDES[variable]
    config = load_retrain_config(environ={variable: text})
    assert get(config, key) == value != get(load_retrain_config(), key)
    assert find_overrides({variable: text}) == {key: (variable, value)}
    expected = load_retrain_config().document
    (expected["schedule"] if "." in key else expected)[key.rpartition(".")[2]] = value
    assert config.document == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("1", True), ("true", True), ("yes", True), ("on", True), (" TRUE ", True), ("Yes", True), ("oN", True)),
        *(("0", False), ("false", False), ("no", False), ("off", False), ("False", False), ("NO", False)),
    ],
)
def test_a_flag_may_be_written_in_the_usual_ways(text: str, value: bool) -> None:
    assert load_retrain_config(environ={"RETRAIN_AUTO_PROMOTE": text}).promotion.auto_promote is value


@pytest.mark.parametrize("text", ["010", "10", " 10 ", "+10"])
def test_a_number_is_decimal_also_with_a_zero_before_it(text: str) -> None:
    assert load_retrain_config(environ={"RETRAIN_TIMEOUT_MINUTES": text}).scheduling.timeout_minutes == 10


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_variable_overrides_nothing(text: str) -> None:
    assert load_retrain_config(environ=dict.fromkeys(OVERRIDES, text)) == load_retrain_config()


def test_a_variable_wins_over_a_file_of_ones_own(tmp_path: Path) -> None:
    path = write(tmp_path, "min_new_labels", 9)
    assert resolve_config(str(path), {"RETRAIN_MIN_LABELS": "12"}).scheduling.min_new_labels == 12
    assert resolve_config(None, {"TASKCLF_DAGSTER_CONFIG": str(path)}).scheduling.min_new_labels == 9


@pytest.mark.parametrize(
    ("variable", "text", "words"),
    [
        ("RETRAIN_MIN_LABELS", "many", "valid integer (value 'many')"),
        ("RETRAIN_MIN_LABELS", "0", "greater than or equal to 1 (value 0)"),
        ("RETRAIN_TIMEOUT_MINUTES", "1.5", "valid integer"),
        ("RETRAIN_TIMEOUT_MINUTES", "1:30", "valid integer (value '1:30')"),
        ("RETRAIN_TIMEOUT_MINUTES", "0x10", "valid integer (value '0x10')"),
        ("RETRAIN_TIMEOUT_MINUTES", "1e2", "valid integer (value '1e2')"),
        ("RETRAIN_TIMEOUT_MINUTES", "1_000", "valid integer (value '1_000')"),
        ("RETRAIN_TIMEOUT_MINUTES", "\u0661\u0662", "valid integer"),
        ("RETRAIN_MIN_LABELS", "9" * 5000, "valid integer"),
        ("RETRAIN_MIN_LABELS", "-3", "greater than or equal to 1 (value -3)"),
        ("RETRAIN_TIMEOUT_MINUTES", "[", "valid integer (value '[')"),
        ("RETRAIN_ENABLED", "maybe", "valid boolean (value 'maybe')"),
        ("RETRAIN_AUTO_PROMOTE", "2", "valid boolean (value '2')"),
        ("RETRAIN_SCHEDULE", "daily", "'daily' is no cron line of five fields"),
        ("RETRAIN_SCHEDULE", "0 25 * * *", "hour 25"),
    ],
)
def test_a_wrong_variable_is_an_error_that_names_it_with_key_and_value(variable: str, text: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_retrain_config(environ={variable: text})
    assert words in str(caught.value)
    assert f"the environment variable {variable} says so" in str(caught.value)


# --- Files that cannot be used ----------------------------------------------------------------------------------------------------


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.yaml is not a valid retrain configuration") as caught:
        load_retrain_config(tmp_path / "nowhere.yaml")
    assert "No such file" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"- a\n- b\n", "must be a mapping of keys to values, but is a list"),
        (b"just words\n", "must be a mapping of keys to values, but is a str"),
        (b"42\n", "must be a mapping of keys to values, but is a int"),
        (b"gates: [\n", "cannot be read as YAML"),
        (b"gates:\n\t- tab\n", "cannot be read as YAML"),
        (b"\xff\xfe\x00", "cannot be read as YAML"),
        (b"1: 2\n", "1: "),
    ],
    ids=["list", "text", "number", "unclosed", "tab", "bytes", "number as key"],
)
def test_a_file_that_is_no_mapping_is_an_error_that_says_what_it_is(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_retrain_config(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_a_line_that_is_no_yaml_is_named_by_its_number_and_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("min_labels: 50\nevents:\n  url:redis://:TOPSECRET@h\n  sinks: []\n", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_retrain_config(path)
    assert "cannot be read as YAML: " in str(caught.value)
    assert " in line " in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value))
    assert "TOPSECRET" not in shown


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read as YAML"):
        load_retrain_config(tmp_path)


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"min_labels: !!python/object/apply:pathlib.Path.touch ['{tmp_path}/touched']\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="cannot be read as YAML"):
        load_retrain_config(path)
    assert not (tmp_path / "touched").exists()


# --- The helper of the tests --------------------------------------------------------------------------------------------------------


def test_the_helper_of_the_tests_builds_what_a_file_would(tmp_path: Path) -> None:
    assert retrain_config() == load_retrain_config()
    built = retrain_config(min_labels=50, gates={"min_macro_f1": 0.1})
    path = tmp_path / "mine.yaml"
    path.write_text("min_labels: 50\ngates:\n  min_macro_f1: 0.1\n", encoding="utf-8")
    assert built == load_retrain_config(path)
    assert isinstance(built, RetrainConfig)
    with pytest.raises(ValidationError):
        retrain_config(min_labels=0)
