"""Every setting of drift changes an outcome."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from taskclf_dagster.domain.monitoring.drift_report import DriftReport
from taskclf_dagster.home import Home
from taskclf_dagster_tests.drift_scenario import FIRST_DRIFTED, at_day, change_days, check, shift_inputs, watched_home
from taskclf_dagster_tests.models import edit_json
from taskclf_dagster_tests.retrain_scenario import Learned

DAY_JUDGED = FIRST_DRIFTED + 2


@pytest.fixture(scope="module")
def home(learned: Learned, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Three inputs of one user are shifted, a sensor of the other is dead, half of the applications are unknown."""
    home = watched_home(learned, tmp_path_factory.mktemp("settings"))
    noise = np.random.default_rng(3)

    def change(row: dict[str, object]) -> None:
        shift_inputs(row)
        row.update({"scroll_events_per_min": None} if row["user_id"] == "user-1" else {})
        row.update({"app_id": "org.example.new"} if noise.random() < 0.5 else {})

    change_days(home, change)
    return home


def _figure(name: str) -> Callable[[DriftReport], object]:
    def read(report: DriftReport) -> object:
        assert report.predictions is not None
        return getattr(report.predictions, name).threshold

    return read


def _input(name: str, field: str) -> Callable[[DriftReport], object]:
    return lambda report: next(getattr(each, field) for each in report.inputs if each.name == name)


EFFECTS: dict[str, tuple[object, object, object, object, Callable[[DriftReport], object]]] = {
    # key: a value, its outcome, another value, its outcome, how
    "days": (7, 2240, 4, 1280, lambda report: report.windows),
    "min_windows": (2240, "judged", 2241, "too_few_windows", lambda report: report.outcome),
    "min_psi": (0.1, True, 10.0, False, _input("keys_per_min", "has_drifted")),
    "max_missing_increase": (0.1, True, 0.2, False, _input("scroll_events_per_min", "is_dead")),
    "max_unseen_increase": (0.1, True, 0.3, False, lambda report: report.categories[0].is_flagged),
    "max_class_shift": (0.15, 0.15, 1.0, 1.0, _figure("class_shift")),
    "max_reject_increase": (0.1, 0.1, 0.9, 0.9, _figure("reject_rate")),
    "max_entropy_ratio": (1.5, 1.5, 9.0, 9.0, _figure("entropy")),
}


@pytest.mark.parametrize("key", EFFECTS)
def test_a_setting_has_the_effect_that_its_comment_promises(home: Home, key: str) -> None:
    value, follows, other, follows_then, outcome = EFFECTS[key]
    assert outcome(check(home, DAY_JUDGED, drift={key: value})) == follows
    assert outcome(check(home, DAY_JUDGED, drift={key: other})) == follows_then


def test_a_higher_noise_quantile_gives_no_lower_thresholds(home: Home) -> None:
    lower, higher = (check(home, DAY_JUDGED, drift={"noise_quantile": value, "min_psi": 0.0}).inputs for value in (0.5, 1.0))
    pairs = [(a.threshold, b.threshold) for a, b in zip(lower, higher, strict=True)]
    assert all(a <= b for a, b in pairs)
    assert any(a < b for a, b in pairs)


def test_min_inputs_is_how_many_confirm(home: Home) -> None:
    for number, confirmed in ((2, True), (100, False)):
        edit_json(home.drift_state, {"evaluations": []})
        reports = [check(home, day, drift={"min_inputs": number}) for day in (DAY_JUDGED, DAY_JUDGED + 1)]
        dead = {each.name for each in reports[1].inputs if each.is_dead}
        assert bool({*reports[1].confirmed} - dead) is confirmed


def test_keep_days_is_how_long_a_report_stays(home: Home) -> None:
    old: Path = home.drift_evaluations / f"{at_day(0):%Y-%m-%d}.json"
    for days, stays in ((DAY_JUDGED, True), (DAY_JUDGED - 1, False)):
        old.write_text("{}", encoding="utf-8")
        check(home, DAY_JUDGED, drift={"keep_days": days})
        assert old.exists() is stays
