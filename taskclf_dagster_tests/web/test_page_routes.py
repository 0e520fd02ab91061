"""The routes of the page: what they serve, and under which content policy."""

import asyncio
import re

import httpx
import pytest

from taskclf_dagster.home import Home
from taskclf_dagster.web.headers import OWN_POLICY
from taskclf_dagster_tests.web.page_server import PreparedHome, build_application

DECISION = "2026-11-23_060000_7ce81256"


class Client:
    """Asks the application without a server between."""

    def __init__(self, home: Home) -> None:
        self._app = build_application(PreparedHome(home), 3000)

    def get(self, path: str) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="http://127.0.0.1:3000") as client:
                return await client.get(path)

        return asyncio.run(ask())


@pytest.fixture
def client(home: Home) -> Client:
    return Client(home)


def test_the_page_has_no_inline_script_and_no_inline_style_and_names_no_other_host(client: Client) -> None:
    answer = client.get("/retrain")
    assert answer.headers["Content-Security-Policy"] == OWN_POLICY
    assert re.findall(r"<script(?! type=\"module\" src=\"/retrain/static/main.js\">)|<style|style=|\son[a-z]+=|https?:", answer.text) == []


def test_the_page_has_the_token_that_its_cookie_has(client: Client) -> None:
    answer = client.get("/retrain")
    token = re.search(r'name="taskclf-token" content="([^"]+)"', answer.text)
    assert token is not None
    assert answer.cookies["taskclf_token_3000"] == token[1]


def test_every_file_that_the_page_loads_is_there_and_is_asked_for_again_after_an_update(client: Client) -> None:
    waiting, seen = re.findall(r'"(/retrain/static/[^"]+)"', client.get("/retrain").text), set()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["Cache-Control"] == "no-cache"
        imported = re.findall(r'from "\./([^"]+)"', answer.text)
        waiting += [found for name in imported if (found := f"/retrain/static/{name}") not in seen]
    assert len(seen) > 10


def test_a_report_may_have_its_own_styles_and_no_script(client: Client, home: Home) -> None:
    home.reports.mkdir(parents=True)
    (home.reports / f"{DECISION}.html").write_text("<h1>Report</h1>", encoding="utf-8")
    answer = client.get(f"/retrain/reports/{DECISION}")
    assert (answer.status_code, answer.text) == (200, "<h1>Report</h1>")
    assert "script-src" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_a_decision_without_a_report_is_answered_with_the_command_that_writes_one(client: Client) -> None:
    answer = client.get(f"/retrain/reports/{DECISION}")
    assert answer.status_code == 404
    assert f"taskclf-dagster report {DECISION}" in answer.text


@pytest.mark.parametrize("name", ["x; rm -rf ~", "..%2F..%2Fsecret", "<script>", "secret", "%00"])
def test_an_address_that_names_no_decision_reads_no_file_and_shows_no_command(client: Client, home: Home, name: str) -> None:
    home.reports.mkdir(parents=True)
    for folder in (home.reports, home.artifacts, home.root):
        (folder / "secret.html").write_text("secret", encoding="utf-8")
    answer = client.get(f"/retrain/reports/{name}")
    assert answer.status_code == 404
    assert "secret" not in answer.text
    assert "taskclf-dagster report" not in answer.text
