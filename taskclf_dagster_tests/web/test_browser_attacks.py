"""A real browser, signed in to the server, that opens a page of another site; and how it signs in and follows a link from there."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pytest
from playwright.sync_api import BrowserContext, Page, sync_playwright

from taskclf_dagster_tests.servers import find_program
from taskclf_dagster_tests.web.attacked import LAUNCH, TOKEN, TRIGGER, Target, attacked

pytestmark = pytest.mark.server

EVIL = """<!doctype html><title>Nice pictures</title>
<a id="link" href="{url}/runs">runs</a>
<img src="{url}/graphql?query={launch}">
<iframe name="hidden" src="{url}/runs"></iframe>
<iframe name="answer"></iframe>
<form id="form" method="post" enctype="text/plain" target="answer" action="{url}/graphql"><input name='{body}' value=''></form>
<script>
  document.getElementById('form').submit();
  const body = {body};
  const sent = ['/graphql', '{trigger}'].flatMap(path => ['text/plain;application/json', 'application/json'].map(type =>
    fetch('{url}' + path, {{method: 'POST', mode: type === 'application/json' ? 'cors' : 'no-cors', credentials: 'include',
      headers: {{'Content-Type': type}}, body: JSON.stringify(body)}}).catch(() => null)));
  const greeting = new Promise(done => {{
    const socket = new WebSocket('{socket}/graphql', 'graphql-ws');
    socket.onopen = () => done('open'); socket.onerror = () => done('refused');
  }});
  Promise.all([...sent, greeting]).then(all => document.title = 'socket ' + all.at(-1));
</script>
"""


@pytest.fixture(scope="module", params=["open", "token"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Target, bool]]:
    with_token = request.param == "token"
    with attacked(tmp_path_factory.mktemp(request.param), token=TOKEN if with_token else "") as target:
        yield target, with_token


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    program = find_program("chromium")
    if program is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(program), args=["--no-sandbox", "--disable-gpu"])
        yield started.new_context()
        started.close()


@contextmanager
def evil_site(target: Target) -> Iterator[str]:
    """Another site: localhost is one for a browser that knows the server as 127.0.0.1."""
    url = f"http://127.0.0.1:{target.port}"
    body = json.dumps({"query": LAUNCH})
    text = EVIL.format(url=url, socket=url.replace("http", "ws"), launch=quote(LAUNCH), body=body.replace("'", "&#39;"), trigger=TRIGGER)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def sign_in(page: Page, target: Target) -> None:
    page.goto(f"http://127.0.0.1:{target.port}/runs")
    page.get_by_label("Token of this server").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").wait_for()
    page.get_by_label("Token of this server").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"http://127.0.0.1:{target.port}/runs")


def test_a_page_of_another_site_can_launch_nothing_and_a_link_on_it_is_followed(site: tuple[Target, bool], browser: BrowserContext) -> None:
    target, with_token = site
    page = browser.new_page()
    if with_token:
        sign_in(page, target)
    with evil_site(target) as evil:
        page.goto(evil)
        page.wait_for_function("document.title.startsWith('socket')")
        assert page.title() == "socket refused"
        assert "Runs" not in (page.frame("hidden") or page).content(), "a frame shows the page of the server"
        assert target.launched == 0
        page.click("#link")
        page.wait_for_url(f"http://127.0.0.1:{target.port}/runs")
        page.get_by_text("Runs").first.wait_for()  # with its session: the sign-in page is not in between
    page.close()
