"""`taskclf-dagster serve --homes` as a team lead starts it: the list, the page of a home, and what its buttons change for it alone."""

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from taskclf_dagster.cli.homes_instance import INSTANCE
from taskclf_dagster.domain.registry.pointer import read_active
from taskclf_dagster.entry_paths import CONFIG_VARIABLE, HOME_VARIABLE, HOMES_VARIABLE, INSTANCE_VARIABLE
from taskclf_dagster.home import Home
from taskclf_dagster.web.rules import TOKEN_VARIABLE
from taskclf_dagster_tests.servers import (
    PROJECT,
    TIMEOUT_SECONDS,
    Webserver,
    await_server,
    free_port,
    learnable_home,
    running,
    stop,
    write_config,
)
from taskclf_dagster_tests.web.browser import Visit

pytestmark = [pytest.mark.server, pytest.mark.long]

PATIENCE = TIMEOUT_SECONDS * 1000
OWN = (HOME_VARIABLE, HOMES_VARIABLE, CONFIG_VARIABLE, INSTANCE_VARIABLE, TOKEN_VARIABLE)


@dataclass(frozen=True)
class Served:
    """A running server of the homes anna and ben; eve has no folder."""

    folder: Path
    url: str

    def home(self, name: str) -> Home:
        return Home(self.folder / name / "home")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("team")
    lines = ["homes:"]
    for name in ("anna", "ben"):
        (folder / name).mkdir()
        lines.append(f"  {name}: {learnable_home(folder / name).root}")
    (folder / "homes.yaml").write_text("\n".join([*lines, f"  eve: {folder / 'eve'}"]) + "\n", encoding="utf-8")
    config = write_config(folder, auto_promote=False)
    port, log = free_port(), folder / "server.log"
    environment = {**{name: value for name, value in os.environ.items() if name not in OWN}, "PYTHONPATH": str(PROJECT)}
    program = "from taskclf_dagster.cli.main import main; main()"
    command = [sys.executable, "-c", program, "serve", "--homes", folder / "homes.yaml", "--config", config, "--port", str(port)]
    with running(command, log, cwd=folder, env=environment) as process:
        server = Webserver(f"http://127.0.0.1:{port}", log)
        await_server(server, process)
        yield Served(folder, f"{server.url}/retrain")
        assert stop(process, signal.SIGINT) == 0


@pytest.fixture(scope="module")
def page(served: Served, browser: Browser) -> Iterator[Page]:
    with Visit(browser, served.url) as visit:
        visit.page.set_default_timeout(30_000)
        yield visit.page
        assert visit.errors == []


def test_the_list_leads_to_a_home_whose_retrain_button_retrains_this_home_alone(served: Served, page: Page) -> None:
    rows = page.locator("#homes-body tbody th")
    expect(rows).to_have_text(["eve", "anna", "ben"])
    page.get_by_role("link", name="anna").click()
    expect(page.get_by_role("heading", name="Retraining of anna")).to_be_visible()
    expect(page.locator("#problems")).not_to_contain_text("Nothing starts by itself", timeout=PATIENCE)
    page.get_by_role("button", name="Retrain now").click()
    page.get_by_role("dialog").get_by_role("button", name="Retrain").click()
    expect(page.locator("#launches")).to_contain_text("The retrain is done", timeout=PATIENCE)
    expect(page.locator("#approve-part")).to_be_visible()
    assert (read_active(served.home("anna")), read_active(served.home("ben"))) == (None, None)
    assert not served.home("ben").decisions.exists()


def test_an_approval_there_makes_its_model_the_running_one_and_the_list_says_so(served: Served, page: Page) -> None:
    page.get_by_role("button", name="Approve …").click()
    page.get_by_role("dialog").get_by_role("button", name="Approve").click()
    expect(page.locator("#launches")).to_contain_text("The model was approved", timeout=PATIENCE)
    active = read_active(served.home("anna"))
    assert active is not None
    page.get_by_role("link", name="All homes").click()
    expect(page.locator("#homes-body tr[data-key=anna]")).to_contain_text(active.name, timeout=PATIENCE)
    expect(page.locator("#homes-body tr[data-key=anna]")).to_contain_text("Approved")
    expect(page.locator("#homes-body tr[data-key=ben]")).to_contain_text("none yet")


def test_the_settings_of_a_home_are_changed_on_its_page(served: Served, page: Page) -> None:
    page.get_by_role("link", name="ben").click()
    expect(page.get_by_role("heading", name="Retraining of ben")).to_be_visible()
    page.get_by_text("Change settings").click()
    page.get_by_label("Retrain by itself").uncheck()
    page.get_by_role("button", name="Save changes").click()
    expect(page.locator("#settings-done")).to_contain_text("Saved.")
    assert "enabled: false" in served.home("ben").settings_file.read_text(encoding="utf-8")
    assert not served.home("anna").settings_file.exists()


def test_dagster_has_one_code_location_in_an_instance_beside_the_homes_file(served: Served) -> None:
    url = served.url.removesuffix("/retrain")
    assert Webserver(url, served.folder / "server.log").locations() == [("taskclf_dagster", "RepositoryLocation")]
    assert "HomeQueue" in (served.folder / INSTANCE / "dagster.yaml").read_text(encoding="utf-8")
    assert requests.get(f"{url}/api/ml/retrain/status", timeout=TIMEOUT_SECONDS).status_code == 404
