"""Every state of a home on the page: its own words, readable at both widths, in light and dark, and by a screen reader."""

import re

import pytest
from playwright.sync_api import Page, expect

from taskclf_dagster_tests.web.conftest import Desk
from taskclf_dagster_tests.web.page_examples import DECISIONS, OLD, RUNNING, STATES

pytestmark = pytest.mark.server

WORDS = {
    "rejected": {"#now": "Not promoted", "#decision": "What would help", "#changes": "would become wrong", "#next": "3 of 5 label spans"},
    "first_run": {"#now": "Nothing has run yet", "#running": "No model runs yet", "#next": "Due now", "#back": "There is no earlier model"},
    "empty": {"#now": "Nothing has run yet", "#next": "When enough labels are new", "#history": "Nothing yet"},
    "running": {"#now": "round 40 of 100", "#running": RUNNING},
    "queued": {"#now": "Waits in Dagster's queue"},
    "waiting": {"#decision": "A model waits for your approval", "#changes": "Nothing yet"},
    "promoted": {"#changes": "The new model was promoted", "#running": "No live figures yet"},
    "failed": {"#now": "Failed", "#problems": "1 warning"},
    "broken_registry": {"#problems": "registry repair", "#running": "It cannot be said which model runs"},
    "daemon_down": {"#problems": "Nothing starts by itself now", "#next": "Not before Dagster's daemon runs again"},
    "read_only": {"#problems": "This page is read-only", "#decision": "A model waits for your approval"},
    "invalid_configuration": {"#problems": "The settings are not valid", "#next": "Only when you press Retrain now"},
    "on_trial": {"#decision": "beside the running model until", "#trials": "1,840 minutes on 6 days", "#trials-body": "7 days ago"},
    "on_probation": {"#running": f"beside the model that ran before: {RUNNING}", "#running-body": "On probation until"},
}


@pytest.mark.parametrize("state", STATES)
def test_a_state_has_its_own_words_fits_the_window_and_has_no_serious_finding_of_axe(desk: Desk, state: str) -> None:
    desk.prepared.status = STATES[state]()
    if state in ("first_run", "empty"):
        desk.prepared.history = []
    visit = desk.visit()
    for place, words in WORDS[state].items():
        expect(visit.page.locator(place)).to_contain_text(words)
    expect(visit.page.locator("#trials")).to_be_visible(visible=state == "on_trial")
    for summary in visit.page.locator("main > .answers details > summary").all():
        summary.click()
    for width, dark in ((1440, False), (390, True)):
        visit.change_window(width=width, dark=dark)
        assert visit.overflow == 0
        assert visit.axe_findings() == []
    assert (visit.errors, visit.foreign) == ([], [])


@pytest.mark.parametrize("state", ["rejected", "first_run", "promoted"])
def test_the_cards_of_both_columns_follow_each_other_and_none_is_longer_than_what_it_says(desk: Desk, state: str) -> None:
    desk.prepared.status = STATES[state]()
    page = desk.visit().page
    boxes = {name: page.locator(f"#{name}").bounding_box() or {} for name in ("running", "next", "back", "decision", "changes")}
    pairs = (("running", "next"), ("next", "back"), ("decision", "changes"))
    gaps = [boxes[low]["y"] - boxes[high]["y"] - boxes[high]["height"] for high, low in pairs]
    assert gaps == [16] * 3
    below = page.evaluate(
        "[...document.querySelectorAll('.answers .card')].map(card => card.getBoundingClientRect().bottom - "
        "Math.max(...[...card.children].map(child => child.getBoundingClientRect().bottom)))"
    )
    assert max(below) < 30


@pytest.mark.parametrize("name", ["retrain", "approve", "rollback"])
def test_a_confirmation_fits_the_window_and_has_no_serious_finding_of_axe(desk: Desk, name: str) -> None:
    desk.prepared.status = STATES["waiting"]()
    visit = desk.visit()
    visit.page.locator(f"#{name}-button").click()
    expect(visit.page.locator(f"#{name}-dialog")).to_be_visible()
    assert visit.overflow == 0
    visit.change_window(width=390)
    assert visit.overflow == 0
    assert visit.axe_findings() == []


def test_the_settings_fit_the_window_and_have_no_serious_finding_of_axe(desk: Desk) -> None:
    visit = desk.visit(dark=True)
    visit.page.locator("#settings-details > summary").click()
    expect(visit.page.get_by_label("New label spans that start a retrain")).to_have_value("5")
    visit.page.locator("#settings-fields summary").click()
    assert visit.overflow == 0
    visit.change_window(width=390, dark=True)
    assert visit.overflow == 0
    assert visit.axe_findings() == []


def test_a_way_back_that_was_taken_is_told_with_its_reason(desk: Desk) -> None:
    desk.prepared.status["activeModel"]["wentBackBecause"] = "<b>it missed meetings</b>"
    expect(desk.visit().page.locator("#running")).to_contain_text("It runs again since a rollback: “<b>it missed meetings</b>”.")


def test_a_comparison_in_which_nothing_changed_has_no_figures_of_nothing(desk: Desk) -> None:
    comparison = desk.prepared.status["lastDecision"]["comparison"]
    comparison |= {"after": comparison["before"], "difference": 0.0, "low": 0.0, "high": 0.0, "detectable": 0.0}
    comparison["changes"] = {"becameRight": 0, "becameWrong": 0}
    changes = desk.visit().page.locator("#changes")
    expect(changes).to_contain_text("none becomes right or wrong by it")
    for words in ("interval ±0.000", "0 minutes would", "difference of 0.000"):
        expect(changes).not_to_contain_text(words)


def test_a_model_that_waits_is_not_taken_for_the_one_that_was_just_rejected(desk: Desk) -> None:
    title = desk.visit().page.locator("#approve-title")
    desk.prepared.status["actions"]["approve"] |= {"allowed": True, "reason": None, "decisionId": DECISIONS[2], "modelId": OLD}
    expect(title).to_have_text("The model of an earlier decision waits for your approval:", timeout=20_000)


def test_settings_that_cannot_be_read_are_not_said_to_be_loading(desk: Desk) -> None:
    page = desk.visit().page
    page.route(
        "**/config", lambda route: route.fulfill(status=503, json={"kind": "unavailable", "detail": "taskclf_dagster.yaml: no YAML"})
    )
    page.get_by_text("Change settings").click()
    expect(page.locator("#settings-fields")).to_contain_text("cannot be read now")
    expect(page.locator("#settings-error")).to_contain_text("no YAML")
    page.unroute("**/config")
    page.get_by_text("Change settings").click()
    page.get_by_text("Change settings").click()
    expect(page.get_by_label("Retrain by itself")).to_be_checked()
    expect(page.locator("#settings-error")).to_be_empty()


def test_a_button_that_cannot_be_used_says_why_and_opens_nothing(desk: Desk) -> None:
    status = STATES["read_only"]()
    desk.prepared.status = status
    page = desk.visit().page
    for name, action in {"retrain": "trigger", "approve": "approve", "rollback": "rollback"}.items():
        button = page.locator(f"#{name}-button")
        assert button.get_attribute("aria-disabled") == "true"
        expect(button).to_have_accessible_description(status["actions"][action]["reason"])
        button.click(force=True)
        expect(page.locator(f"#{name}-dialog")).to_be_hidden()


def test_what_the_server_sends_is_shown_as_text_and_never_read_as_html(desk: Desk) -> None:
    status = STATES["failed"]()
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    status["reason"] = status["warnings"][0] = status["lastDecision"]["sentence"] = hostile
    status["activeModel"]["modelId"] = status["lastDecision"]["gates"][0]["title"] = hostile
    desk.prepared.status = status
    desk.prepared.history[0]["sentence"] = hostile
    visit = desk.visit()
    expect(visit.page.locator("#now")).to_contain_text(hostile)
    expect(visit.page.locator("#history-body")).to_contain_text(hostile)
    assert visit.page.locator("main img, main script").count() == 0
    assert visit.errors == []


def test_times_are_those_of_the_device_with_utc_in_the_title(desk: Desk) -> None:
    desk.prepared.status["nextTick"] = "2031-03-04T05:00:00Z"
    time = desk.visit().page.locator("#next dd time")
    expect(time).to_have_text(re.compile(r"4 Mar 2031, 06:00 \(in \d+ years\)"))
    expect(time).to_have_attribute("title", "2031-03-04 05:00 UTC")


def test_a_picture_has_its_words_beside_it_and_as_its_name(desk: Desk) -> None:
    page = desk.visit().page
    sentence = desk.prepared.status["lastDecision"]["comparison"]["sentence"]
    expect(page.get_by_role("img", name=sentence)).to_be_visible()
    expect(page.locator("#changes")).to_contain_text(sentence)
    expect(page.get_by_role("img", name=re.compile("^Macro-F1 of the last 9 decisions, 4 of which passed"))).to_be_visible()


def test_the_history_is_a_table_for_screen_readers_although_a_narrow_window_shows_cards(desk: Desk) -> None:
    page: Page = desk.visit(width=390).page
    table = page.get_by_role("table", name=re.compile("^Retrains, the newest first"))
    expect(table.get_by_role("row")).to_have_count(8)
    expect(table.get_by_role("rowheader")).to_have_count(7)
    expect(table.get_by_role("row").nth(4)).to_contain_text("Would be promoted")
