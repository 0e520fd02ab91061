"""Attacks on a real server, as pages of other sites and programs without the token make them; some of them on a plain one of Dagster.

The servers are in `attacked`.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from websockets.exceptions import InvalidStatus

from taskclf_dagster.web.security import PAGE_TOKEN_HEADER
from taskclf_dagster_tests.web.attacked import JSON, LAUNCH, TOKEN, TRIGGER, Target, attacked

pytestmark = pytest.mark.server

SIMPLE = ["text/plain", "text/plain;application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
"""What a page may send to another site without asking it first."""

FOREIGN = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "empty"}


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Target]]:
    kinds: dict[str, dict] = {
        "plain": {"module": "dagster_webserver"},
        "open": {},
        "token": {"token": TOKEN},
        "read_only": {"options": ("--read-only",)},
    }
    with ExitStack() as stack:
        yield {name: stack.enter_context(attacked(tmp_path_factory.mktemp(name), **how)) for name, how in kinds.items()}


@pytest.fixture
def site(targets: dict[str, Target]) -> Target:
    """The server as it is on the machine of one person: on loopback, without a token."""
    return targets["open"]


def _page_token(site: Target) -> str:
    """What a page of the server itself holds: the token, which is also the cookie."""
    return site.send("GET", "/retrain", headers={"Accept": "text/html"}).headers["set-cookie"].partition("=")[2].partition(";")[0]


def _cookie(site: Target, token: str) -> dict[str, str]:
    return {"Cookie": f"taskclf_token_{site.port}={token}"}


def test_a_plain_webserver_of_dagster_lets_a_foreign_page_launch(targets: dict[str, Target]) -> None:
    plain = targets["plain"]
    rebound = plain.post(LAUNCH, {**JSON, "Host": "evil.example", "Origin": "http://evil.example"})
    by_get = plain.send("GET", "/graphql?query=" + LAUNCH.replace(" ", "%20").replace('"', "%22"), headers=FOREIGN)
    simple = plain.post(LAUNCH, {**FOREIGN, "Content-Type": "text/plain;application/json"})
    assert [answer.status for answer in (rebound, by_get, simple)] == [200, 200, 200]
    assert plain.launched == 3
    assert plain.greet(Origin="http://evil.example") == {"type": "connection_ack"}
    assert "x-frame-options" not in plain.send("GET", "/").headers


def test_its_own_pages_and_programs_of_this_machine_may_launch(site: Target) -> None:
    before = site.launched
    own = {**JSON, "Origin": f"http://127.0.0.1:{site.port}", "Sec-Fetch-Site": "same-origin"}
    assert "LaunchRunSuccess" in site.post(LAUNCH, own).text
    assert "LaunchRunSuccess" in site.post(LAUNCH).text
    assert site.launched == before + 2
    assert site.greet(Origin=f"http://127.0.0.1:{site.port}") == site.greet() == {"type": "connection_ack"}


def test_dns_rebinding_reaches_nothing(site: Target) -> None:
    before = site.launched
    rebound = {**JSON, "Host": f"evil.example:{site.port}", "Origin": f"http://evil.example:{site.port}", "Sec-Fetch-Site": "same-origin"}
    for path in ("/graphql", TRIGGER, "/retrain", "/report_asset_materialization/x", "/retrain/health"):
        assert site.send("POST", path, json.dumps({"query": LAUNCH}), rebound).status == 400
        assert site.send("GET", path, headers={"Host": "evil.example"}).status == 400
    with pytest.raises(InvalidStatus, match="400"):
        site.greet(Host="evil.example")
    assert site.launched == before


def test_a_mutation_by_get_is_not_executed_whoever_asks(site: Target) -> None:
    before = site.launched
    for path in ("/graphql", "/graphql%0A", "/%67raphql"):
        asked = f"{path}?query=" + LAUNCH.replace(" ", "%20").replace('"', "%22")
        visit = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html"}
        assert site.send("GET", asked, headers=FOREIGN).status == 403
        assert site.send("GET", asked).status == 405
        assert site.send("GET", asked, headers={"Accept": "text/html"}).status == 200  # the page for queries, which executes nothing
        assert "http-equiv" in site.send("GET", asked, headers=visit).text
    assert site.launched == before


@pytest.mark.parametrize("content", SIMPLE)
def test_a_post_that_needs_no_permission_of_the_browser_changes_nothing(site: Target, content: str) -> None:
    before, token = site.launched, _page_token(site)
    for path in ("/graphql", TRIGGER, "/report_asset_materialization/x"):
        body = json.dumps({"query": LAUNCH})
        assert site.send("POST", path, body, {**FOREIGN, "Content-Type": content}).status == 403
        without_origin = {"Content-Type": content, PAGE_TOKEN_HEADER: token, **_cookie(site, token)}  # as an old browser sends it
        assert site.send("POST", path, body, without_origin).status == 415
    assert site.launched == before


def test_a_foreign_page_gets_no_permission_from_the_browser_s_question(site: Target) -> None:
    question = {**FOREIGN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    for path in ("/graphql", TRIGGER):
        answer = site.send("OPTIONS", path, headers=question)
        assert (answer.status, "access-control-allow-origin" in answer.headers) == (403, False)


def test_a_websocket_of_a_foreign_page_is_refused(site: Target) -> None:
    for origin in ("http://evil.example", "null", f"http://localhost:{site.port}", f"http://127.0.0.1:{site.port + 1}"):
        with pytest.raises(InvalidStatus, match="403"):
            site.greet(Origin=origin)


def test_a_change_of_ours_without_the_page_s_token_is_refused(site: Target) -> None:
    before, token = site.launched, _page_token(site)
    forged = f"{token[:-1]}{'0' if token[-1] != '0' else '1'}"
    for headers in (
        {},
        _cookie(site, token),
        {PAGE_TOKEN_HEADER: token},
        {PAGE_TOKEN_HEADER: forged, **_cookie(site, forged)},
        {PAGE_TOKEN_HEADER: token, **_cookie(site, _page_token(site))},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {TOKEN}"},
    ):
        answer = site.send("POST", TRIGGER, "{}", {**JSON, **headers})
        assert (answer.status, json.loads(answer.text)["kind"]) == (403, "page_token"), headers
    assert site.launched == before
    assert site.send("POST", TRIGGER, "{}", {**JSON, PAGE_TOKEN_HEADER: token, **_cookie(site, token)}).status not in (401, 403)


def test_no_answer_may_be_framed(site: Target) -> None:
    assert site.send("GET", "/retrain/health").headers["x-frame-options"] == "DENY"
    for path in ("/", "/runs", "/graphql", "/favicon.png"):
        headers = site.send("GET", path, headers={"Accept": "text/html"}).headers
        assert headers["x-frame-options"] == "SAMEORIGIN"
        assert "frame-ancestors 'self'" in headers["content-security-policy"]


def test_with_a_token_nothing_is_reached_without_it(targets: dict[str, Target]) -> None:
    signed_only = targets["token"]
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": f"taskclf_session_{signed_only.port}=made-up"}):
        for path in ("/", "/graphql", TRIGGER, "/server_info", "/logs/x", "/retrain", "/api/ml/retrain/status"):
            assert signed_only.send("GET", path, headers=headers).status == 401
        assert signed_only.post(LAUNCH, {**JSON, **headers}).status in (401, 429)
        with pytest.raises(InvalidStatus, match=r"401|429"):
            signed_only.greet(**headers)
        if "Authorization" in headers:
            break  # more wrong ones and this address would have to wait
    assert signed_only.launched == 0


def test_the_token_or_a_session_opens_everything_but_a_session_alone_changes_nothing(targets: dict[str, Target]) -> None:
    signed_only = targets["token"]
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    signed = signed_only.send("POST", "/retrain/sign-in", f"token={TOKEN}", form)
    assert signed.status == 303
    session = {"Cookie": signed.headers["set-cookie"].partition(";")[0]}
    for headers in (bearer, session):
        assert "LaunchRunSuccess" in signed_only.post(LAUNCH, {**JSON, **headers}).text
        assert signed_only.greet(**headers) == {"type": "connection_ack"}
    assert signed_only.send("POST", TRIGGER, "{}", {**JSON, **session}).status == 403
    assert signed_only.send("POST", TRIGGER, "{}", {**JSON, **bearer}).status not in (401, 403)
    assert signed_only.send("POST", "/retrain/sign-in", f"token={TOKEN}", {**form, **FOREIGN}).status == 403


def test_a_read_only_server_launches_neither_over_graphql_nor_over_the_api(targets: dict[str, Target]) -> None:
    readers = targets["read_only"]
    token = _page_token(readers)
    answer = readers.post(LAUNCH)
    assert "UnauthorizedError" in answer.text
    answer = readers.send("POST", TRIGGER, "{}", {**JSON, PAGE_TOKEN_HEADER: token, **_cookie(readers, token)})
    assert (answer.status, json.loads(answer.text)["kind"]) == (403, "read_only")
    assert readers.send("POST", "/report_asset_materialization/x", "{}", JSON).status == 403
    assert readers.post("{ version }").status == 200
    assert readers.launched == 0
