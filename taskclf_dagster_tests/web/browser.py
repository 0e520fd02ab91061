"""Debian's chromium, driven by playwright: no browser is downloaded, and nothing but the server under test is asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page, expect, sync_playwright

from taskclf_dagster_tests.servers import find_program

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
WIDTHS = {"wide": 1440, "narrow": 390}


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Skips the test where there is no chromium."""
    program = next(filter(None, map(find_program, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(program), args=list(FLAGS))
        yield browser
        browser.close()


class Visit:
    """A page in a window, with what went wrong in it."""

    def __init__(self, browser: Browser, url: str, *, width: int = 1440, dark: bool = False, calm: bool = True) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce" if calm else "no-preference",
            locale="en-GB",
            timezone_id="Europe/Vienna",
        )
        self.url = url
        self.page: Page = self.context.new_page()
        self.errors: list[str] = []
        self.foreign: list[str] = []
        origin = url.partition("/retrain")[0]
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: None if request.url.startswith(origin) else self.foreign.append(request.url))

    def __enter__(self) -> "Visit":
        self.page.goto(self.url)
        expect(self.page.locator("#updated")).not_to_be_empty(timeout=30_000)
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    @property
    def overflow(self) -> int:
        """Pixels by which the content is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def change_window(self, *, width: int, dark: bool = False) -> None:
        """As who makes the window narrower, or whose device turns dark."""
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.emulate_media(color_scheme="dark" if dark else "light")
        self.page.evaluate("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")

    def axe_findings(self) -> list[str]:
        """Serious and critical findings of axe-core."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE_SCRIPT)
        found = self.page.evaluate("axe.run({resultTypes: ['violations']}).then(results => results.violations)")
        return [
            f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]

    def save(self, path: Path) -> None:
        """Takes a picture of the whole page."""
        self.page.screenshot(path=str(path), full_page=True)
