"""Loading: the default file, a file of your own, and the order in which they override."""

from pathlib import Path

import pytest
import yaml

from taskclf_dagster.config.loading import list_sources, load_retrain_config, resolve_config
from taskclf_dagster.config.settings import RetrainConfig
from taskclf_dagster.config.shipped import DEFAULT_CONFIG_PATH, find_shipped
from taskclf_dagster.config.yaml_files import flatten
from taskclf_dagster.errors import SettingsError
from taskclf_dagster_tests.config.yaml_documents import everything_printed, get, kinds, load_error, write

CONTRACT = {
    "global_retrain_cadence_days": 7, "calibrator_update_cadence_days": 7, "data_lookback_days": 30, "min_labels": 200,
    "regression_tolerance": 0.02, "min_improvement": 0.0, "require_baseline_improvement": True, "auto_promote": False,
    "train_params.num_boost_round": 100, "train_params.num_leaves": 7, "train_params.learning_rate": 0.1,
    "training_lookback_days": 365, "refit": True, "search": "auto", "search_budget": 6.0, "search_cadence_days": 30,
    "evidence_policy": "point", "significance": 0.05, "min_user_days": 5, "min_windows": 300, "max_leaked_share": 0.30,
    "clearly_worse_margin": 0.05, "slice_gate": False, "min_slice_windows": 100,
    "max_negative_flips": None, "max_flip_excess": 0.01, "anchor_tolerance": None,
    "prove_reproducible": "auto", "keep_versions": 10, "keep_rejected": 10,
    "gates.min_macro_f1": 0.65, "gates.min_weighted_f1": 0.70, "gates.min_class_precision": 0.50,
    "gates.min_breakidle_precision": 0.95, "gates.min_breakidle_recall": 0.90, "gates.min_reject_rate": 0.05,
    "gates.max_reject_rate": 0.30, "gates.min_seen_user_f1": 0.70, "gates.min_unseen_user_f1": 0.60,
}  # fmt: skip


# --- The default file -------------------------------------------------------------------------------------------------------------


def test_the_values_of_the_contract_are_the_defaults() -> None:
    config = load_retrain_config()
    assert config == load_retrain_config(DEFAULT_CONFIG_PATH)
    assert type(config) is RetrainConfig
    assert {key: get(config, key) for key in CONTRACT} == CONTRACT


def test_every_shipped_file_loads() -> None:
    files = [path for path in sorted(DEFAULT_CONFIG_PATH.parent.glob("*.yaml")) if not path.name.startswith("dagster")]  # of instances
    assert {path.name for path in files} >= {"retrain.yaml", "demo.yaml"}
    for path in files:
        load_retrain_config(path)
    assert load_retrain_config(DEFAULT_CONFIG_PATH.parent / "demo.yaml").promotion.auto_promote


def test_the_default_file_has_every_key() -> None:
    shipped = yaml.safe_load(DEFAULT_CONFIG_PATH.read_text(encoding="utf-8"))
    assert set(dict(flatten(shipped))) == set(dict(flatten(load_retrain_config().document)))


# --- Files of your own ------------------------------------------------------------------------------------------------------------


def test_a_partial_file_keeps_everything_else(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("min_labels: 50\ntrain_params:\n  num_boost_round: 7\n", encoding="utf-8")
    expected = dict(flatten(load_retrain_config().document)) | {"min_labels": 50, "train_params.num_boost_round": 7}
    assert dict(flatten(load_retrain_config(path).document)) == expected


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for text in ("", "\n", "# nothing but a comment\n", "---\n"):
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
    for key, value in flatten(yaml.safe_load(path.read_text(encoding="utf-8"))):
        assert get(config, key) == value
    assert config.training.train_params.num_leaves == load_retrain_config().training.train_params.num_leaves


def test_the_shipped_settings_of_the_original_tool_train_as_it_does() -> None:
    config = load_retrain_config(find_shipped("configs/original.yaml"))
    params = config.training.train_params
    assert (params.num_leaves, params.feature_fraction, params.num_boost_round, params.learning_rate) == (31, 1.0, 100, 0.1)
    assert (config.training.refit, config.dataset.training_lookback_days) == (False, config.dataset.data_lookback_days)
    assert config.policy.keys() == load_retrain_config().policy.keys()


def test_the_chosen_file_goes_before_that_of_the_variable_and_the_environment_before_both(tmp_path: Path) -> None:
    chosen = write(tmp_path, "min_new_labels", 9)
    (tmp_path / "other").mkdir()
    other = write(tmp_path / "other", "min_new_labels", 8)
    environ = {"TASKCLF_DAGSTER_CONFIG": str(other)}
    assert resolve_config(None, None, environ).scheduling.min_new_labels == 8
    assert resolve_config(str(chosen), None, environ).scheduling.min_new_labels == 9
    assert resolve_config(str(chosen), None, environ | {"RETRAIN_MIN_LABELS": "12"}).scheduling.min_new_labels == 12


def test_a_relative_path_starts_at_the_folder_of_the_caller_whichever_way_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own.yaml").write_text("min_new_labels: 31\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path / "mine")
    assert resolve_config("own.yaml", None, {}).scheduling.min_new_labels == 31
    assert resolve_config(None, None, {"TASKCLF_DAGSTER_CONFIG": "../mine/own.yaml"}).scheduling.min_new_labels == 31
    with pytest.raises(SettingsError):
        resolve_config("configs/demo.yaml", None, {})


def test_the_source_of_each_key_is_known(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("min_labels: 50\nenabled: false\ntrain_params: {num_leaves: 15}\n", encoding="utf-8")
    sources = list_sources(str(path), None, {"RETRAIN_ENABLED": "true", "RETRAIN_SCHEDULE": "5 4 * * *", "RETRAIN_MIN_LABELS": " "})
    assert set(sources) == set(dict(flatten(load_retrain_config().document)))
    others = {key: source for key, source in sources.items() if source != "retrain.yaml"}
    assert others == {
        "min_labels": str(path),
        "train_params.num_leaves": str(path),
        "enabled": "environment RETRAIN_ENABLED",
        "schedule.cron": "environment RETRAIN_SCHEDULE",
    }


# --- Files that cannot be used ----------------------------------------------------------------------------------------------------

UNUSABLE = {
    "a list": (b"- a\n- b\n", "mapping"),
    "a text": (b"just words\n", "mapping"),
    "a number": (b"42\n", "mapping"),
    "an open bracket": (b"gates: [\n", "yaml"),
    "a tab": (b"gates:\n\t- tab\n", "yaml"),
    "bytes": (b"\xff\xfe\x00", "yaml"),
    "a number as a key": (b"1: 2\n", "yaml"),
    "an inner number as a key": (b"gates: {1: 2}\n", "yaml"),
    "a key twice": (b"min_labels: 1\nmin_labels: 2\n", "yaml"),
    "an inner key twice": (b"gates: {min_macro_f1: 0.1, min_macro_f1: 0.2}\n", "yaml"),
    "a list as a key": (b"? [a]\n: 1\n", "yaml"),
}


def test_a_file_that_cannot_be_used_is_an_error_that_names_it(tmp_path: Path) -> None:
    found = {}
    path = tmp_path / "mine.yaml"
    for name, (content, kind) in UNUSABLE.items():
        path.write_bytes(content)
        error = load_error(path)
        if kinds(error) != [("", kind)] or str(path) not in str(error):
            found[name] = str(error)
    assert found == {}


@pytest.mark.parametrize("name", ["nowhere.yaml", ".", "circle.yaml"], ids=["missing", "folder", "circle of links"])
def test_a_file_that_cannot_be_read_is_an_error_of_one_line_that_names_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "circle.yaml").symlink_to(tmp_path / "circle.yaml")
    error = load_error(tmp_path / name)
    assert kinds(error) == [("", "file")]
    assert str(error).count(str(tmp_path / name)) == 1
    assert str(error).count("\n") == 0


def test_a_line_that_is_not_yaml_is_named_by_its_number_and_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("min_labels: 50\nevents:\n  url:redis://:TOPSECRET@h\n  sinks: []\n", encoding="utf-8")
    error = load_error(path)
    assert "in line 4" in str(error)
    assert "TOPSECRET" not in everything_printed(error)


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"min_labels: !!python/object/apply:pathlib.Path.touch ['{tmp_path}/touched']\n", encoding="utf-8")
    assert kinds(load_error(path)) == [("", "yaml")]
    assert not (tmp_path / "touched").exists()
