"""The drift check on a real home: what it finds, what it writes, and that one drift requests one retrain."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from taskclf_dagster.domain.data.feature_schema import SCHEMAS
from taskclf_dagster.domain.data.label_queue import add_to_label_queue
from taskclf_dagster.domain.events.outbox import read_outbox
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.domain.scheduling.drift_trigger import find_drift_trigger
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.drift_scenario import (
    FIRST_DRIFTED,
    THREE_INPUTS,
    at_day,
    change_days,
    check,
    evaluation,
    forget_labels,
    shift_inputs,
    watched_home,
)
from taskclf_dagster_tests.models import edit_json
from taskclf_dagster_tests.retrain_scenario import Learned
from taskclf_dagster_tests.scenario import AS_OF, a_drift_report, day_file, learnable_home

SUSPECT, CONFIRMED, LASTING = FIRST_DRIFTED + 2, FIRST_DRIFTED + 3, FIRST_DRIFTED + 4
"""Days on which the shifted home is judged: the first on which enough of the week is shifted, and the two after it."""


@pytest.fixture(scope="module")
def _prepared(learned: Learned, tmp_path_factory: pytest.TempPathFactory) -> Home:
    return watched_home(learned, tmp_path_factory.mktemp("drift"))


@pytest.fixture
def home(_prepared: Home, tmp_path: Path) -> Iterator[Home]:
    shutil.copytree(_prepared.root, tmp_path / "home")
    yield Home(tmp_path / "home")
    shutil.rmtree(tmp_path / "home")


def _a_break(home: Home) -> dict[str, object]:
    """The inputs of a window that is labeled as a break."""
    (start, *_) = (row["start_ts"] for row in pq.read_table(home.labels).to_pylist() if row["label"] == "BreakIdle")
    (row, *_) = (row for row in pq.read_table(day_file(home, start.date())).to_pylist() if row["bucket_start_ts"] == start)
    return {name: row[name] for name in SCHEMAS["v1"].model_inputs if name != "user_id"}


def triggers(home: Home, severity: str = "critical") -> str | None:
    found = find_drift_trigger(home, severity=severity, now=at_day(60))
    return None if found is None else found.key


def test_a_quiet_week_raises_nothing_and_its_report_has_the_keys_of_taskclf(home: Home) -> None:
    report = check(home, 9)
    assert (report.outcome, report.summary, report.alerts) == ("judged", "No drift detected.", [])
    assert (report.windows, report.reference_windows) == (2240, 2720)
    assert sorted(home.drift_reports.glob("*.json")) == []
    written, original = evaluation(home, 9), a_drift_report(AS_OF)
    assert set(original) <= set(written)
    for key in ("feature_report", "reject_rate_drift", "entropy_drift", "class_shift", "telemetry_snapshot"):
        assert set(original[key]) <= set(written[key]), key
    assert set(original["feature_report"]["results"][0]) <= set(written["feature_report"]["results"][0])


def test_a_drift_is_suspected_then_confirmed_once_then_lasts_and_moves_no_pointer(home: Home) -> None:
    change_days(home, shift_inputs)
    active = read_active(home)
    first = check(home, SUSPECT)
    assert set(first.drifted) >= set(THREE_INPUTS)
    assert {alert["severity"] for alert in first.alerts} == {"warning"}
    assert first.confirmed_at is None
    assert (triggers(home), triggers(home, "warning") is None) == (None, False)

    second = check(home, CONFIRMED)
    assert set(second.confirmed) >= set(THREE_INPUTS)
    assert second.is_newly_confirmed
    confirmed = triggers(home)
    assert confirmed is not None
    (event,) = (each for each in read_outbox(home).events if each.event_type == "drift.confirmed")
    assert (event.payload.model_id, event.run_id) == (second.model_id, "run-1")
    assert "Drift is confirmed" in (event.payload.reason or "")

    third = check(home, LASTING)
    assert (third.confirmed_at, third.is_newly_confirmed) == (second.as_of, False)
    assert {alert["severity"] for alert in third.alerts} == {"warning"}
    assert triggers(home) == confirmed
    assert len([each for each in read_outbox(home).events if each.event_type == "drift.confirmed"]) == 1
    assert read_active(home) == active


def test_the_same_time_gives_the_same_report_and_trigger_again(home: Home) -> None:
    change_days(home, shift_inputs)
    check(home, SUSPECT)
    reports = [check(home, CONFIRMED) for _ in range(2)]
    before = triggers(home)
    reports += [check(home, LASTING), check(home, CONFIRMED)]
    assert reports[0] == reports[1] == reports[3]
    assert triggers(home) == before
    state = home.drift_state.read_text(encoding="utf-8")
    check(home, CONFIRMED)
    assert home.drift_state.read_text(encoding="utf-8") == state


def test_affected_users_and_inputs_are_filled_in(home: Home) -> None:
    change_days(home, shift_inputs)
    alerts = {str(alert["details"]["feature"]): alert for alert in check(home, SUSPECT).alerts if alert["affected_features"]}
    for name in THREE_INPUTS:
        assert (alerts[name]["affected_user_ids"], alerts[name]["affected_features"]) == (["user-0"], [name])


def test_one_input_that_goes_dead_is_confirmed_although_the_others_are_as_before(home: Home) -> None:
    change_days(home, lambda row: row.update(mouse_distance=None))
    first, second = check(home, SUSPECT), check(home, CONFIRMED)
    assert [each.name for each in first.inputs if each.is_dead] == ["mouse_distance"]
    assert second.confirmed == ("mouse_distance",)
    (alert,) = (alert for alert in second.alerts if alert["severity"] == "critical")
    assert alert["details"]["kind"] == "missing"
    assert triggers(home) is not None


def test_a_day_without_drift_between_two_with_drift_confirms_nothing(home: Home) -> None:
    change_days(home, shift_inputs, last=FIRST_DRIFTED + 2)
    reports = [check(home, day) for day in (9, SUSPECT)]
    assert [report.confirmed_at for report in reports] == [None, None]
    edit_json(home.drift_state, {"evaluations": []})
    assert check(home, CONFIRMED).confirmed_at is None


def test_unknown_applications_are_a_warning_and_no_confirmation(home: Home) -> None:
    change_days(home, lambda row: row.update(app_id="org.example.new"))
    reports = [check(home, day) for day in (SUSPECT, CONFIRMED)]
    (apps,) = (each for each in reports[1].categories if each.name == "app_id")
    assert (apps.is_flagged, apps.users, apps.unseen_reference) == (True, ("user-0", "user-1"), 0.0)
    assert reports[1].confirmed_at is None
    assert triggers(home) is None


def test_another_share_of_labels_is_a_class_shift(home: Home) -> None:
    rest = _a_break(home)
    change_days(home, lambda row: row.update(rest), first=9)
    found = check(home, 16).predictions
    assert found is not None
    assert found.class_shift.is_flagged
    assert found.class_shift.max_shift > 0.5
    assert sum(found.class_shift.current.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("damage", ["gone", "torn", "of another program"])
def test_without_the_snapshot_there_is_no_reference_and_no_failure(home: Home, damage: str) -> None:
    model = read_active(home)
    assert model is not None
    metadata = json.loads((home.models / model.name / "metadata.json").read_text(encoding="utf-8"))
    folder = home.snapshots / metadata["dataset_hash"]
    if damage == "gone":
        shutil.rmtree(folder)
    elif damage == "torn":
        (folder / "windows" / "part-000.parquet").write_bytes(b"PAR1")
    else:
        (home.models / model.name / "MANIFEST.json").unlink()
        edit_json(home.models / model.name / "metadata.json", {"dataset_hash": "sha256:of-another-program"})
    report = check(home, 9)
    assert (report.outcome, report.alerts, report.windows) == ("no_reference", [], 2240)
    assert report.detail.startswith("There is no reference to compare with:")
    assert not home.drift_state.exists()
    assert len(home.telemetry.read_text(encoding="utf-8").splitlines()) == 7


def test_without_a_model_or_windows_nothing_is_judged(home: Home, tmp_path: Path) -> None:
    fresh = learnable_home(tmp_path / "fresh", days=2)
    assert check(fresh, 0).outcome == "no_model"
    assert check(home, 60).outcome == "too_few_windows"
    assert not (fresh.artifacts / "drift").exists()


def test_the_most_drifted_unlabeled_time_goes_into_the_labelling_queue_with_its_reason(home: Home) -> None:
    change_days(home, shift_inputs)
    assert check(home, SUSPECT).stretches == ()  # every minute has a label
    forget_labels(home)
    stretches = check(home, SUSPECT).stretches
    assert stretches
    assert {each.user_id for each in stretches} == {"user-0"}
    assert min(each.start for each in stretches) >= at_day(FIRST_DRIFTED).replace(hour=0)
    assert list(stretches) == sorted(stretches, key=lambda each: (-each.surprise, each.user_id, each.start))
    added = add_to_label_queue(home, [each.to_request(at=at_day(SUSPECT)) for each in stretches])
    queue = json.loads(home.label_queue.read_text(encoding="utf-8"))
    assert len(queue) == len(added) == len(stretches)
    assert {entry["reason"] for entry in queue} == {"drift"}


def test_a_damaged_state_is_an_error_that_names_the_file(home: Home) -> None:
    home.drift_state.parent.mkdir(parents=True)
    home.drift_state.write_text('{"evaluations": 3}', encoding="utf-8")
    with pytest.raises(UnreadableFileError, match=r"evaluations\.json"):
        check(home, 9)


def test_reports_beyond_keep_days_are_removed_and_files_of_others_stay(home: Home) -> None:
    home.drift_evaluations.mkdir(parents=True)
    for name in ("2024-01-01.json", f"{AS_OF:%Y-%m-%d}.json", "notes.json"):
        (home.drift_evaluations / name).write_text("{}", encoding="utf-8")
    check(home, 9)
    assert sorted(path.name for path in home.drift_evaluations.iterdir()) == [
        f"{AS_OF:%Y-%m-%d}.json", f"{at_day(9):%Y-%m-%d}.json", "notes.json",
    ]  # fmt: skip


def test_the_report_and_telemetry_of_taskclf_have_the_same_keys(home: Home, real_homes: Path) -> None:
    check(home, 9)
    theirs = real_homes / "original-home" / "artifacts"
    report, mine = json.loads((theirs / "drift_report.json").read_text(encoding="utf-8")), evaluation(home, 9)
    assert set(report) <= set(mine)
    assert all(set(report[key]) <= set(mine[key]) for key in report if isinstance(report[key], dict))
    names = {row["feature"] for row in report["feature_report"]["results"]}
    assert names <= {row["feature"] for row in mine["feature_report"]["results"]}
    line = json.loads((theirs / "telemetry" / "telemetry_global.jsonl").read_text(encoding="utf-8").splitlines()[0])
    ours = json.loads(home.telemetry.read_text(encoding="utf-8").splitlines()[0])
    assert list(line) == list(ours)
    assert set(line["feature_missingness"]) <= set(ours["feature_missingness"])
    assert set(line["confidence_stats"]) == set(ours["confidence_stats"])
