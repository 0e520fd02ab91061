"""The page of a running server, from a home without a model: each button through to what it changes on the disk."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.home import Home
from taskclf_dagster_tests.servers import (
    PROJECT,
    TIMEOUT_SECONDS,
    Webserver,
    await_server,
    free_port,
    learnable_home,
    make_instance,
    running,
    stop,
    write_config,
)
from taskclf_dagster_tests.web.browser import Visit

pytestmark = [pytest.mark.server, pytest.mark.slow]

PATIENCE = TIMEOUT_SECONDS * 1000
EARLIER = "2026-01-01_000000_run-0001"


@dataclass(frozen=True)
class Served:
    """A running `taskclf-dagster serve`."""

    home: Home
    url: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    home, config = learnable_home(folder), write_config(folder, auto_promote=False)
    make_instance(folder / "dagster")
    port, log = free_port(), folder / "server.log"
    environment = {**os.environ, "DAGSTER_HOME": str(folder / "dagster"), "PYTHONPATH": str(PROJECT)}
    program = "from taskclf_dagster.cli.main import main; main()"
    command = [sys.executable, "-c", program, "serve", "--home", home.root, "--config", config, "--port", str(port)]
    with running(command, log, cwd=folder, env=environment) as process:
        server = Webserver(f"http://127.0.0.1:{port}", log)
        await_server(server, process)
        yield Served(home, f"{server.url}/retrain")
        assert stop(process, signal.SIGINT) == 0


@pytest.fixture(scope="module")
def page(served: Served, browser: Browser) -> Iterator[Page]:
    with Visit(browser, served.url) as visit:
        visit.page.set_default_timeout(30_000)
        yield visit.page
        refused = "the server responded with a status of 422"  # chromium's words for the setting that is not valid
        assert [error for error in visit.errors if refused not in error] == []
        assert visit.foreign == []


def _await_launch(page: Page, words: str) -> None:
    expect(page.locator("#launches")).to_contain_text(words, timeout=PATIENCE)


def test_a_first_model_is_trained_approved_and_rolled_back_from_the_page_alone(served: Served, page: Page) -> None:
    expect(page.locator("#running")).to_contain_text("No model runs yet")
    expect(page.locator("#rollback-button")).to_have_attribute("aria-disabled", "true")

    expect(page.get_by_role("button", name="Retrain now")).not_to_have_attribute("aria-disabled", "true", timeout=PATIENCE)
    page.get_by_role("button", name="Retrain now").click()
    page.get_by_role("dialog").get_by_role("button", name="Retrain").click()
    expect(page.locator("#now progress")).to_be_visible(timeout=PATIENCE)
    _await_launch(page, "The retrain is done")
    expect(page.locator("#decision")).to_contain_text("A model waits for your approval")
    assert read_active(served.home) is None

    page.get_by_role("button", name="Approve …").click()
    page.get_by_role("dialog").get_by_role("button", name="Approve").click()
    _await_launch(page, "The model was approved")
    pointer = read_active(served.home)
    assert pointer is not None
    expect(page.locator("#running")).to_contain_text(pointer.name)
    expect(page.locator("#approve-part")).to_be_hidden()
    expect(page.locator("#history-body")).to_contain_text("Approved")

    without = shutil.ignore_patterns("MANIFEST.json")  # as taskclf writes a model of its own
    shutil.copytree(served.home.models / pointer.name, served.home.models / EARLIER, ignore=without)
    page.reload()
    page.get_by_role("button", name="Roll back …").click()
    page.get_by_label("Reason").fill("it takes reading for a break")
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    _await_launch(page, "Rolled back")
    expect(page.locator("#running")).to_contain_text(EARLIER)
    pointer = read_active(served.home)
    assert pointer is not None
    assert pointer.name == EARLIER
    assert "it takes reading for a break" in served.home.active_history.read_text(encoding="utf-8")


def test_the_report_of_a_decision_opens_from_the_page(served: Served, page: Page) -> None:
    page.get_by_role("link", name="Full report").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.url.startswith(f"{served.url}/reports/")
    page.goto(served.url)


def test_settings_that_are_saved_on_the_page_are_in_the_file_of_the_home(served: Served, page: Page) -> None:
    page.get_by_text("Change settings").click()
    page.get_by_label("Longest retrain (minutes)").fill("44")
    page.get_by_role("button", name="Save changes").click()
    expect(page.locator("#settings-done")).to_contain_text("Saved")
    assert "timeout_minutes: 44" in served.home.settings_file.read_text(encoding="utf-8")
    expect(page.locator("#settings-changes")).to_contain_text("Longest retrain (minutes)")
    page.get_by_label("Longest retrain (minutes)").fill("0")
    page.get_by_role("button", name="Save changes").click()
    expect(page.get_by_label("Longest retrain (minutes)")).to_have_attribute("aria-invalid", "true")
    assert "timeout_minutes: 44" in served.home.settings_file.read_text(encoding="utf-8")
