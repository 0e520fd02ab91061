"""The environment variables that override a key."""

import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.config.environment import ENVIRONMENT, find_overrides
from taskclf_dagster.config.loading import load_retrain_config
from taskclf_dagster.config.yaml_files import flatten
from taskclf_dagster.errors import SettingsError
from taskclf_dagster_tests.config.yaml_documents import kinds

OVERRIDES = {
    "RETRAIN_SCHEDULE": ("schedule.cron", "5 4 * * *", "5 4 * * *"),
    "RETRAIN_ENABLED": ("enabled", "false", False),
    "RETRAIN_TIMEOUT_MINUTES": ("timeout_minutes", "45", 45),
    "RETRAIN_MIN_LABELS": ("min_new_labels", "12", 12),
    "RETRAIN_AUTO_PROMOTE": ("auto_promote", "true", True),
}
WRONG = {
    "RETRAIN_MIN_LABELS": (("many", "int_type"), ("0", "greater_than_equal"), ("-3", "greater_than_equal"), ("9" * 5000, "int_type")),
    "RETRAIN_TIMEOUT_MINUTES": tuple((text, "int_type") for text in ("1.5", "1:30", "0x10", "1e2", "1_000", "\u0661\u0662", "[")),
    "RETRAIN_ENABLED": (("maybe", "bool_type"),),
    "RETRAIN_AUTO_PROMOTE": (("2", "bool_type"),),
    "RETRAIN_SCHEDULE": (("daily", "value_error"), ("0 25 * * *", "value_error"), ("5", "value_error")),
}


def environment_error(variable: str, text: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load_retrain_config(environ={variable: text})
    return caught.value


def test_a_variable_overrides_its_key_and_nothing_else() -> None:
    assert set(ENVIRONMENT) == set(OVERRIDES)
    plain = dict(flatten(load_retrain_config().document))
    for variable, (key, text, value) in OVERRIDES.items():
        assert plain[key] != value
        assert dict(flatten(load_retrain_config(environ={variable: text}).document)) == plain | {key: value}
        assert find_overrides({variable: text}) == {key: (variable, value)}


def test_all_variables_override_together() -> None:
    loaded = dict(flatten(load_retrain_config(environ={name: text for name, (_, text, _) in OVERRIDES.items()}).document))
    assert {key: loaded[key] for key, _, _ in OVERRIDES.values()} == {key: value for key, _, value in OVERRIDES.values()}


def test_a_flag_may_be_written_in_the_usual_ways() -> None:
    for value, texts in ((True, ("1", "true", "yes", "on", " TRUE ", "Yes", "oN")), (False, ("0", "false", "no", "off", "False", "NO"))):
        loaded = {text: load_retrain_config(environ={"RETRAIN_AUTO_PROMOTE": text}).promotion.auto_promote for text in texts}
        assert loaded == dict.fromkeys(texts, value)


def test_a_number_is_decimal_also_with_a_zero_before_it() -> None:
    for text in ("010", "10", " 10 ", "+10"):
        assert load_retrain_config(environ={"RETRAIN_TIMEOUT_MINUTES": text}).scheduling.timeout_minutes == 10


def test_an_empty_variable_overrides_nothing() -> None:
    for text in ("", "  "):
        assert load_retrain_config(environ=dict.fromkeys(OVERRIDES, text)) == load_retrain_config()


def test_a_wrong_variable_is_an_error_that_names_it_with_key_and_kind() -> None:
    found = {}
    for variable, cases in WRONG.items():
        for text, kind in cases:
            error = environment_error(variable, text)
            if kinds(error) != [(ENVIRONMENT[variable], kind)] or variable not in str(error):
                found[variable, text[:20]] = str(error)
    assert found == {}


def test_the_message_names_the_variable_and_its_value(snapshot: SnapshotAssertion) -> None:
    (invalid,) = environment_error("RETRAIN_TIMEOUT_MINUTES", "1:30").invalid
    assert str(invalid) == snapshot
