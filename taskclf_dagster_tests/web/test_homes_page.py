"""The list of 200 homes in a browser, from the real server over generated homes: what it says, how it is filtered, and what it costs."""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from playwright.sync_api import Browser, expect

from taskclf_dagster.config.home_directory import HomeDirectory
from taskclf_dagster.status.homes_overview import HomesReader
from taskclf_dagster_tests.many_homes import fail, make_homes, many
from taskclf_dagster_tests.runs import Status, add_run
from taskclf_dagster_tests.web.api_scenario import serving
from taskclf_dagster_tests.web.browser import Visit
from taskclf_dagster_tests.web.homes_scenario import listening_to_browsers

pytestmark = pytest.mark.server

COUNT, RUNNING, FAILED = 200, "person-000", "person-001"
HOSTILE = "<img src=x onerror=alert(1)>"


@dataclass
class Team:
    """A running server of many homes, and a browser to look at it."""

    directory: HomeDirectory
    instance: dg.DagsterInstance
    url: str
    browser: Browser
    _open: ExitStack

    def visit(self, path: str = "", **window: Any) -> Visit:
        visit = self._open.enter_context(Visit(self.browser, self.url + path, **window))
        visit.page.set_default_timeout(30_000)
        return visit


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HomeDirectory, dg.DagsterInstance, str]]:
    folder = tmp_path_factory.mktemp("team")
    directory = make_homes(folder / "people", many(COUNT))
    text = directory.path.read_text(encoding="utf-8")
    directory.path.write_text(text.replace("/person-051", f"/{HOSTILE}"), encoding="utf-8")
    with serving(folder) as server:
        fail(server.instance, directory.open(FAILED))
        add_run(server.instance, directory.open(RUNNING), Status.STARTED)
        with listening_to_browsers(server, directory) as url:
            yield directory, server.instance, url


@pytest.fixture
def team(served: tuple[HomeDirectory, dg.DagsterInstance, str], browser: Browser) -> Iterator[Team]:
    with ExitStack() as windows:
        yield Team(*served, browser, windows)


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (390, True)])
def test_every_home_has_a_row_which_fits_the_window_and_has_no_serious_finding_of_axe(team: Team, width: int, dark: bool) -> None:
    visit = team.visit(width=width, dark=dark)
    table = visit.page.get_by_role("table", name="Homes, those that need attention first")
    expect(table.get_by_role("rowheader")).to_have_count(COUNT)
    names = table.get_by_role("rowheader").all_inner_texts()
    assert names[:10] == [f"person-{number:03}" for number in (7, 11, 47, 51, 87, 91, 127, 131, 167, 171)]
    assert names[10:12] == [FAILED, "person-003"]
    assert names[names.index(RUNNING) - 1 :][:3] == ["person-163", RUNNING, "person-002"]
    row = table.get_by_role("row").filter(has_text="person-007")
    expect(row).to_contain_text("registry repair")
    expect(table.get_by_role("row").filter(has_text="person-011")).to_contain_text("There is no folder")
    expect(table.get_by_role("row").filter(has_text=FAILED)).to_contain_text("disk is full")
    expect(table.get_by_role("row").filter(has_text=RUNNING)).to_contain_text("Retraining now")
    assert visit.overflow == 0
    assert visit.axe_findings() == []
    assert (visit.errors, visit.foreign) == ([], [])


def test_what_a_home_says_is_shown_as_text_and_never_read_as_html(team: Team) -> None:
    visit = team.visit()
    expect(visit.page.get_by_role("row").filter(has_text="person-051")).to_contain_text(HOSTILE)
    assert visit.page.locator("main img").count() == 0
    assert visit.errors == []


def test_the_list_is_filtered_with_the_keyboard_alone_and_leads_to_a_home_and_back(team: Team) -> None:
    page = team.visit().page
    rows = page.locator("#homes-body tbody tr")
    expect(rows).to_have_count(COUNT)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Find")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("radio", name=f"All ({COUNT})")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="Needs attention (16)")).to_be_checked()
    expect(rows).to_have_count(16)
    expect(page.get_by_role("status").filter(has_text=f"16 of {COUNT} homes shown.")).to_be_visible()
    page.keyboard.press("Shift+Tab")
    page.keyboard.type("PERSON-04")
    expect(rows).to_have_count(2)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="person-047")).to_be_focused()
    page.get_by_label("Find").fill("")
    page.get_by_role("radio", name="Waits for approval (5)").check()
    expect(rows).to_have_count(5)
    page.get_by_label("Find").fill("nobody")
    expect(page.locator("#homes-body")).to_contain_text("No home matches")
    page.get_by_label("Find").fill("person-003")
    page.get_by_role("link", name="person-003").press("Enter")
    expect(page.get_by_role("heading", name="Retraining of person-003")).to_be_visible()
    expect(page.locator("#decision")).to_contain_text("A model waits for your approval")
    page.get_by_role("link", name="All homes").click()
    expect(rows).to_have_count(COUNT)


def test_a_home_that_fails_while_one_looks_moves_up_and_is_announced(team: Team) -> None:
    page = team.visit().page
    page.get_by_label("Find").fill("person-005")
    expect(page.locator("#homes-body tbody tr")).to_have_count(1)
    fail(team.instance, team.directory.open("person-005"))
    expect(page.locator("#homes-body")).to_contain_text("disk is full", timeout=60_000)
    expect(page.locator("#announcer")).to_contain_text("person-005: The last retrain failed")
    expect(page.get_by_label("Find")).to_have_value("person-005")


@pytest.mark.parametrize("width", [1440, 390])
def test_the_page_of_one_home_has_its_name_and_links_that_stay_with_it(team: Team, width: int) -> None:
    visit = team.visit("/homes/person-002", width=width)
    page = visit.page
    expect(page.get_by_role("heading", name="Retraining of person-002")).to_be_visible()
    expect(page.locator("#running-body .id").first).to_have_text("2026-02-04_000000_run-0003")
    reports = [link.get_attribute("href") or "" for link in page.locator("a[href*=reports]").all()]
    assert reports
    assert all(href.startswith("/retrain/homes/person-002/reports/") for href in reports)
    page.get_by_text("Change settings").click()
    expect(page.locator("#settings-fields")).to_contain_text("homes/person-002/taskclf_dagster.yaml")
    assert (visit.overflow, visit.axe_findings(), visit.errors, visit.foreign) == (0, [], [], [])


def test_an_address_without_a_home_says_what_is_wrong_with_a_way_back(team: Team) -> None:
    page = team.browser.new_page()
    try:
        for name, status, words in (("person-2", 404, "There is no such home"), ("person-011", 503, "This home cannot be shown")):
            answer = page.goto(f"{team.url}/homes/{name}")
            assert answer is not None
            assert answer.status == status
            expect(page.get_by_role("heading", name=words)).to_be_visible()
            expect(page.get_by_role("link", name="Back to Retraining")).to_have_attribute("href", "/retrain")
    finally:
        page.close()


def test_the_address_of_a_report_without_a_home_leads_to_the_home_that_has_it(team: Team) -> None:
    home = team.directory.open("person-042")
    home.reports.mkdir(parents=True, exist_ok=True)
    decision = "2026-11-23_060000_7ce81256"
    (home.reports / f"{decision}.html").write_text("<h1>Report</h1>", encoding="utf-8")
    page = team.browser.new_page()
    try:
        page.goto(f"{team.url}/reports/{decision}")
        assert page.url.endswith(f"/retrain/homes/person-042/reports/{decision}")
        expect(page.get_by_role("heading", name="Report")).to_be_visible()
        page.goto(f"{team.url}/reports/2026-11-24_060000_7ce81256")
        assert re.search("There is no report", page.content())
    finally:
        page.close()


def test_reading_200_homes_again_takes_less_than_a_second_of_processor_time(team: Team) -> None:
    reader, homes = HomesReader(), team.directory.list_homes()
    reader.read(team.instance, homes, datetime.now(UTC))
    begin = time.process_time()
    overview = reader.read(team.instance, homes, datetime.now(UTC))
    assert time.process_time() - begin < 1.0
    assert len(overview.homes) == COUNT
