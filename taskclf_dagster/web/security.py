"""The guard in front of every route of the server, Dagster's own included: who may ask, and what every answer says to the browser.

In this order: the Host header must name this server; a page must be one of this server; with TASKCLF_DAGSTER_TOKEN, every request needs the
token or a session; a change needs JSON, and on our API the token of the page or that of the server; a read-only server changes nothing.
"""

from collections.abc import Mapping
from html import escape
from http import HTTPStatus
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from taskclf_dagster.shown_text import show_line
from taskclf_dagster.web.access import AccessRules, is_own_host, is_own_origin
from taskclf_dagster.web.headers import is_own_path, set_headers
from taskclf_dagster.web.health import HEALTH
from taskclf_dagster.web.problems import answer_problem
from taskclf_dagster.web.sign_in import SIGN_IN, SIGN_OUT, SignIn, is_encrypted, wants_page
from taskclf_dagster.web.tokens import PageTokens

PAGE_TOKEN_HEADER = "X-Taskclf-Token"  # noqa: S105  # the name of the header

MAX_BODY_BYTES, MAX_OWN_BODY_BYTES = 10 * 1024 * 1024, 256 * 1024
"""The longest body of a request to Dagster, and to our API [bytes]."""

MAX_USER_CHARACTERS = 100

_READING = frozenset({"GET", "HEAD", "OPTIONS"})

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

API = "/api/ml/"
"""The path of our API, which answers a change without a body itself: also one whose method the path does not have."""

_WITHOUT_PAGE_TOKEN = ("/graphql", "/report_asset_materialization/", "/report_asset_check/", "/report_asset_observation/")
"""Dagster's own routes for changes, whose pages know nothing of our token."""

_AGAIN = '<!doctype html><html lang="en"><head><title>One moment</title><meta http-equiv="refresh" content="0; url={url}"></head></html>'


class Guard:
    """The middleware. A route finds in `request.state`: `user` (of the proxy's header, else None), `page_token`, `read_only`, `signed_in`.

    Args:
        app: what is guarded.
        rules: of the server.
    """

    def __init__(self, app: ASGIApp, rules: AccessRules) -> None:
        self._app, self._rules = app, rules
        self._page_tokens, self._sign_in = PageTokens(), SignIn(rules)
        self._cookie = f"taskclf_token_{rules.listens_at}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses a request, or passes it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        send = self._with_headers(connection, send)
        answer = self._refuse(connection)
        if answer is None and scope["path"] in (SIGN_IN, SIGN_OUT) and scope["type"] == "http":
            answer = await self._sign_in.answer(Request(scope, receive))
        if answer is not None:
            await _reply(answer, scope, receive, send)
            return
        limit = MAX_OWN_BODY_BYTES if is_own_path(scope["path"]) else MAX_BODY_BYTES
        await self._app(scope, _limited(receive, limit) if scope["type"] == "http" else receive, send)

    def _refuse(self, connection: HTTPConnection) -> Response | None:
        """Returns what a request is refused with; None if it may pass."""
        scope = connection.scope
        refused = self._refuse_sender(connection)
        if refused is not None:
            return refused
        if _is_foreign_visit(connection):  # the browser kept the cookies back, and sends them with what this page leads to
            return HTMLResponse(_AGAIN.format(url=escape(_path_of(connection), quote=True)))
        is_open = scope["path"] in (HEALTH, SIGN_IN, SIGN_OUT)
        refused = None if is_open else self._sign_in.refuse(connection)
        if refused is not None or scope["type"] == "websocket":
            return refused
        self._describe(connection)
        if scope["method"] in _READING or scope["path"] in (SIGN_IN, SIGN_OUT):
            return None
        return self._refuse_change(connection)

    def _refuse_sender(self, connection: HTTPConnection) -> Response | None:
        """Refuses a request to another host, of another site's page, or with two values where one counts."""
        scope, headers, rules = connection.scope, connection.headers, self._rules
        hosts = headers.getlist("Host")
        if len(hosts) != 1 or not is_own_host(hosts[0], rules):
            named = show_line(hosts[0][:100]) if hosts else "none"
            detail = f"This server is not {named}. Whoever opens it under another name sets `server.url` or `server.allowed_hosts`."
            return answer_problem("foreign_host", detail, path=scope["path"])
        once = ["Origin", "Authorization", "Content-Type", "Content-Length", *([rules.user_header] if rules.user_header else [])]
        if any(len(headers.getlist(name)) > 1 for name in once):
            return answer_problem("unreadable_request", "A header that counts once was sent twice.", path=scope["path"])
        origin = headers.get("Origin")
        is_own = origin is None or is_own_origin(origin, hosts[0], rules, is_encrypted=is_encrypted(connection))
        if not is_own or (headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and not _is_visit(connection)):
            return answer_problem("foreign_page", "A page of another site asked for this.", path=scope["path"])
        return None

    def _refuse_change(self, connection: HTTPConnection) -> Response | None:
        """Refuses a change that a page of another site could have sent, or that a read-only server does not make."""
        scope, headers = connection.scope, connection.headers
        own_change = scope["path"] != _WITHOUT_PAGE_TOKEN[0] and not scope["path"].startswith(_WITHOUT_PAGE_TOKEN[1:])
        kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        is_bare = scope["path"].startswith(API) and headers.get("Content-Length", "0") == "0" and "Transfer-Encoding" not in headers
        if scope["method"] in _WITH_BODY and kind != "application/json" and not is_bare:
            return answer_problem("unsupported_media_type", "Send JSON, with `Content-Type: application/json`.", path=scope["path"])
        limit = MAX_OWN_BODY_BYTES if is_own_path(scope["path"]) else MAX_BODY_BYTES
        length = headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > limit:
            return answer_problem("too_large", f"The body is longer than {limit} bytes.", path=scope["path"])
        if own_change and not self._has_token(connection):
            detail = (
                f"A change needs the token of the page, in the header {PAGE_TOKEN_HEADER} and in its cookie: load the page again."
                " A program sends `Authorization: Bearer` with TASKCLF_DAGSTER_TOKEN, with which the server was started."
            )
            return answer_problem("page_token", detail, path=scope["path"])
        if self._rules.read_only and scope["path"] != _WITHOUT_PAGE_TOKEN[0]:  # Dagster refuses the changes among the queries itself
            return answer_problem("read_only", "The server was started with --read-only and changes nothing.", path=scope["path"])
        return None

    def _has_token(self, connection: HTTPConnection) -> bool:
        header, cookie = connection.headers.get(PAGE_TOKEN_HEADER), connection.cookies.get(self._cookie)
        return self._sign_in.is_program(connection) or self._page_tokens.is_pair(header, cookie)

    def _describe(self, connection: HTTPConnection) -> None:
        """Writes what routes need to know about a request into its state."""
        held = connection.cookies.get(self._cookie)
        name = None if self._rules.user_header is None else connection.headers.get(self._rules.user_header)
        state: dict[str, Any] = connection.scope.setdefault("state", {})
        state["user"] = (show_line(name.strip())[:MAX_USER_CHARACTERS] or None) if name else None
        state["page_token"] = held if self._page_tokens.is_own(held) else self._page_tokens.make()
        state["read_only"] = self._rules.read_only
        state["signed_in"] = self._rules.token is not None and not self._sign_in.is_program(connection)

    def _with_headers(self, connection: HTTPConnection, send: Send) -> Send:
        """Returns a `send` that adds the headers of every answer, and the cookie of a page that has none yet."""
        path, held = connection.scope["path"], connection.cookies.get(self._cookie)

        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                set_headers(headers, path)
                token = connection.scope.get("state", {}).get("page_token")
                if token not in (None, held) and is_own_path(path) and headers.get("Content-Type", "").startswith("text/html"):
                    secure = "; Secure" if is_encrypted(connection) else ""
                    headers.append("Set-Cookie", f"{self._cookie}={token}; Path=/; HttpOnly; SameSite=Strict{secure}")
            await send(message)

        return send_with_headers


def _is_visit(connection: HTTPConnection) -> bool:
    """Returns True if a person follows a link to a page, which shows itself in a window of its own and changes nothing."""
    headers = connection.headers
    is_reading = connection.scope.get("method") in ("GET", "HEAD")
    return is_reading and (headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest")) == ("navigate", "document")


def _is_foreign_visit(connection: HTTPConnection) -> bool:
    """Returns True if a person follows a link of another site to one of our pages, for which the browser keeps back the cookies."""
    return wants_page(connection) and connection.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")


def _path_of(connection: HTTPConnection) -> str:
    """Returns path and query of a request, which lead to this server and to no other."""
    url = connection.url
    return f"/{url.path.lstrip('/')}" + (f"?{url.query}" if url.query else "")


def _limited(receive: Receive, limit: int) -> Receive:
    """Returns a `receive` that refuses a body that turns out to be longer than its limit."""
    received = 0

    async def receive_within_limit() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is longer than {limit} bytes.")
        return message

    return receive_within_limit


async def _reply(answer: Response, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    """Sends an answer of the guard; a websocket that cannot be answered is closed, which its client sees as 403."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    await answer(dict(scope), receive, send)
