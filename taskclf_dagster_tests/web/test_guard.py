"""The guard in front of a small application: what is refused, with which status, and what every answer says."""

import re
from collections.abc import Mapping

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from taskclf_dagster.web.access import AccessRules
from taskclf_dagster.web.health import HEALTH
from taskclf_dagster.web.security import MAX_BODY_BYTES, MAX_OWN_BODY_BYTES, PAGE_TOKEN_HEADER, Guard
from taskclf_dagster.web.sign_in import SIGN_IN, SIGN_OUT
from taskclf_dagster.web.tokens import MAX_WRONG
from taskclf_dagster_tests.asgi import TestClient, WebSocketDenialResponse

URL, SOCKET, API, PAGE = "http://127.0.0.1:3000", "ws://127.0.0.1:3000/graphql", "/api/ml/retrain/trigger", "/retrain"
TOKEN = "0123456789abcdef0123"  # noqa: S105  # of the test alone
REPORT = "/report_asset_materialization/some"


async def _answer(request: Request) -> Response:
    await request.body()
    if request.url.path == PAGE:
        return HTMLResponse(f"<meta name=token content={request.state.page_token}>")
    names = ("user", "read_only", "signed_in")
    return JSONResponse({name: getattr(request.state, name) for name in names})


async def _greet(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


def site(*, signed: bool = False, **rules: object) -> TestClient:
    """A client of a small application behind the guard; `signed` sends the token of the server."""
    methods = ["GET", "POST", "PUT", "DELETE"]
    routes = [WebSocketRoute("/graphql", _greet), Route("/{path:path}", _answer, methods=methods)]
    app = Starlette(routes=routes, middleware=[Middleware(Guard, rules=AccessRules(listens_at=3000, **rules))])  # type: ignore[arg-type]
    return TestClient(app, URL, headers=bearer() if signed else None, follow_redirects=False, raise_server_exceptions=False)


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def page_token(client: TestClient) -> str:
    """Loads the page, whose cookie the client keeps, and returns the token in it."""
    text = client.get(PAGE, headers={"Accept": "text/html"}).text
    return text.partition("content=")[2].rstrip(">")


def kind(answer: object) -> tuple[int, str | None]:
    assert hasattr(answer, "json")
    return answer.status_code, answer.json().get("kind")  # type: ignore[attr-defined]


# --- Who asks ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PAGE, API, "/graphql", "/runs", HEALTH, SIGN_IN, REPORT])
def test_a_request_to_another_host_is_refused_on_every_route(path: str) -> None:
    client = site()
    assert kind(client.get(path, headers={"Host": "evil.example:3000"})) == (400, "foreign_host")
    assert kind(client.post(path, headers={"Host": "evil.example:3000"}, json={})) == (400, "foreign_host")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "new"},
    ],
)
@pytest.mark.parametrize("path", [PAGE, API, "/graphql", HEALTH, SIGN_IN, SIGN_OUT, REPORT])
def test_what_a_page_of_another_site_sends_is_refused_on_every_route(path: str, headers: Mapping[str, str]) -> None:
    client = site()
    assert kind(client.post(path, headers=headers, json={})) == (403, "foreign_page")
    if "Origin" not in headers:
        assert kind(client.get(path, headers=headers)) == (403, "foreign_page")
        embedded = {**headers, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe", "Accept": "text/html"}
        assert kind(client.get(path, headers=embedded)) == (403, "foreign_page")


def test_a_followed_link_leads_to_a_page_that_leads_here_so_that_the_cookies_come_along() -> None:
    visit = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html"}
    answer = site().get("/retrain?a=1&b=%3C", headers=visit)
    assert (answer.status_code, answer.headers.get("Set-Cookie")) == (200, None)
    assert '<meta http-equiv="refresh" content="0; url=/retrain?a=1&amp;b=%3C">' in answer.text
    assert kind(site().post("/retrain", headers=visit, json={})) == (403, "foreign_page")
    assert "url=/evil.example/x" in site().get(f"{URL}//evil.example/x", headers=visit).text


def test_a_websocket_of_another_site_is_refused() -> None:
    client = site()
    with client.websocket_connect(SOCKET, headers={"Origin": URL}) as socket:
        assert socket.receive_text() == "hello"
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(SOCKET, headers=headers):
            pass
        assert refused.value.status_code in (400, 403)


def test_a_header_that_counts_once_is_not_taken_twice() -> None:
    client = site(user_header="x-user")
    assert kind(client.get(PAGE, headers=[("Host", "127.0.0.1"), ("X-User", "anna"), ("X-User", "ben")])) == (400, "unreadable_request")
    assert kind(client.get(PAGE, headers=[("Host", "127.0.0.1"), ("Host", "evil.example")])) == (400, "foreign_host")


# --- Changes ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain; application/json", ""]
)
@pytest.mark.parametrize("path", [API, "/graphql", REPORT, "/graphql%0A"])
def test_a_change_needs_json(path: str, content: str) -> None:
    client = site()
    token = page_token(client)
    answer = client.post(path, content=b"{}", headers={"Content-Type": content, PAGE_TOKEN_HEADER: token})
    assert kind(answer) == (415, "unsupported_media_type")


def test_a_change_of_ours_needs_the_token_of_the_page_in_header_and_cookie() -> None:
    client = site()
    token = page_token(client)
    assert client.post(API, json={}, headers={PAGE_TOKEN_HEADER: token}).status_code == 200
    assert client.put(API, json={}, headers={PAGE_TOKEN_HEADER: token}).status_code == 200
    assert kind(client.post(API, json={})) == (403, "page_token"), "cookie without header"
    assert kind(client.post(API, json={}, headers={PAGE_TOKEN_HEADER: token[:-1] + "x"})) == (403, "page_token"), "forged"
    assert kind(client.delete(API)) == (403, "page_token")
    client.cookies.clear()
    assert kind(client.post(API, json={}, headers={PAGE_TOKEN_HEADER: token})) == (403, "page_token"), "header without cookie"
    client.cookies.set("taskclf_token_3000", "a.b")
    assert kind(client.post(API, json={}, headers={PAGE_TOKEN_HEADER: "a.b"})) == (403, "page_token"), "a pair that another site made"


def test_pages_of_one_browser_share_a_token_and_the_cookie_is_out_of_reach_of_scripts() -> None:
    client = site()
    first = client.get(PAGE, headers={"Accept": "text/html"})
    assert "HttpOnly" in first.headers["Set-Cookie"]
    assert "SameSite=Strict" in first.headers["Set-Cookie"]
    again = client.get(PAGE, headers={"Accept": "text/html"})
    assert (again.headers.get("Set-Cookie"), again.text) == (None, first.text)


def test_dagster_s_own_changes_need_json_and_an_own_page_but_no_token_of_ours() -> None:
    assert site().post("/graphql", json={}, headers={"Origin": URL}).status_code == 200


@pytest.mark.parametrize(("path", "limit"), [(API, MAX_OWN_BODY_BYTES), ("/graphql", MAX_BODY_BYTES)])
def test_a_body_beyond_the_limit_is_refused_whether_or_not_it_says_so(path: str, limit: int) -> None:
    client = site(signed=True, token=TOKEN)
    within, beyond = b" " * limit, b" " * (limit + 1)
    headers = {"Content-Type": "application/json"}
    assert client.post(path, content=within, headers=headers).status_code == 200
    assert client.post(path, content=beyond, headers=headers).status_code == 413
    assert client.post(path, content=iter([within, b" "]), headers=headers).status_code == 413
    assert client.post(path, content=b"{}", headers={**headers, "Content-Length": "-1"}).status_code == 413


def test_a_read_only_server_makes_no_change() -> None:
    client = site(signed=True, read_only=True, token=TOKEN)
    for path in (API, REPORT, "/graphql%0A"):
        assert kind(client.post(path, json={})) == (403, "read_only")
    assert kind(client.delete(API)) == (403, "read_only")
    assert client.get(API).json()["read_only"] is True
    assert client.post("/graphql", json={}).status_code == 200  # queries come this way; Dagster refuses the changes among them


# --- The token of the server ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", [PAGE, API, "/graphql", "/runs", REPORT, "/graphql%0A", f"{SIGN_IN}%0A", f"{HEALTH}%0A", f"{HEALTH}/", "/favicon.png"]
)
def test_with_a_token_every_route_needs_it(path: str) -> None:
    client = site(token=TOKEN)
    for headers in ({}, bearer("wrong"), {"Authorization": f"Basic {TOKEN}"}, {"Cookie": "taskclf_session_3000=x"}):
        assert kind(client.get(path, headers=headers)) == (401, "not_signed_in")
        assert kind(client.post(path, headers=headers, json={})) == (401, "not_signed_in")
    assert client.get(path, headers=bearer()).status_code == 200


def test_a_websocket_needs_the_token_too() -> None:
    client = site(token=TOKEN)
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect(SOCKET, headers={"Origin": URL}):
        pass
    assert refused.value.status_code == 401
    with client.websocket_connect(SOCKET, headers=bearer()) as socket:
        assert socket.receive_text() == "hello"


def test_health_alone_answers_everybody() -> None:
    assert site(token=TOKEN).get(HEALTH).status_code == 200


def test_a_browser_is_led_to_the_sign_in_and_back_and_its_session_ends_when_it_signs_out() -> None:
    client = site(token=TOKEN)
    asked = client.get("/runs?x=1", headers={"Accept": "text/html"})
    assert (asked.status_code, asked.headers["Location"]) == (303, f"{SIGN_IN}?next=%2Fruns%3Fx%3D1")
    assert "<form" in client.get(asked.headers["Location"]).text
    signed = client.post(asked.headers["Location"], data={"token": TOKEN})
    assert (signed.status_code, signed.headers["Location"]) == (303, "/runs?x=1")
    assert {"HttpOnly", "SameSite=strict"} <= set(signed.headers["Set-Cookie"].split("; "))
    assert client.get("/runs").json()["signed_in"] is True
    token = page_token(client)
    assert kind(client.post(API, json={})) == (403, "page_token"), "a session alone is no token of the page"
    assert client.post(API, json={}, headers={PAGE_TOKEN_HEADER: token}).status_code == 200
    kept = dict(client.cookies)
    assert client.get(SIGN_OUT).status_code == 405
    assert client.post(SIGN_OUT).status_code == 303
    client.cookies.update(kept)
    assert kind(client.get("/runs")) == (401, "not_signed_in"), "the cookie of an ended session"


@pytest.mark.parametrize(
    "asked", ["//evil.example/", "/%5Cevil.example/", "/%09/evil.example", "/%5C%5Cevil.example", "/%2F%5Cevil.example"]
)
def test_following_a_link_of_another_site_leads_to_this_server_only(asked: str) -> None:
    visit = {"Accept": "text/html", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    text = site().get(f"{URL}{asked}", headers=visit).text
    assert re.search(r"url=/[^/\\\s]", text), text


@pytest.mark.parametrize("asked", ["//evil.example", "/\\evil.example", "https://evil.example", "", "/a\nb"])
def test_signing_in_leads_to_this_server_only(asked: str) -> None:
    answer = site(token=TOKEN).post(SIGN_IN, params={"next": asked}, data={"token": TOKEN})
    assert answer.headers["Location"] == PAGE


def test_the_session_cookie_is_secure_where_a_proxy_ends_tls() -> None:
    client = site(token=TOKEN, hosts=frozenset({"dagster.example.org"}))
    client.base_url = "https://dagster.example.org"  # type: ignore[assignment]
    assert "Secure" in client.post(SIGN_IN, data={"token": TOKEN}).headers["Set-Cookie"]


def test_many_wrong_tokens_make_an_address_wait_even_with_the_right_one() -> None:
    client = site(token=TOKEN)
    for number in range(MAX_WRONG):
        assert client.post(SIGN_IN, data={"token": f"wrong {number}"}).status_code == 401
    assert client.post(SIGN_IN, data={"token": TOKEN}).status_code == 429
    answer = client.get(PAGE, headers=bearer())
    assert (kind(answer), answer.headers["Retry-After"]) == ((429, "too_many"), "60")


def test_the_sign_in_takes_a_short_form_of_an_own_page_only() -> None:
    client = site(token=TOKEN)
    assert client.post(SIGN_IN, json={"token": TOKEN}).status_code == 415
    assert client.post(SIGN_IN, data={"token": TOKEN * 1000}).status_code == 413
    assert kind(client.post(SIGN_IN, data={"token": TOKEN}, headers={"Origin": "http://evil.example"})) == (403, "foreign_page")
    assert client.post(SIGN_IN, content=b"token=" + TOKEN.encode(), headers={"Content-Type": "text/plain"}).status_code == 415


# --- What every answer says -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PAGE, API, SIGN_IN, "/runs", "/graphql"])
@pytest.mark.parametrize("headers", [{}, {"Host": "evil.example"}])
def test_every_answer_forbids_frames_sniffing_and_content_of_other_sites(path: str, headers: Mapping[str, str]) -> None:
    answer = site(token=TOKEN).get(path, headers={**headers, "Accept": "text/html"})
    own = path.startswith(("/retrain", "/api/"))
    assert answer.headers["X-Frame-Options"] == ("DENY" if own else "SAMEORIGIN")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    policy = dict(rule.strip().partition(" ")[::2] for rule in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["frame-ancestors"] == ("'none'" if own else "'self'")
    assert policy["default-src"] == ("'none'" if own else "'self'")
    if own:
        assert "unsafe-inline" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in answer.headers


# --- The user of the proxy --------------------------------------------------------------------------------------------------------


def test_the_user_of_a_header_counts_only_where_it_is_configured() -> None:
    assert site(user_header="x-user").get(API, headers={"X-User": " anna "}).json()["user"] == "anna"
    assert site(user_header="x-user").get(API).json()["user"] is None
    assert site(user_header="x-user").get(API, headers={"X-User": " "}).json()["user"] is None
    assert site().get(API, headers={"X-User": "anna", "X-Remote-User": "anna"}).json()["user"] is None
    assert len(site(user_header="x-user").get(API, headers={"X-User": "a" * 1000}).json()["user"]) == 100
