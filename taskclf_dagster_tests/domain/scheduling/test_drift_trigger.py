"""Drift reports that ask for a retrain: how grave, when made, which is the newest, and when they are answered."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.decision.last_decided import LastDecided
from taskclf_dagster.domain.scheduling.drift_trigger import MAX_REPORT_BYTES, DriftTrigger, find_drift_answer, find_drift_trigger
from taskclf_dagster.errors import UnreadableFileError
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import copy_real_home
from taskclf_dagster_tests.scenario import DAY, MINUTE, a_drift_report, at, make_home

MADE = at("06:00")
NOW = MADE + timedelta(hours=1)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def write(home: Home, report: object, *, name: str | None = None, modified: datetime = MADE) -> Path:
    """Writes a report where taskclf writes it, or below artifacts/drift; the time of its file must not matter."""
    path = home.drift_report if name is None else home.drift_reports / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report if isinstance(report, str) else json.dumps(report), encoding="utf-8")
    os.utime(path, (modified.timestamp(), modified.timestamp()))
    return path


def find(home: Home, severity: str = "critical") -> DriftTrigger | None:
    return find_drift_trigger(home, severity=severity, now=NOW)  # type: ignore[arg-type]


def test_without_a_report_nothing_is_asked_for(home: Home) -> None:
    assert find(home, "warning") is None
    home.drift_reports.mkdir(parents=True)
    assert find(home, "warning") is None


def test_a_report_that_only_warns_asks_if_warnings_are_enough(home: Home) -> None:
    write(home, a_drift_report(MADE, warnings=2))
    assert find(home) is None
    assert find(home, "warning") is not None


def test_a_critical_alert_asks_in_either_case(home: Home) -> None:
    write(home, a_drift_report(MADE, warnings=2, critical=1))
    assert find(home) is not None
    assert find(home, "warning") == find(home)


def test_a_report_without_alerts_asks_for_nothing(home: Home) -> None:
    write(home, a_drift_report(MADE))
    assert find(home, "warning") is None


def test_a_report_that_calls_itself_critical_is_believed(home: Home) -> None:
    write(home, {**a_drift_report(MADE), "any_critical": True})
    assert find(home) is not None


def test_the_trigger_names_report_time_and_alerts(home: Home, snapshot: SnapshotAssertion) -> None:
    write(home, a_drift_report(MADE, warnings=2, critical=1))
    found = find(home)
    assert found is not None
    assert (found.path, found.at) == ("artifacts/drift_report.json", MADE)
    assert found.reason == snapshot


def test_the_report_of_the_latest_time_counts_wherever_it_lies_and_whenever_its_file_was_written(home: Home) -> None:
    write(home, a_drift_report(MADE, critical=1), modified=MADE + 9 * MINUTE)
    write(home, a_drift_report(MADE + MINUTE, warnings=1), name="later.json", modified=MADE + 8 * MINUTE)
    assert find(home) is None
    write(home, a_drift_report(MADE + 2 * MINUTE, critical=2), name="last.json", modified=MADE)
    found = find(home)
    assert found is not None
    assert found.path == "artifacts/drift/last.json"
    write(home, a_drift_report(MADE + 3 * MINUTE), modified=MADE - DAY)
    assert find(home) is None


def test_a_report_of_the_future_is_older_than_one_of_the_present(home: Home) -> None:
    write(home, a_drift_report(NOW + DAY), name="while_the_clock_was_ahead.json")
    write(home, a_drift_report(MADE, critical=1))
    found = find(home)
    assert found is not None
    assert found.at == MADE


def test_a_hidden_file_is_no_report(home: Home) -> None:
    write(home, a_drift_report(MADE, critical=1), name="._drift.json")
    write(home, "not JSON", name=".old.json")
    assert find(home, "warning") is None


def test_a_folder_named_like_a_report_is_none(home: Home) -> None:
    (home.drift_reports / "old.json").mkdir(parents=True)
    assert find(home, "warning") is None


def test_a_request_is_known_by_the_content_of_its_report(home: Home) -> None:
    write(home, a_drift_report(MADE, critical=1))
    first = find(home)
    write(home, a_drift_report(MADE, critical=1), modified=MADE + MINUTE)
    again = find(home)
    write(home, a_drift_report(MADE + MINUTE, critical=1))
    other = find(home)
    assert first is not None
    assert again is not None
    assert other is not None
    assert len(first.key) == 16
    assert again.key == first.key != other.key


def test_it_was_made_at_the_latest_time_it_names(home: Home) -> None:
    report = a_drift_report(MADE, critical=2)
    report["alerts"][1]["timestamp"] = "2026-01-05T11:50:00+05:45"  # 06:05 UTC
    write(home, report)
    found = find(home)
    assert found is not None
    assert found.at == MADE + 5 * MINUTE


@pytest.mark.parametrize("written", ["2026-01-05T06:30:00", "2026-01-05T06:30:00Z", "2026-01-05T12:15:00+05:45"])
def test_times_are_utc_unless_they_say_otherwise(home: Home, written: str) -> None:
    write(home, {**a_drift_report(MADE, critical=1), "timestamp": written})
    found = find(home)
    assert found is not None
    assert found.at == MADE + 30 * MINUTE


def test_a_report_that_states_no_time_may_be_the_newest_or_not_and_is_an_error(home: Home) -> None:
    write(home, {"alerts": [{"severity": "critical", "timestamp": "lately"}]})
    with pytest.raises(UnreadableFileError, match=r"drift_report\.json"):
        find(home)


def test_a_report_of_the_future_says_so_and_a_challenger_of_before_its_time_does_not_answer_it(home: Home) -> None:
    write(home, a_drift_report(MADE + 300 * DAY, critical=1))
    found = find(home)
    assert found is not None
    assert found.at == MADE + 300 * DAY
    assert f"artifacts/drift_report.json of {found.at:%Y-%m-%d %H:%M} UTC, which is in the future" in found.reason
    assert find_drift_answer(found, decided(trained=NOW)) is None
    assert find_drift_answer(found, decided(trained=MADE + 301 * DAY)) is not None


def test_long_alerts_are_cut_so_that_they_fit_a_tag(home: Home) -> None:
    write(home, {**a_drift_report(MADE, critical=1), "summary": "x" * 5000})
    found = find(home)
    assert found is not None
    assert len(found.reason) == 400


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"alerts": [], "alerts": []}'])
def test_a_report_that_cannot_be_read_is_an_error_that_names_it_unless_another_asks(home: Home, text: str) -> None:
    write(home, a_drift_report(MADE, warnings=1), name="good.json")
    write(home, text)
    assert find(home, "warning") is not None
    with pytest.raises(UnreadableFileError, match=r"drift_report\.json"):
        find(home)


def test_a_huge_report_is_not_read(home: Home) -> None:
    path = write(home, a_drift_report(MADE, critical=1))
    with path.open("a", encoding="utf-8") as file:
        file.write(" " * MAX_REPORT_BYTES)
    with pytest.raises(UnreadableFileError, match="at most"):
        find(home)


@pytest.mark.parametrize("alerts", [None, "many", {}, ["critical"], [None], [{}], [{"severity": 3}]])
def test_alerts_of_another_shape_are_none_that_are_critical(home: Home, alerts: object) -> None:
    write(home, {"alerts": alerts, "timestamp": MADE.isoformat()})
    assert find(home) is None


# --- Answers ------------------------------------------------------------------------------------------------------------------------


def decided(*, trained: datetime | None, at: datetime = NOW) -> LastDecided:
    facts = {"outcome": "REJECT", "decided_at": at, "as_of": at, "run_id": "r", "decision_id": None, "dataset_hash": "0" * 16}
    return LastDecided.model_validate({**facts, "snapshot_path": "s", "label_watermark": "0" * 16, "trained_at": trained})


def test_a_report_is_answered_only_by_a_challenger_that_was_trained_after_it(home: Home, snapshot: SnapshotAssertion) -> None:
    write(home, a_drift_report(MADE, critical=1))
    request = find(home)
    assert request is not None
    assert find_drift_answer(request, None) is None
    assert find_drift_answer(request, decided(trained=None)) is None
    assert find_drift_answer(request, decided(trained=MADE)) is None
    assert find_drift_answer(request, decided(trained=MADE - DAY)) is None
    answered = find_drift_answer(request, decided(trained=MADE + MINUTE))
    assert answered is not None
    assert answered.kind == "answered"
    assert answered.message == snapshot


def test_the_originals_report_has_warnings_only_so_that_it_asks_where_warnings_are_enough(real_homes: Path, tmp_path: Path) -> None:
    home = copy_real_home(real_homes / "original-home", tmp_path / "home")
    now = datetime(2027, 1, 1, tzinfo=UTC)
    assert find_drift_trigger(home, severity="critical", now=now) is None
    found = find_drift_trigger(home, severity="warning", now=now)
    assert found is not None
    report = json.loads(home.drift_report.read_text(encoding="utf-8"))
    assert f"{len(report['alerts'])} alerts, 0 critical" in found.reason
    assert found.at == datetime.fromisoformat(report["feature_report"]["timestamp"])  # later than every alert's


def test_the_report_of_these_tests_has_the_keys_of_the_originals(real_homes: Path) -> None:
    original = json.loads((real_homes / "original-home" / "artifacts" / "drift_report.json").read_text(encoding="utf-8"))
    ours = a_drift_report(MADE, warnings=1, critical=1)
    assert set(ours) == set(original)
    assert set(ours["alerts"][0]) == set(original["alerts"][0])
