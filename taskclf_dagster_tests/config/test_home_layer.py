"""The settings file of a home: between the default file and a file of one's own, and nothing that protects against who writes the home."""

import os
from pathlib import Path

import pytest
import yaml

from taskclf_dagster.config.home_layer import PROTECTED, read_home_layer
from taskclf_dagster.config.loading import check_home_layer, list_overrides, list_sources, resolve_config, resolve_signing
from taskclf_dagster.config.yaml_files import MAX_BYTES, flatten
from taskclf_dagster.errors import SettingsError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.config.yaml_documents import everything_printed, get, kinds
from taskclf_dagster_tests.scenario import make_home
from taskclf_dagster_tests.signing import OWNER


def settle(home: Home, text: str) -> Home:
    """Writes the settings file of a home."""
    home.settings_file.write_text(text, encoding="utf-8")
    return home


def error_of(home: Home, chosen: Path | None = None, environ: dict[str, str] | None = None) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        resolve_config(None if chosen is None else str(chosen), home, environ or {})
    return caught.value


# --- Order ------------------------------------------------------------------------------------------------------------------------


def test_the_home_overrides_the_default_a_file_of_ones_own_the_home_and_the_environment_all_of_them(tmp_path: Path) -> None:
    home, own, environ = make_home(tmp_path), tmp_path / "own.yaml", {"RETRAIN_MIN_LABELS": "12"}
    assert resolve_config(None, home, {}) == resolve_config(None, None, {})
    settle(home, "min_new_labels: 6\ntimeout_minutes: 7\nenabled: false\n")
    own.write_text("min_new_labels: 9\ntimeout_minutes: 8\n", encoding="utf-8")
    expected = {"min_new_labels": 12, "timeout_minutes": 8, "enabled": False, "max_attempts": 3}
    config = resolve_config(str(own), home, environ)
    assert {key: get(config, key) for key in expected} == expected
    assert resolve_config(None, home, {"TASKCLF_DAGSTER_CONFIG": str(own)}).scheduling.timeout_minutes == 8
    assert resolve_config(None, home, {}).scheduling.min_new_labels == 6
    assert resolve_config(None, None, {}).scheduling.min_new_labels == 5


def test_inner_keys_of_all_layers_are_merged(tmp_path: Path) -> None:
    home, own = make_home(tmp_path), tmp_path / "own.yaml"
    settle(home, "gates: {min_macro_f1: 0.5, min_weighted_f1: 0.6}\n")
    own.write_text("gates: {min_weighted_f1: 0.55}\n", encoding="utf-8")
    gates = resolve_config(str(own), home, {}).evaluation.gates
    assert (gates.min_macro_f1, gates.min_weighted_f1, gates.min_class_precision) == (0.5, 0.55, 0.5)


def test_the_source_of_each_key_is_named_and_what_overrides_the_home(tmp_path: Path) -> None:
    home, own, environ = make_home(tmp_path), tmp_path / "own.yaml", {"RETRAIN_ENABLED": "true"}
    settle(home, "enabled: false\nmin_new_labels: 6\ntimeout_minutes: 7\n")
    own.write_text("timeout_minutes: 8\n", encoding="utf-8")
    others = {key: name for key, name in list_sources(str(own), home, environ).items() if name != "retrain.yaml"}
    overrides = {"enabled": "environment RETRAIN_ENABLED", "timeout_minutes": str(own)}
    assert others == {**overrides, "min_new_labels": str(home.settings_file)}
    assert list_overrides(str(own), environ) == overrides


def test_gates_of_the_home_are_part_of_the_recorded_policy_and_operational_keys_are_not(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    before = resolve_config(None, home, {}).policy
    assert resolve_config(None, settle(home, "enabled: false\n"), {}).policy == before
    assert resolve_config(None, settle(home, "gates: {min_macro_f1: 0.5}\n"), {}).policy != before


# --- What it may not set ----------------------------------------------------------------------------------------------------------


def test_keys_that_protect_against_who_writes_the_home_are_refused_and_no_value_is_repeated(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    values = {
        "signing": {"public_key": None, "private_key_file": "TOPSECRET"},
        "events": {"sinks": [{"type": "webhook", "url": "https://TOPSECRET.example.org"}]},
        "server": {"allowed_hosts": ["TOPSECRET.example.org"]},
        "execution": {"engine": "dask", "scheduler_address": "tcp://TOPSECRET.example.org:8786"},
    }
    assert set(values) == set(PROTECTED)
    for key, value in values.items():
        error = error_of(settle(home, yaml.safe_dump({key: value})))
        assert kinds(error) == [(key, "protected")]
        assert str(home.settings_file) in str(error)
        assert "TOPSECRET" not in everything_printed(error)


def test_where_promotions_are_signed_the_home_sets_nothing_that_shapes_them(tmp_path: Path) -> None:
    home, own = make_home(tmp_path), tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump({"signing": {"public_key": OWNER[1]}, "auto_promote": False}), encoding="utf-8")
    settle(home, "enabled: false\nauto_promote: true\ngates: {min_macro_f1: 0.0}\ntrain_params: {num_leaves: 9}\n")
    refused = {("auto_promote", "signed"), ("gates.min_macro_f1", "signed"), ("train_params.num_leaves", "signed")}
    assert set(kinds(error_of(home, own))) == refused
    assert get(resolve_config(None, home, {}), "gates.min_macro_f1") == 0.0  # nothing is signed there
    settle(home, "enabled: false\nmin_new_labels: 6\nschedule: {cron: '0 7 * * *'}\n")
    assert resolve_config(str(own), home, {}).scheduling.min_new_labels == 6


def test_every_key_of_the_default_file_is_either_protected_or_can_be_set(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    document = {key: value for key, value in resolve_config(None, None, {}).document.items() if key not in PROTECTED}
    settle(home, yaml.safe_dump(document))
    assert resolve_config(None, home, {}) == resolve_config(None, None, {})
    assert {key.partition(".")[0] for key, _ in flatten(document)} == set(resolve_config(None, None, {}).document) - set(PROTECTED)


# --- Files that cannot be used ----------------------------------------------------------------------------------------------------


def test_a_home_file_that_cannot_be_used_is_one_error_that_names_it_and_stops_no_signing(tmp_path: Path) -> None:
    damages = {
        "folder": lambda path: path.mkdir(),
        "pipe": os.mkfifo,
        "circle of links": lambda path: path.symlink_to(path),
        "half a line": lambda path: path.write_text("gates: [\n"),
        "no text": lambda path: path.write_bytes(b"\xff\x00"),
        "a list": lambda path: path.write_text("- a\n"),
        "too long": lambda path: path.write_bytes(b"#" * (MAX_BYTES + 1)),
        "an unknown key": lambda path: path.write_text("auto_promot: true\n"),
        "a value out of bounds": lambda path: path.write_text("min_labels: 0\n"),
    }
    for name, damage in damages.items():
        home = make_home(tmp_path / name)
        damage(home.settings_file)
        error = error_of(home)
        assert len(error.invalid) == 1, name
        assert str(error).count(str(home.settings_file)) == 1, name
        assert error.path == home.settings_file, name
    assert resolve_signing(None, {}).public_key == []


def test_an_empty_file_and_none_are_the_same(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    absent = read_home_layer(home)
    settle(home, "")
    assert (absent.document, absent.etag) == ({}, read_home_layer(home).etag)
    assert read_home_layer(settle(home, "# nothing yet\n")).document == {}
    assert read_home_layer(Home(tmp_path / "nowhere")).document == {}


def test_an_error_names_the_file_that_sets_the_key(tmp_path: Path) -> None:
    home, own = make_home(tmp_path), tmp_path / "own.yaml"
    settle(home, "min_labels: 0\n")
    own.write_text("max_attempts: 0\n", encoding="utf-8")
    error = error_of(home, own, {"RETRAIN_TIMEOUT_MINUTES": "0"})
    assert error.path == own
    lines = {invalid.key: invalid.message for invalid in error.invalid}
    assert [place in lines["min_labels"] for place in (str(home.settings_file), str(own))] == [True, False]
    assert [place in lines["max_attempts"] for place in (str(home.settings_file), str(own))] == [False, False]
    assert "RETRAIN_TIMEOUT_MINUTES" in lines["timeout_minutes"]


def test_two_layers_that_only_contradict_each_other_are_an_error(tmp_path: Path) -> None:
    home, own = make_home(tmp_path), tmp_path / "own.yaml"
    settle(home, "gates: {min_reject_rate: 0.2}\n")
    own.write_text("gates: {max_reject_rate: 0.1}\n", encoding="utf-8")
    assert kinds(error_of(home, own)) == [("gates", "value_error")]
    assert resolve_config(None, home, {}).evaluation.gates.min_reject_rate == 0.2


def test_a_value_that_something_overrides_is_checked_all_the_same(tmp_path: Path) -> None:
    home = settle(make_home(tmp_path), "timeout_minutes: 0\n")
    environ = {"RETRAIN_TIMEOUT_MINUTES": "5"}
    assert resolve_config(None, home, environ).scheduling.timeout_minutes == 5
    with pytest.raises(SettingsError) as caught:
        check_home_layer(read_home_layer(home), None, environ)
    assert kinds(caught.value) == [("timeout_minutes", "greater_than_equal")]
