"""Configurations in records, also of earlier versions."""

import pytest
from pydantic import TypeAdapter, ValidationError

from taskclf_dagster.config.loading import load_retrain_config
from taskclf_dagster.config.recorded import RecordedConfig, complete_config
from taskclf_dagster.config.settings import OPERATIONAL, RetrainConfig, TrainParams
from taskclf_dagster_tests.scenario import retrain_config


def test_a_recorded_configuration_is_read_back_as_it_was() -> None:
    config = retrain_config(anchor_tolerance=0.03, prove_reproducible=False, gates={"min_macro_f1": 0.61})
    assert complete_config(config.document) == config


def test_a_record_holds_the_policy_and_is_completed_with_the_defaults_when_it_is_read() -> None:
    config = retrain_config(min_labels=50, enabled=False)
    adapter = TypeAdapter(RecordedConfig)
    written = adapter.dump_json(config)
    assert set(adapter.dump_python(config)) == set(config.document) - OPERATIONAL
    assert adapter.validate_json(written) == retrain_config(min_labels=50)


def test_missing_keys_get_the_present_defaults_and_unknown_ones_are_left_out() -> None:
    recorded = retrain_config(min_labels=50).document
    for key in ("evidence_policy", "min_windows"):
        del recorded[key]
    del recorded["gates"]["min_class_precision"]  # type: ignore[attr-defined]
    recorded |= {"of_a_later_version": 1}
    recorded["gates"] |= {"min_anything": 0.5}  # type: ignore[operator]
    assert complete_config(recorded) == retrain_config(min_labels=50)


def test_a_recorded_configuration_that_is_out_of_bounds_is_an_error() -> None:
    with pytest.raises(ValidationError) as caught:
        complete_config({**retrain_config().document, "regression_tolerance": 5.0})
    assert [(error["loc"][-1], error["type"]) for error in caught.value.errors()] == [("regression_tolerance", "less_than_equal")]


DOCUMENTED = {
    "global_retrain_cadence_days": 7,
    "calibrator_update_cadence_days": 7,
    "data_lookback_days": 30,
    "regression_tolerance": 0.02,
    "require_baseline_improvement": True,
    "auto_promote": False,
    "min_improvement": 0.0,
}
"""The defaults that taskclf documents (contract, section 11)."""


def test_a_configuration_made_without_a_value_has_the_documented_defaults_which_are_those_of_the_shipped_file() -> None:
    config = RetrainConfig()  # type: ignore[call-arg]
    assert config == load_retrain_config()
    assert {key: getattr(config, key) for key in DOCUMENTED} == DOCUMENTED
    assert {key: config.document[key] for key in DOCUMENTED} == DOCUMENTED
    params = TrainParams()  # type: ignore[call-arg]
    assert params == config.train_params
    assert (params.num_boost_round, params.class_weight) == (100, "balanced")


def test_what_is_given_replaces_the_default_alone_and_is_checked() -> None:
    config = RetrainConfig(auto_promote=True, train_params={"num_boost_round": 7})  # type: ignore[call-arg]
    assert config == load_retrain_config().with_changes(auto_promote=True, train_params={"num_boost_round": 7})
    assert TrainParams(num_boost_round=7, class_weight="none").num_leaves == TrainParams().num_leaves  # type: ignore[call-arg]
    for wrong in ({"regression_tolerance": 5.0}, {"auto_promot": True}, {"train_params": {"rounds": 1}}):
        with pytest.raises(ValidationError):
            RetrainConfig(**wrong)
