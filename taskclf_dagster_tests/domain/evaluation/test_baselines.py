"""The rule baseline at every border of its rules, the lookup table, and how a model is scored beside them."""

import numpy as np
import pandas as pd
import pytest

from taskclf_dagster.domain.data.feature_schema import LABELS, REJECTED_LABEL
from taskclf_dagster.domain.evaluation.baselines import BaselineScore, LookupBaseline, compare_with_baseline, fit_lookup, predict_baseline
from taskclf_dagster.domain.evaluation.confusion import REJECTED
from taskclf_dagster.domain.evaluation.predictions import Predictions

BREAK, BUILD, COMMUNICATE, DEBUG, MEET, READ, REVIEW, WRITE = range(8)
NAN = float("nan")

QUIET = {
    "app_category": "mail",
    "is_browser": False,
    "is_editor": False,
    "is_terminal": False,
    "active_seconds_any": 30.0,
    "max_idle_run_seconds": 10.0,
    "scroll_events_per_min": 0.0,
    "keys_per_min": 0.0,
    "shortcut_rate": 0.0,
}
"""A window that no rule speaks about."""
READING = {**QUIET, "is_browser": True, "scroll_events_per_min": 3.5, "keys_per_min": 9.0}
BUILDING = {**QUIET, "is_editor": True, "keys_per_min": 31.0, "shortcut_rate": 1.5}


def rows(*windows: dict[str, object]) -> pd.DataFrame:
    frame = pd.DataFrame(list(windows), columns=list(QUIET))
    return frame.assign(app_category=frame["app_category"].astype("category"))


def say(window: dict[str, object], **changes: object) -> str:
    """What the rules call one window."""
    (code,) = predict_baseline(rows({**window, **changes}))
    return [*LABELS, REJECTED_LABEL][code]


# --- Rules ------------------------------------------------------------------------------------------------------------------------


def test_a_window_that_no_rule_speaks_about_is_not_named() -> None:
    assert say(QUIET) == "Mixed/Unknown"
    assert predict_baseline(rows(QUIET)).tolist() == [REJECTED]


@pytest.mark.parametrize(("category", "said"), [("lockscreen", "BreakIdle"), ("Lockscreen", "Mixed/Unknown"), ("lock", "Mixed/Unknown")])
def test_a_locked_screen_is_a_break(category: str, said: str) -> None:
    assert say(QUIET, app_category=category) == said


@pytest.mark.parametrize(("seconds", "said"), [(NAN, "BreakIdle"), (0.0, "BreakIdle"), (4.99, "BreakIdle"), (5.0, "Mixed/Unknown")])
def test_fewer_than_five_active_seconds_or_none_measured_are_a_break(seconds: float, said: str) -> None:
    assert say(QUIET, active_seconds_any=seconds) == said


@pytest.mark.parametrize(("seconds", "said"), [(50.0, "Mixed/Unknown"), (50.01, "BreakIdle"), (60.0, "BreakIdle"), (NAN, "Mixed/Unknown")])
def test_more_than_fifty_idle_seconds_in_a_row_are_a_break(seconds: float, said: str) -> None:
    assert say(QUIET, max_idle_run_seconds=seconds) == said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "ReadResearch"),
        ({"scroll_events_per_min": 3.01}, "ReadResearch"),
        ({"scroll_events_per_min": 3.0}, "Mixed/Unknown"),
        ({"scroll_events_per_min": NAN}, "Mixed/Unknown"),
        ({"keys_per_min": 9.99}, "ReadResearch"),
        ({"keys_per_min": 10.0}, "Mixed/Unknown"),
        ({"keys_per_min": NAN}, "Mixed/Unknown"),
        ({"is_browser": False}, "Mixed/Unknown"),
        ({"is_browser": False, "is_editor": True}, "Mixed/Unknown"),
    ],
)
def test_scrolling_in_a_browser_with_few_keys_is_reading(changes: dict[str, object], said: str) -> None:
    assert say(READING, **changes) == said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Build"),
        ({"is_editor": False, "is_terminal": True}, "Build"),
        ({"is_editor": False}, "Mixed/Unknown"),
        ({"is_editor": False, "is_browser": True}, "Mixed/Unknown"),
        ({"keys_per_min": 30.01}, "Build"),
        ({"keys_per_min": 30.0}, "Mixed/Unknown"),
        ({"keys_per_min": NAN}, "Mixed/Unknown"),
        ({"shortcut_rate": 1.01}, "Build"),
        ({"shortcut_rate": 1.0}, "Mixed/Unknown"),
    ],
)
def test_many_keys_and_shortcuts_in_an_editor_or_terminal_are_building(changes: dict[str, object], said: str) -> None:
    assert say(BUILDING, **changes) == said


def test_without_a_measured_shortcut_rate_nothing_is_building() -> None:
    # The real feature builder always leaves shortcut_rate null.
    assert say(BUILDING, shortcut_rate=NAN) == "Mixed/Unknown"


@pytest.mark.parametrize("rest", [{"app_category": "lockscreen"}, {"active_seconds_any": 1.0}, {"max_idle_run_seconds": 55.0}])
@pytest.mark.parametrize("busy", [READING, BUILDING])
def test_a_break_comes_before_every_other_rule(busy: dict[str, object], rest: dict[str, object]) -> None:
    assert say(busy, **rest) == "BreakIdle"


def test_reading_and_building_exclude_each_other_by_their_keys() -> None:
    both = {**READING, **BUILDING, "is_browser": True, "scroll_events_per_min": 3.5}
    assert say(both, keys_per_min=9.0) == "ReadResearch"
    assert say(both, keys_per_min=31.0) == "Build"
    assert say(both, keys_per_min=20.0) == "Mixed/Unknown"


def test_windows_are_named_row_by_row() -> None:
    found = predict_baseline(rows(BUILDING, QUIET, {**QUIET, "app_category": "lockscreen"}, READING))
    assert found.tolist() == [BUILD, REJECTED, BREAK, READ]


def test_a_window_without_app_category_is_not_locked() -> None:
    frame = rows(QUIET, QUIET)
    frame["app_category"] = pd.Categorical([None, "lockscreen"])
    assert predict_baseline(frame).tolist() == [REJECTED, BREAK]


def test_no_windows_are_named_nothing() -> None:
    assert predict_baseline(rows(QUIET).head(0)).tolist() == []


# --- Lookup -----------------------------------------------------------------------------------------------------------------------


def apps(*windows: tuple[str | None, str | None], labels: list[str] | None = None) -> pd.DataFrame:
    """Windows of (app_id, app_category), with labels for training."""
    frame = pd.DataFrame({name: pd.Categorical([w[i] for w in windows]) for i, name in enumerate(("app_id", "app_category"))})
    return frame if labels is None else frame.assign(label=pd.Categorical(labels, categories=list(LABELS)))


TRAINED = apps(
    *[("code", "editor")] * 3,
    *[("vim", "editor")] * 4,
    *[("mail", "mail")] * 2,
    labels=["Build", "Build", "Write", "Debug", "Debug", "Debug", "Write", "Write", "Write"],
)
"""code: Build 2 of 3; vim: Debug 3 of 4; editor: Debug 3, Build 2, Write 2; mail: Write; in all: Write 4, Debug 3, Build 2."""


@pytest.mark.parametrize(
    ("app", "category", "label"),
    [
        ("code", "editor", BUILD),
        ("vim", "editor", DEBUG),
        ("vim", "mail", DEBUG),  # a known app before its category
        ("emacs", "editor", DEBUG),  # an app not seen: its category
        (None, "mail", WRITE),
        ("zoom", "chat", WRITE),  # neither seen: the most common label of all
        (None, None, WRITE),
    ],
)
def test_the_lookup_says_the_most_common_label_of_app_then_category_then_all(app: str | None, category: str | None, label: int) -> None:
    assert fit_lookup(TRAINED).predict(apps((app, category))).tolist() == [label]


def test_of_equally_common_labels_the_first_by_name_is_said() -> None:
    trained = apps(("code", "editor"), ("code", "editor"), labels=["Write", "Build"])
    assert fit_lookup(trained) == LookupBaseline(by_app={"code": BUILD}, by_category={"editor": BUILD}, overall=BUILD)


def test_the_lookup_knows_only_apps_that_occur_in_training() -> None:
    trained = TRAINED.assign(app_id=TRAINED["app_id"].cat.add_categories(["never"]))
    table = fit_lookup(trained)
    assert set(table.by_app) == {"code", "vim", "mail"}
    assert set(table.by_category) == {"editor", "mail"}


def test_a_window_without_app_teaches_only_its_category_and_the_whole() -> None:
    table = fit_lookup(apps((None, "mail"), ("code", None), labels=["Write", "Build"]))
    assert table == LookupBaseline(by_app={"code": BUILD}, by_category={"mail": WRITE}, overall=BUILD)


def test_the_lookup_names_every_window_in_its_order() -> None:
    found = fit_lookup(TRAINED).predict(apps(("mail", "mail"), ("new", "editor"), ("code", "editor")))
    assert found.tolist() == [WRITE, DEBUG, BUILD]


# --- A model beside a baseline ----------------------------------------------------------------------------------------------------

TRUE = [BREAK, BREAK, BREAK, BUILD, BUILD, READ, WRITE, WRITE]
MODEL = [BREAK, BREAK, BUILD, BUILD, REJECTED, READ, WRITE, WRITE]
RULES = [BREAK, BREAK, BREAK, BREAK, BUILD, BUILD, REJECTED, REJECTED]


def beside(judged: list[str], baseline: list[int] = RULES) -> BaselineScore:
    predictions = Predictions(np.arange(8, dtype=np.uint64), np.array(TRUE), np.array(MODEL))
    return compare_with_baseline(predictions, np.array(baseline), judged)


def test_both_are_scored_only_where_the_baseline_names_a_label() -> None:
    found = beside(["BreakIdle", "Build", "ReadResearch", "Write"])
    # On the first six. Model: Break 2*2/(3+2), Build 2*1/(2+2), Read 2*1/(1+1). Baseline: Break 2*3/(3+4), Build 2*1/(2+2), Read 0.
    # Write has no window there and does not count for either.
    assert found.windows == 6
    assert found.model == pytest.approx((4 / 5 + 1 / 2 + 1) / 3)
    assert found.baseline == pytest.approx((6 / 7 + 1 / 2 + 0) / 3)


def test_only_judged_labels_count() -> None:
    found = beside(["BreakIdle", "Meet"])
    assert (found.windows, found.model, found.baseline) == (6, pytest.approx(4 / 5), pytest.approx(6 / 7))


def test_without_a_judged_label_where_the_baseline_speaks_there_is_no_figure() -> None:
    assert beside(["Meet"]) == BaselineScore(windows=6, model=None, baseline=None)
    assert beside([]) == BaselineScore(windows=6, model=None, baseline=None)


def test_a_baseline_that_never_speaks_has_no_windows() -> None:
    assert beside(["BreakIdle"], [REJECTED] * 8) == BaselineScore(windows=0, model=None, baseline=None)


def test_a_baseline_that_always_speaks_is_compared_on_all_windows() -> None:
    found = beside(["BreakIdle", "Build", "ReadResearch", "Write"], [WRITE] * 8)
    # Model: as above, and Write 1. Baseline: Write 2*2/(2+8), everything else 0.
    assert found.windows == 8
    assert found.model == pytest.approx((4 / 5 + 1 / 2 + 1 + 1) / 4)
    assert found.baseline == pytest.approx((0 + 0 + 0 + 4 / 10) / 4)


def test_a_model_that_says_what_the_baseline_says_scores_the_same() -> None:
    predictions = Predictions(np.arange(8, dtype=np.uint64), np.array(TRUE), np.array(RULES))
    found = compare_with_baseline(predictions, np.array(RULES), list(LABELS))
    assert found.model == found.baseline
    assert found.model > 0
