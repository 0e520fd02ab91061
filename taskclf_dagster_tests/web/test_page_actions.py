"""What a person does on the page: each confirmation through to what is sent, and what is shown of it; updates meanwhile."""

import re

import pytest
from playwright.sync_api import Page, expect

from taskclf_dagster_tests.web.conftest import Desk
from taskclf_dagster_tests.web.page_examples import DECISIONS, NEW, OLD, RUN, STATES, config, history
from taskclf_dagster_tests.web.page_server import serving

pytestmark = pytest.mark.server


def _press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def _focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.textContent"))


def test_retrain_says_what_will_happen_sends_the_form_and_follows_the_run_to_its_end(desk: Desk) -> None:
    page = desk.visit().page
    page.get_by_role("button", name="Retrain now").click()
    dialog = page.get_by_role("dialog", name="Retrain now?")
    expect(dialog).to_have_accessible_description(desk.prepared.status["actions"]["trigger"]["effect"])
    dialog.get_by_label("Force").check()
    dialog.get_by_label("Dry run").check()
    dialog.get_by_role("button", name="Retrain").click()
    expect(dialog).to_be_hidden()
    expect(page.locator("#launches")).to_contain_text("Dry run was launched")
    assert desk.prepared.changes == [("trigger", {"force": True, "dryRun": True})]
    desk.prepared.run = {"status": "completed", "message": "REJECT (dry run)"}
    expect(page.locator("#launches")).to_contain_text("The retrain is done", timeout=10_000)
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#launches")).to_be_empty()


def test_approve_names_the_model_and_sends_its_decision(desk: Desk) -> None:
    desk.prepared.status = STATES["waiting"]()
    page = desk.visit().page
    page.get_by_role("button", name="Approve …").click()
    dialog = page.get_by_role("dialog", name="Approve this model?")
    expect(dialog).to_contain_text(NEW)
    expect(dialog.get_by_role("checkbox")).to_be_hidden()
    dialog.get_by_role("button", name="Approve").click()
    expect(page.locator("#launches")).to_contain_text("Approval was launched")
    assert desk.prepared.changes == [("approve", {"decisionId": DECISIONS[-1], "asJudged": False})]


def test_a_decision_that_stricter_settings_stop_is_approved_only_as_it_was_judged(desk: Desk) -> None:
    desk.prepared.status = STATES["waiting"]()
    desk.prepared.status["actions"]["approve"] |= {"allowed": False, "reason": "min_macro_f1 is 0.9 now", "asJudged": True}
    page = desk.visit().page
    page.get_by_role("button", name="Approve …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Approve").click()
    expect(dialog.get_by_label("Approve it as it was judged")).to_be_focused()
    assert desk.prepared.changes == []
    dialog.get_by_label("Approve it as it was judged").check()
    dialog.get_by_role("button", name="Approve").click()
    expect(dialog).to_be_hidden()
    assert desk.prepared.changes == [("approve", {"decisionId": DECISIONS[-1], "asJudged": True})]


def test_roll_back_shows_the_effect_of_the_chosen_model_and_asks_for_a_reason(desk: Desk) -> None:
    page = desk.visit().page
    targets = desk.prepared.status["actions"]["rollback"]["targets"]
    page.get_by_role("button", name="Roll back …").click()
    dialog = page.get_by_role("dialog", name="Roll back to an earlier model?")
    expect(dialog.locator("#rollback-effect")).to_have_text(targets[0]["effect"])
    dialog.get_by_label(targets[1]["modelId"]).check()
    expect(dialog.locator("#rollback-effect")).to_have_text(targets[1]["effect"])
    dialog.get_by_role("button", name="Roll back").click()
    reason = dialog.get_by_label("Reason")
    expect(reason).to_be_focused()
    expect(reason).to_have_accessible_description(re.compile("^Say why"))
    assert desk.prepared.changes == []
    reason.fill("  it takes reading for a break ")
    dialog.get_by_role("button", name="Roll back").click()
    expect(page.locator("#launches")).to_contain_text("Rollback was launched")
    assert desk.prepared.changes == [("rollback", {"to": targets[1]["modelId"], "reason": "it takes reading for a break"})]


def test_a_rollback_is_made_with_the_keyboard_alone_and_the_focus_comes_back(desk: Desk) -> None:
    page = desk.visit().page
    _press(page, "Tab", "Enter")  # the link that skips to the content
    for _ in range(40):
        _press(page, "Tab")
        if _focused(page) == "rollback-button":
            break
    _press(page, "Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert _focused(page) == "target-0"
    _press(page, "ArrowDown", "ArrowUp", "Tab")
    page.keyboard.type("it is worse at meetings")
    _press(page, "Enter")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("#launches")).to_contain_text("Rollback was launched")
    assert desk.prepared.changes == [("rollback", {"to": OLD, "reason": "it is worse at meetings"})]
    assert _focused(page) == "rollback-button"
    _press(page, "Enter", "Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert _focused(page) == "rollback-button"


def test_a_refusal_stands_in_the_dialog_which_stays_open(desk: Desk) -> None:
    detail = f"A retrain is queued already: run {RUN}."
    desk.prepared.refusals["trigger"] = (409, {"kind": "retrain_under_way", "detail": detail})
    page = desk.visit().page
    page.get_by_role("button", name="Retrain now").click()
    page.get_by_role("dialog").get_by_role("button", name="Retrain").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text(detail)
    expect(page.get_by_role("dialog").get_by_role("button", name="Retrain")).to_be_enabled()


def test_the_page_follows_a_run_every_two_seconds_and_an_open_dialog_keeps_what_was_typed_in_it(desk: Desk) -> None:
    desk.prepared.status = STATES["running"]()
    page = desk.visit().page
    expect(page.locator("#now")).to_contain_text("round 40 of 100")
    page.get_by_text("More about this model").click()
    page.get_by_role("button", name="Roll back …").click()
    page.get_by_label("Reason").type("half a rea")
    desk.prepared.status["progress"]["round"] = 77
    expect(page.locator("#now")).to_contain_text("round 77 of 100", timeout=4000)
    page.keyboard.type("son")
    expect(page.get_by_label("Reason")).to_have_value("half a reason")
    assert page.locator("#running details").get_attribute("open") is not None
    desk.prepared.status = STATES["promoted"]()
    expect(page.locator("#announcer")).to_contain_text("became the running model", timeout=4000)
    expect(page.get_by_role("dialog")).to_be_visible()


def test_a_hidden_page_asks_nothing_and_asks_at_once_when_it_is_seen_again(desk: Desk) -> None:
    desk.prepared.status = STATES["running"]()
    page = desk.visit().page
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_timeout(300)  # an answer that was on its way
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(3000)
    assert asked == []
    page.evaluate("Object.defineProperty(document, 'hidden', {value: false})")
    with page.expect_response("**/status", timeout=1500):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_a_lost_server_is_said_nothing_can_be_pressed_and_the_page_comes_back_by_itself_with_a_new_token(desk: Desk) -> None:
    port = int(desk.url.split(":")[2].split("/")[0])
    with serving(desk.prepared) as url:
        other = int(url.split(":")[2].split("/")[0])
        desk.url = url
        visit = desk.visit()
        visit.page.evaluate("window.isTheSame = true")
        desk.prepared.status["state"] = "running"
        desk.prepared.status["progress"] = STATES["running"]()["progress"]
        visit.page.reload()
        expect(visit.page.locator("#now")).to_contain_text("round 40")
    assert port != other
    page = visit.page
    expect(page.locator("#connection")).to_contain_text("The connection to the server is lost", timeout=8000)
    expect(page.locator("#rollback-button")).to_have_accessible_description("The server does not answer.")
    with serving(desk.prepared, other):
        expect(page.locator("#connection")).to_be_empty(timeout=10_000)
        expect(page.locator("#announcer")).to_contain_text("The connection is back.")
        page.get_by_role("button", name="Roll back …").click()
        page.get_by_label("Reason").fill("a token of the first server")
        page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
        expect(page.get_by_role("dialog")).to_be_hidden()
    assert [name for name, _ in desk.prepared.changes] == ["rollback"]


def test_earlier_retrains_are_shown_when_they_are_asked_for(desk: Desk) -> None:
    desk.prepared.history = [{**history()[0], "id": f"run-{number}"} for number in range(45)]
    page = desk.visit().page
    rows = page.locator("#history-body tbody tr")
    expect(rows).to_have_count(20)
    page.get_by_role("button", name="Show earlier ones").click()
    expect(rows).to_have_count(40)
    page.get_by_role("button", name="Show earlier ones").click()
    expect(rows).to_have_count(45)
    expect(page.get_by_role("button", name="Show earlier ones")).to_be_hidden()


def _open_settings(page: Page) -> None:
    page.get_by_text("Change settings").click()
    expect(page.get_by_label("Retrain by itself")).to_be_checked()


def test_changed_settings_are_sent_alone_and_it_is_said_when_they_count(desk: Desk) -> None:
    page = desk.visit().page
    _open_settings(page)
    page.get_by_label("New label spans that start a retrain").fill("12")
    page.get_by_label("Promote without asking").check()
    page.get_by_label("Time zone of the schedule").fill("Europe/Vienna")
    page.get_by_role("button", name="Save changes").click()
    expect(page.locator("#settings-done")).to_contain_text("New label spans that start a retrain: from the next run")
    changed = {"min_new_labels": 12, "auto_promote": True, "schedule.timezone": "Europe/Vienna"}
    assert desk.prepared.changes == [("config", changed)]
    expect(page.locator("#settings-changes")).to_contain_text("ada@example.org")


def test_a_setting_that_is_not_valid_is_marked_with_the_reason(desk: Desk) -> None:
    errors = [{"pointer": "#/min_new_labels", "detail": "must be at least 1"}]
    desk.prepared.refusals["config"] = (422, {"kind": "invalid", "detail": "min_new_labels must be at least 1", "errors": errors})
    page = desk.visit().page
    _open_settings(page)
    field = page.get_by_label("New label spans that start a retrain")
    field.fill("0")
    page.get_by_role("button", name="Save changes").click()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(re.compile("must be at least 1$"))
    expect(field).to_have_value("0")


def test_settings_that_somebody_else_changed_meanwhile_are_not_overwritten(desk: Desk) -> None:
    page = desk.visit().page
    _open_settings(page)
    page.get_by_label("New label spans that start a retrain").fill("12")
    desk.prepared.config, desk.prepared.etag = config(min_new_labels=9), '"other"'
    page.get_by_role("button", name="Save changes").click()
    expect(page.locator("#settings-error")).to_contain_text("changed elsewhere")
    page.get_by_role("button", name="Undo my changes").click()
    expect(page.get_by_label("New label spans that start a retrain")).to_have_value("9")
