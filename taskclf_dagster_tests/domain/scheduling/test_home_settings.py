"""The settings of a home are changed as a whole or not at all, recorded, and never by someone who has not seen the present ones."""

import json
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from taskclf_dagster.config.loading import resolve_config
from taskclf_dagster.config.yaml_files import flatten
from taskclf_dagster.domain.scheduling.home_settings import EDITABLE, HomeSettings, change_home_settings, read_home_settings
from taskclf_dagster.domain.scheduling.settings_changes import SettingsChange, find_unrecorded, read_changes
from taskclf_dagster.domain.storage.filesystem import use_file_system
from taskclf_dagster.errors import HomeNotFoundError, SettingsError, StaleSettingsError, UnsafeFileSystemError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.config.yaml_documents import kinds
from taskclf_dagster_tests.faults.crash_model import RecordingFileSystem, crash_states
from taskclf_dagster_tests.faults.injection import FAULTS, FailingFileSystem, Killed, read_tree, write_tree
from taskclf_dagster_tests.models import contents
from taskclf_dagster_tests.scenario import make_home
from taskclf_dagster_tests.signing import OWNER

NOW = datetime(2026, 2, 5, 12, 30, tzinfo=UTC)
BEFORE = "# Ann's\nmin_new_labels: 7  # enough\ngates:\n  min_macro_f1: 0.6\n"
AFTER = BEFORE.replace("7  #", "9  #").replace("0.6", "0.5")
CHANGE: Mapping[str, object] = {"min_new_labels": 9, "gates": {"min_macro_f1": 0.5}}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def change(home: Home, changes: Mapping[str, object], *, etag: str | None = None, own: Path | None = None) -> HomeSettings:
    path = None if own is None else str(own)
    return change_home_settings(home, changes, etag=etag, who="ann", via="command line", at=NOW, config_path=path)


def refused(home: Home, changes: Mapping[str, object], *, own: Path | None = None) -> list[tuple[str, str]]:
    """Returns what is refused, after a check that the home is as it was."""
    home.settings_lock.touch()
    before = contents(home.root)
    with pytest.raises(SettingsError) as caught:
        change(home, changes, own=own)
    assert contents(home.root) == before
    return kinds(caught.value)


def told(home: Home) -> list[tuple[str | None, str, str, object, object]]:
    return [(each.who, each.via, each.key, each.before, each.after) for each in read_changes(home)]


def values(home: Home) -> dict[str, object]:
    return dict(flatten(yaml.safe_load(home.settings_file.read_text(encoding="utf-8")) or {}))


# --- Reading ----------------------------------------------------------------------------------------------------------------------


def test_every_editable_key_has_value_source_default_and_what_overrides_it(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("timeout_minutes: 8\n", encoding="utf-8")
    monkeypatch.setenv("RETRAIN_ENABLED", "false")
    home.settings_file.write_text(BEFORE + "enabled: true\n", encoding="utf-8")
    found = read_home_settings(home, str(own))
    assert list(found.settings) == list(EDITABLE)
    labels, enabled, timeout = (found.settings[key] for key in ("min_new_labels", "enabled", "timeout_minutes"))
    assert (labels.value, labels.default, labels.home_value, labels.in_home) == (7, 5, 7, True)
    assert (labels.source, labels.overridden_by) == (str(home.settings_file), None)
    assert (enabled.value, enabled.home_value, enabled.overridden_by) == (False, True, "environment RETRAIN_ENABLED")
    assert (timeout.value, timeout.in_home, timeout.home_value, timeout.overridden_by) == (8, False, None, str(own))
    assert str(own) in timeout.takes_effect


def test_the_editable_keys_are_those_of_the_configuration_that_a_person_tunes(home: Home) -> None:
    shipped = dict(flatten(resolve_config(None, None, {}).document))
    assert [key for key in EDITABLE if key not in shipped] == []
    assert {key for key in shipped if key.startswith("gates.")} < set(EDITABLE)
    assert [
        key for key in EDITABLE if key.partition(".")[0] in ("events", "signing", "server", "execution", "train_params", "advice")
    ] == []
    effects = {key: setting.effect for key, setting in read_home_settings(home).settings.items()}
    assert {key for key, effect in effects.items() if effect == "next_load"} == {"schedule.cron", "schedule.timezone"}
    assert {key for key, effect in effects.items() if effect == "next_tick"} == {"enabled", "min_new_labels"}


# --- Changing ---------------------------------------------------------------------------------------------------------------------


def test_a_change_keeps_comments_and_other_keys_and_is_recorded_by_key(home: Home) -> None:
    home.settings_file.write_text(BEFORE + "search: 'off'\n", encoding="utf-8")
    made = change(home, {**CHANGE, "auto_promote": True})
    expected = AFTER + "search: 'off'\nauto_promote: true\n"
    assert home.settings_file.read_text(encoding="utf-8") == expected
    assert made.settings["min_new_labels"].value == resolve_config(None, home, {}).scheduling.min_new_labels == 9
    assert told(home)[-3:] == [
        ("ann", "command line", "min_new_labels", 7, 9),
        ("ann", "command line", "gates.min_macro_f1", 0.6, 0.5),
        ("ann", "command line", "auto_promote", None, True),
    ]
    assert [change.at for change in read_changes(home)] == [NOW] * 6
    lines = home.settings_changes.read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["at"] for line in lines} == {"2026-02-05T12:30:00Z"}


def test_null_removes_a_key_so_that_the_default_holds(home: Home) -> None:
    change(home, {**CHANGE, "anchor_tolerance": 0.1})
    made = change(home, {"min_new_labels": None, "gates.min_macro_f1": None, "anchor_tolerance": None, "enabled": None})
    assert values(home) == {}
    assert [made.settings[key].value for key in ("min_new_labels", "gates.min_macro_f1", "anchor_tolerance")] == [5, 0.65, None]
    assert [each[2:] for each in told(home)[3:]] == [
        ("min_new_labels", 9, None),
        ("gates.min_macro_f1", 0.5, None),
        ("anchor_tolerance", 0.1, None),
    ]


def test_what_is_so_already_is_neither_written_nor_recorded(home: Home) -> None:
    etag = change(home, CHANGE).etag
    before = contents(home.root)
    assert change(home, CHANGE).etag == etag
    assert contents(home.root) == before


def test_a_key_that_something_overrides_is_changed_all_the_same(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETRAIN_MIN_LABELS", "30")
    setting = change(home, {"min_new_labels": 9}).settings["min_new_labels"]
    assert (setting.value, setting.home_value, setting.overridden_by) == (30, 9, "environment RETRAIN_MIN_LABELS")


# --- Refusing ---------------------------------------------------------------------------------------------------------------------


def test_a_change_with_one_wrong_value_changes_nothing(home: Home) -> None:
    home.settings_file.write_text(BEFORE, encoding="utf-8")
    cases: list[tuple[Mapping[str, object], str, str]] = [
        ({"enabled": False, "timeout_minutes": 1441}, "timeout_minutes", "less_than_equal"),
        ({"min_new_labels": "9"}, "min_new_labels", "int_type"),
        ({"min_new_labels": True}, "min_new_labels", "int_type"),
        ({"gates": {"min_macro_f1": math.nan}}, "gates.min_macro_f1", "finite_number"),
        ({"gates": {"min_reject_rate": 0.31}}, "gates", "value_error"),
        ({"schedule": {"cron": "0 6 * * *\nenabled: false"}}, "schedule.cron", "value_error"),
        ({"schedule.cron": "\ud800"}, "schedule.cron", "value_error"),
        ({"floor_policy": ["strict"]}, "floor_policy", "literal_error"),
    ]
    for changes, key, kind in cases:
        assert refused(home, changes) == [(key, kind)], changes


def test_keys_that_are_not_editable_are_refused_by_name(home: Home) -> None:
    for key in ("signing.public_key", "events.sinks", "server.url", "min_labels", "gates", "gates.min_macro_f2", "nothing"):
        assert refused(home, {key: None, "enabled": False}) == [(key, "not_editable")], key


def test_the_refusal_of_a_key_says_what_to_do_instead(home: Home) -> None:
    said = {
        "min_new_lables": "unknown key; did you mean min_new_labels?",
        "min_macro_f1": "unknown key; did you mean gates.min_macro_f1?",
        "zzz": "unknown key",
        "gates": "a group of keys; change those in it, such as gates.",
        "max_attempts": "write it into the file itself",
        "server.url": "write it into the file that --config",
    }
    for key, words in said.items():
        with pytest.raises(SettingsError) as error:
            change(home, {key: 1})
        assert words in str(error.value), key


def test_a_value_is_refused_that_contradicts_what_overrides_the_home(home: Home, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("gates: {max_reject_rate: 0.1}\n", encoding="utf-8")
    assert refused(home, {"gates.min_reject_rate": 0.2}, own=own) == [("gates", "value_error")]


def test_where_promotions_are_signed_only_operational_keys_are_changed(home: Home, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump({"signing": {"public_key": OWNER[1]}}), encoding="utf-8")
    assert refused(home, {"auto_promote": True}, own=own) == [("auto_promote", "signed")]
    settings = change(home, {"min_new_labels": 9}, own=own).settings
    assert settings["min_new_labels"].value == 9
    assert {key for key, setting in settings.items() if setting.locked is None} == {
        "enabled", "schedule.cron", "schedule.timezone", "timeout_minutes", "min_new_labels",
    }  # fmt: skip


def test_a_damaged_file_is_not_edited_and_a_wrong_value_is_corrected(home: Home) -> None:
    home.settings_file.write_text("gates: [\n", encoding="utf-8")
    assert refused(home, CHANGE) == [("", "yaml")]
    home.settings_file.write_text("enabled: 1\nmin_new_labels: 7\n", encoding="utf-8")
    assert refused(home, {"min_new_labels": 9}) == [("enabled", "bool_type")]
    assert change(home, {"enabled": True}).settings["enabled"].value is True


def test_a_link_is_not_replaced(home: Home, tmp_path: Path) -> None:
    target = tmp_path / "settings.yaml"
    target.write_text("min_new_labels: 7\n", encoding="utf-8")
    home.settings_file.symlink_to(target)
    assert read_home_settings(home).settings["min_new_labels"].value == 7
    assert refused(home, {"min_new_labels": 9}) == [("", "link")]


def test_a_folder_that_is_no_home_is_not_written_into(tmp_path: Path) -> None:
    with pytest.raises(HomeNotFoundError):
        change(Home(tmp_path), {"enabled": False})
    assert list(tmp_path.iterdir()) == []


# --- Several writers --------------------------------------------------------------------------------------------------------------


def test_who_has_not_seen_the_present_file_changes_nothing(home: Home) -> None:
    first = read_home_settings(home).etag
    second = change(home, {"min_new_labels": 9}, etag=first).etag
    with pytest.raises(StaleSettingsError) as caught:
        change(home, {"min_new_labels": 10}, etag=first)
    assert caught.value.etag == second
    assert values(home) == {"min_new_labels": 9}
    assert len(told(home)) == 1


def test_of_writers_at_the_same_time_each_keeps_what_the_others_wrote(home: Home) -> None:
    keys = [key for key in EDITABLE if key.startswith("gates.") and key not in ("gates.min_reject_rate", "gates.max_reject_rate")]
    with ThreadPoolExecutor(len(keys)) as pool:
        list(pool.map(lambda key: change(home, {key: 0.5}), keys))
    assert values(home) == dict.fromkeys(keys, 0.5)
    assert {key for _, _, key, _, _ in told(home)} == set(keys)
    assert len(told(home)) == len(keys)


def test_of_writers_that_have_seen_the_same_file_one_wins(home: Home) -> None:
    etag = read_home_settings(home).etag

    def write(number: int) -> bool:
        try:
            change(home, {"min_new_labels": number}, etag=etag)
        except StaleSettingsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, range(10, 18))) == 1
    assert len(told(home)) == 1


# --- Edits of the file by hand ----------------------------------------------------------------------------------------------------


def test_what_was_edited_in_the_file_is_recorded_with_the_next_change(home: Home) -> None:
    change(home, {"min_new_labels": 9})
    home.settings_file.write_text("timeout_minutes: 20\nsearch: 'off'\n", encoding="utf-8")
    assert find_unrecorded(read_changes(home), values(home)) == {
        "min_new_labels": (9, None), "timeout_minutes": (None, 20), "search": (None, "off"),
    }  # fmt: skip
    change(home, {"timeout_minutes": 25})
    assert told(home)[1:] == [
        (None, "file", "min_new_labels", 9, None),
        (None, "file", "timeout_minutes", None, 20),
        (None, "file", "search", None, "off"),
        ("ann", "command line", "timeout_minutes", 20, 25),
    ]
    assert find_unrecorded(read_changes(home), values(home)) == {}


def test_damaged_lines_of_the_record_are_passed_over_and_a_torn_one_takes_no_other_with_it(home: Home) -> None:
    change(home, {"min_new_labels": 9})
    with home.settings_changes.open("ab") as file:
        file.write(b'\xff\n[]\n{"at": 1}\n{"at": "2026-02-05T12:3')
    change(home, {"min_new_labels": 10})
    assert [after for *_, after in told(home)] == [9, 10]


def test_a_long_name_is_cut(home: Home) -> None:
    change_home_settings(home, {"enabled": False}, etag=None, who="x" * 10_000, via="api", at=NOW)
    (recorded,) = read_changes(home)
    assert recorded.who == "x" * 200


# --- Crashes ----------------------------------------------------------------------------------------------------------------------


def test_wherever_a_change_is_killed_or_fails_the_file_is_the_old_or_the_new_one_and_the_next_change_works(tmp_path: Path) -> None:
    found = {}
    for name in ("killed", "killed halfway", "ENOSPC", "EIO", "EIO though done"):
        for number in range(1, 40):
            home = make_home(tmp_path / f"{name} {number}")
            home.settings_file.write_text(BEFORE, encoding="utf-8")
            failing = FailingFileSystem(number, FAULTS[name])
            try:
                with use_file_system(failing):
                    change(home, CHANGE)
            except (Killed, OSError, UnsafeFileSystemError):
                pass
            if not failing.reached and len(failing.calls) < number:
                break
            text = home.settings_file.read_text(encoding="utf-8")
            change(home, {"timeout_minutes": 20})
            unrecorded = find_unrecorded(read_changes(home), values(home))
            if text not in (BEFORE, AFTER) or unrecorded or values(home)["timeout_minutes"] != 20:
                found[name, number] = (text, unrecorded)
        assert number > 5, name
    assert found == {}


def test_after_a_power_loss_a_change_that_is_there_is_recorded_and_one_that_returned_is_there(home: Home, tmp_path: Path) -> None:
    home.settings_file.write_text(BEFORE, encoding="utf-8")
    change(home, {"timeout_minutes": 20})
    tree, recorder = read_tree(home.root), RecordingFileSystem(home.root)
    with use_file_system(recorder):
        change(home, CHANGE)
    states = list(crash_states(tree, recorder.changes))
    assert len(states) > 3
    for number, (made, state) in enumerate(states):
        left = Home(tmp_path / str(number))
        write_tree(left.root, state)
        is_there = values(left)["min_new_labels"] == 9
        assert values(left)["gates.min_macro_f1"] == (0.5 if is_there else 0.6)
        recorded = {(each.key, each.after) for each in read_changes(left) if each.via == "command line"}
        if is_there:
            assert {("min_new_labels", 9), ("gates.min_macro_f1", 0.5)} <= recorded
        if made == len(recorder.changes):
            assert is_there


def test_the_time_of_a_change_is_kept_in_utc(home: Home) -> None:
    at = NOW.astimezone(tz=None) + timedelta(0)
    change_home_settings(home, {"enabled": False}, etag=None, who=None, via="api", at=at)
    assert read_changes(home) == [SettingsChange(at=NOW, who=None, via="api", key="enabled", before=None, after=False)]
