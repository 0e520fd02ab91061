"""One browser for the tests of a file, and a server with prepared answers for each of them."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from taskclf_dagster.home import Home
from taskclf_dagster_tests.scenario import make_home
from taskclf_dagster_tests.web.browser import Visit, open_browser
from taskclf_dagster_tests.web.page_server import PreparedHome, serving


@dataclass
class Desk:
    """A server with prepared answers, and a browser to look at it.

    Attributes:
        prepared: what the server answers.
        url: of the page.
    """

    prepared: PreparedHome
    url: str
    _browser: Browser
    _open: ExitStack

    def visit(self, **window: Any) -> Visit:
        """Opens the page; the window is closed at the end of the test."""
        return self._open.enter_context(Visit(self._browser, self.url, **window))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


@pytest.fixture
def desk(browser: Browser, home: Home) -> Iterator[Desk]:
    prepared = PreparedHome(home)
    with serving(prepared) as url, ExitStack() as windows:
        yield Desk(prepared, url, browser, windows)
