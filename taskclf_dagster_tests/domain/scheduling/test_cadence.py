"""Cadence: due at the border and after it, never stopped by a wrong date or a damaged file."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from taskclf_dagster.domain.decision.last_decided import LastDecided, read_last_decided, write_last_decided
from taskclf_dagster.domain.scheduling.cadence import AT_ONCE, DueDate, check_calibrator_update_due, check_model_age, check_retrain_due
from taskclf_dagster.home import Home
from taskclf_dagster_tests.models import MID, point_at, write_tiny_bundle
from taskclf_dagster_tests.scenario import at, make_home

DECIDED = at("06:00")
WEEK = timedelta(days=7)
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def last(decided_at: datetime = DECIDED, **changes: object) -> LastDecided:
    fields = {
        "outcome": "REJECT",
        "decided_at": decided_at,
        "as_of": DECIDED,
        "run_id": "run",
        "decision_id": "2026-01-05_060000_0a963156",
        "dataset_hash": "0a963156a3de73d5",
        "snapshot_path": "artifacts/snapshots/0a963156a3de73d5",
        "label_watermark": "0" * 16,
    }
    return LastDecided.model_validate({**fields, **changes})


def write_store(home: Home, content: str) -> None:
    home.calibrator_store.parent.mkdir(parents=True)
    home.calibrator_store.write_text(content, encoding="utf-8")


def fitted_at(home: Home, created_at: object) -> None:
    store = {"method": "temperature", "user_count": 1, "user_ids": ["alice"], "created_at": created_at}
    write_store(home, json.dumps(store))


# --- Retrain ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "due"),
    [(WEEK, True), (WEEK - MICROSECOND, False), (WEEK + MICROSECOND, True), (timedelta(0), False), (10 * WEEK, True)],
    ids=["at the border", "just before", "just after", "this moment", "long ago"],
)
def test_a_retrain_is_due_from_the_border_on(age: timedelta, due: bool) -> None:
    found = check_retrain_due(last(), now=DECIDED + age, cadence_days=7)
    assert (found.due, found.due_at) == (due, DECIDED + WEEK)
    assert found.kind == ("due" if due else "not_due")


def test_cadence_counts_from_the_decision_and_not_from_the_as_of_time_of_its_data() -> None:
    replayed = last(DECIDED, as_of=DECIDED - timedelta(days=300))
    assert not check_retrain_due(replayed, now=DECIDED + timedelta(days=1), cadence_days=7).due


@pytest.mark.parametrize("outcome", ["REJECT", "HOLD", "AWAITING_APPROVAL", "PROMOTE", "SKIP"])
def test_every_outcome_counts_as_decided(outcome: str) -> None:
    assert not check_retrain_due(last(outcome=outcome), now=DECIDED + timedelta(days=6), cadence_days=7).due


def test_another_cadence_moves_the_border() -> None:
    now = DECIDED + timedelta(days=3)
    assert [check_retrain_due(last(), now=now, cadence_days=days).due for days in (2, 3, 4)] == [True, True, False]


def test_a_home_without_a_decision_is_due() -> None:
    found = check_retrain_due(None, now=DECIDED, cadence_days=7)
    assert (found.due, found.due_at, found.kind) == (True, None, "never_done")


@pytest.mark.parametrize("wrong", [DECIDED + AT_ONCE + MICROSECOND, datetime(2099, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)])
def test_a_decision_in_the_future_makes_a_retrain_due(wrong: datetime) -> None:
    found = check_retrain_due(last(wrong), now=DECIDED, cadence_days=7)
    assert (found.due, found.due_at, found.kind) == (True, None, "clock_set_back")


@pytest.mark.parametrize("ahead", [MICROSECOND, AT_ONCE])
def test_a_decision_that_was_made_while_the_clock_was_read_was_made_just_now(ahead: timedelta) -> None:
    found = check_retrain_due(last(DECIDED + ahead), now=DECIDED, cadence_days=7)
    assert (found.due, found.due_at, found.kind) == (False, DECIDED + WEEK, "not_due")


def test_reasons_name_age_bound_and_cadence(home: Home, snapshot: SnapshotAssertion) -> None:
    path = str(home.root)
    running(home, (NOW - 90 * DAY).isoformat())
    rejected = age(home, last(NOW - 2 * DAY, trained_at=NOW - 2 * DAY))
    old = age(home)
    assert rejected is not None
    assert old is not None
    write_store(home, "{}")
    found = [
        check_retrain_due(last(), now=DECIDED + timedelta(days=2, hours=12), cadence_days=7),
        check_retrain_due(last(), now=DECIDED + timedelta(days=8), cadence_days=7),
        check_retrain_due(last(DECIDED + WEEK), now=DECIDED, cadence_days=7),
        check_retrain_due(None, now=DECIDED, cadence_days=7),
        old,
        rejected,
        check_calibrator_update_due(home, now=DECIDED, cadence_days=7),
    ]
    assert [due.reason.replace(path, "HOME") for due in found] == snapshot


def test_times_of_different_zones_are_compared_as_times() -> None:
    # 2026-01-05T15:00+09:00 is 06:00 UTC
    elsewhere = last(datetime.fromisoformat("2026-01-05T15:00:00+09:00"))
    assert check_retrain_due(elsewhere, now=DECIDED + WEEK, cadence_days=7).due
    assert not check_retrain_due(elsewhere, now=DECIDED + WEEK - MICROSECOND, cadence_days=7).due


def test_what_is_due_within_the_slack_counts_as_due() -> None:
    border = DECIDED + WEEK - timedelta(hours=2)
    assert check_retrain_due(last(), now=border, cadence_days=7, slack=timedelta(hours=2)).due
    assert not check_retrain_due(last(), now=border - MICROSECOND, cadence_days=7, slack=timedelta(hours=2)).due


# --- Age of the model -----------------------------------------------------------------------------------------------------------------


NOW = at("06:00", day=60)
DAY = timedelta(days=1)


def running(home: Home, created_at: object) -> Home:
    write_tiny_bundle(home.models / MID, metadata={"created_at": created_at})
    point_at(home, MID)
    return home


def age(home: Home, decided: LastDecided | None = None, *, now: datetime = NOW) -> DueDate | None:
    return check_model_age(home, decided, now=now, max_days=30, cadence_days=7)


@pytest.mark.parametrize(
    ("days", "due"), [(30 * DAY, True), (30 * DAY - MICROSECOND, False), (29 * DAY, False), (400 * DAY, True), (timedelta(0), False)]
)
def test_a_model_is_too_old_from_the_border_on(home: Home, days: timedelta, due: bool) -> None:
    found = age(running(home, (NOW - days).isoformat()))
    assert found is not None
    assert (found.due, found.due_at) == (due, NOW - days + 30 * DAY)


def test_without_a_model_or_without_its_date_nothing_is_said_about_its_age(home: Home) -> None:
    assert age(home) is None
    assert age(running(home, None)) is None


def test_a_model_that_cannot_be_read_says_nothing_about_its_age(home: Home) -> None:
    running(home, (NOW - 90 * DAY).isoformat())
    (home.models / MID / "metadata.json").write_text("{", encoding="utf-8")
    assert age(home) is None


@pytest.mark.parametrize("offset", ["", "Z", "+00:00"])
def test_a_creation_time_without_an_offset_is_utc(home: Home, offset: str) -> None:
    found = age(running(home, (NOW - 29 * DAY).replace(tzinfo=None).isoformat() + offset))
    assert found is not None
    assert found.due_at == NOW + DAY


def test_a_creation_time_of_a_zone_with_odd_minutes_is_compared_as_a_time(home: Home) -> None:
    kathmandu = timezone(timedelta(hours=5, minutes=45))
    found = age(running(home, (NOW - 30 * DAY).astimezone(kathmandu).isoformat()))
    assert found is not None
    assert (found.due, found.due_at) == (True, NOW)


@pytest.mark.parametrize("created", [NOW + timedelta(minutes=1), datetime(2099, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)])
def test_a_model_of_the_future_counts_as_too_old(home: Home, created: datetime) -> None:
    found = age(running(home, created.isoformat()))
    assert found is not None
    assert (found.due, found.kind) == (True, "clock_set_back")


def test_a_model_of_the_future_is_not_replaced_at_every_tick_when_its_challenger_was_rejected(home: Home) -> None:
    running(home, "2099-01-01T00:00:00+00:00")
    tried = last(NOW - DAY, trained_at=NOW - DAY)
    assert [age(home, tried, now=NOW + days * DAY).due for days in range(7)] == [False] * 6 + [True]  # type: ignore[union-attr]


def test_a_challenger_that_was_not_promoted_puts_it_off_by_one_cadence(home: Home) -> None:
    running(home, (NOW - 90 * DAY).isoformat())
    found = age(home, last(NOW - 2 * DAY, trained_at=NOW - 2 * DAY))
    assert found is not None
    assert (found.due, found.due_at) == (False, NOW + 5 * DAY)


def test_a_skip_does_not_put_it_off(home: Home) -> None:
    running(home, (NOW - 90 * DAY).isoformat())
    skipped = last(NOW - DAY, outcome="SKIP", trained_at=NOW - 40 * DAY)
    assert [found.due for found in (age(home, skipped), age(home, last(NOW - DAY))) if found] == [True, True]


def test_a_challenger_of_the_future_does_not_put_it_off(home: Home) -> None:
    running(home, (NOW - 90 * DAY).isoformat())
    found = age(home, last(NOW + DAY, trained_at=NOW + DAY))
    assert found is not None
    assert found.due


# --- What was decided last --------------------------------------------------------------------------------------------------------


def test_the_last_decided_run_is_read_back_as_it_was(home: Home) -> None:
    assert read_last_decided(home) is None
    write_last_decided(home, last())
    assert read_last_decided(home) == last()
    write_last_decided(home, last(outcome="SKIP", decision_id=None))
    assert read_last_decided(home) == last(outcome="SKIP", decision_id=None)
    assert [path.name for path in home.decisions.iterdir()] == ["last_decided.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"outcome": "REJECT"}'])
def test_a_damaged_last_decided_file_makes_a_retrain_due(home: Home, text: str) -> None:
    write_last_decided(home, last())
    (home.decisions / "last_decided.json").write_text(text, encoding="utf-8")
    assert read_last_decided(home) is None
    assert check_retrain_due(read_last_decided(home), now=DECIDED, cadence_days=7).due


def test_a_last_decided_time_without_a_zone_does_not_stop_retraining(home: Home) -> None:
    write_last_decided(home, last())
    path = home.decisions / "last_decided.json"
    path.write_text(path.read_text(encoding="utf-8").replace("2026-01-05T06:00:00Z", "2026-01-05T06:00:00"), encoding="utf-8")
    assert check_retrain_due(read_last_decided(home), now=DECIDED + WEEK, cadence_days=7).due


# --- Calibrators ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "due"), [(WEEK, True), (WEEK - MICROSECOND, False), (timedelta(0), False), (2 * WEEK, True)])
def test_calibrators_are_due_from_the_border_on(home: Home, age: timedelta, due: bool) -> None:
    fitted_at(home, DECIDED.isoformat())
    found = check_calibrator_update_due(home, now=DECIDED + age, cadence_days=7)
    assert (found.due, found.due_at) == (due, DECIDED + WEEK)


def test_calibrators_are_counted_from_the_store_that_the_policy_names_and_due_if_it_names_none(home: Home) -> None:
    home.models.mkdir(exist_ok=True)
    folder = home.calibrators / "0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "store.json").write_text(json.dumps({"created_at": DECIDED.isoformat()}), encoding="utf-8")
    found = []
    for named in ("artifacts/calibrators/0123456789abcdef", None, "artifacts/calibrators/lost", "../calibrators"):
        home.inference_policy.write_text(json.dumps({"model_dir": "models/a", "calibrator_store_dir": named}), encoding="utf-8")
        due = check_calibrator_update_due(home, now=DECIDED + timedelta(days=1), cadence_days=7)
        found.append((due.kind, due.due_at))
    assert found == [("not_due", DECIDED + WEEK), *[("never_done", None)] * 3]


def test_calibrators_that_were_never_fitted_are_due(home: Home) -> None:
    found = check_calibrator_update_due(home, now=DECIDED, cadence_days=7)
    assert (found.due, found.due_at, found.kind) == (True, None, "never_done")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"created_at": null}', '{"created_at": "soon"}', '{"created_at": []}'])
def test_a_damaged_calibrator_store_is_due_and_named(home: Home, text: str) -> None:
    write_store(home, text)
    found = check_calibrator_update_due(home, now=DECIDED, cadence_days=7)
    assert (found.due, found.due_at, found.kind) == (True, None, "never_done")
    assert str(home.calibrator_store) in found.reason


@pytest.mark.parametrize("written", ["2026-01-05T06:00:00", "2026-01-05T06:00:00Z", "2026-01-05T15:00:00+09:00"])
def test_the_time_of_a_calibrator_store_is_utc_unless_it_says_otherwise(home: Home, written: str) -> None:
    fitted_at(home, written)
    assert check_calibrator_update_due(home, now=DECIDED, cadence_days=7).due_at == DECIDED + WEEK


@pytest.mark.parametrize("written", ["2099-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00"])
def test_a_calibrator_store_of_the_future_is_due(home: Home, written: str) -> None:
    fitted_at(home, written)
    found = check_calibrator_update_due(home, now=DECIDED, cadence_days=7)
    assert (found.due, found.due_at, found.kind) == (True, None, "clock_set_back")


def test_the_originals_calibrator_store_is_read_unless_its_policy_names_none_for_the_model(real_homes: Path, home: Home) -> None:
    original = Home(real_homes / "original-home")
    created = datetime.fromisoformat(json.loads(original.calibrator_store.read_text(encoding="utf-8"))["created_at"])
    assert check_calibrator_update_due(original, now=created + timedelta(days=1), cadence_days=7).kind == "never_done"
    write_store(home, original.calibrator_store.read_text(encoding="utf-8"))
    found = check_calibrator_update_due(home, now=created + timedelta(days=1), cadence_days=7)
    assert (found.due, found.due_at) == (False, created + WEEK)
