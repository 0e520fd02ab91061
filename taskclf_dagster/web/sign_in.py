"""Signing in with the token of the server: the page that asks for it, the session that it gives, and signing out."""

import base64
import hashlib
from html import escape
from http import HTTPStatus
from urllib.parse import parse_qs, quote

from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from taskclf_dagster.web.access import AccessRules
from taskclf_dagster.web.problems import answer_problem
from taskclf_dagster.web.tokens import SESSION_SECONDS, Sessions, WrongTokens, is_token

SIGN_IN, SIGN_OUT, START = "/retrain/sign-in", "/retrain/sign-out", "/retrain"

_FORM = "application/x-www-form-urlencoded"

_MAX_FORM_BYTES = 4096

_STYLE = (
    ":root{color-scheme:light dark;--bg:#f4f6f8;--surface:#fff;--text:#1a2127;--quiet:#55616c;--line:#d8dfe5;--control:#84909b;"
    "--accent:#0b5c7d;--on-accent:#fff;--bad:#a3231b}@media(prefers-color-scheme:dark){:root{--bg:#0f1418;--surface:#171d22;--text:#e4e9ed;"
    "--quiet:#9eabb6;--line:#2a343c;--control:#6b7985;--accent:#74c0e0;--on-accent:#06222e;--bad:#ff9d94}}*{box-sizing:border-box}"
    "body{font:15px/1.5 system-ui,sans-serif;background:var(--bg);color:var(--text);margin:0;padding:10vh 1rem}"
    "main{max-width:26rem;margin:auto;padding:1.5rem;background:var(--surface);border:1px solid var(--line);border-radius:10px}"
    "h1{font-size:1.5rem;line-height:1.2;margin:0 0 1rem}label{font-weight:600}p{margin:.25rem 0 0;color:var(--quiet);font-size:.8125rem}"
    "code{overflow-wrap:anywhere}input,button{font:inherit;padding:.5rem .75rem;min-height:2.5rem;border:1px solid var(--control);"
    "border-radius:6px}input{width:100%;margin:.5rem 0 1rem;background:var(--surface);color:var(--text)}"
    "button{font-weight:600;border-color:var(--accent);background:var(--accent);color:var(--on-accent);cursor:pointer}"
    ":focus-visible{outline:3px solid var(--accent);outline-offset:2px}p[role=alert]{margin:0 0 1rem;font-weight:600;font-size:1em;"
    "color:var(--bad)}"
)
"""The colors and sizes of the page, in the text itself: who is not signed in gets no file."""

_POLICY = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}';"
    " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in · Retraining</title>
<style>{style}</style></head>
<body><main><h1>Sign in to Retraining</h1>{alert}
<form method="post" action="{action}"><input type="text" name="user" value="taskclf-dagster" autocomplete="username" hidden>
<label for="token">Token of this server</label>
<p id="hint">The value of <code>TASKCLF_DAGSTER_TOKEN</code>, with which it was started.</p>
<input id="token" name="token" type="password" autocomplete="current-password" aria-describedby="hint" required autofocus>
<button>Sign in</button></form></main></body></html>
"""


class SignIn:
    """Who is signed in.

    Args:
        rules: of the server, with its token.
    """

    def __init__(self, rules: AccessRules) -> None:
        self._token, self._cookie = rules.token, f"taskclf_session_{rules.listens_at}"
        self._sessions, self._wrong = Sessions(), WrongTokens()

    def refuse(self, connection: HTTPConnection) -> Response | None:
        """Returns the refusal of a request that has neither the token nor a session; None for one that has, or where no token is set."""
        if self._token is None or self._sessions.holds(connection.cookies.get(self._cookie)):
            return None
        given = bearer_of(connection)
        if given is not None:
            return self._check(given, connection)
        if wants_page(connection):
            asked = connection.url.path + (f"?{connection.url.query}" if connection.url.query else "")
            return RedirectResponse(f"{SIGN_IN}?next={quote(asked, safe='')}", HTTPStatus.SEE_OTHER)
        return self._refuse_without_token("The request has no token.", connection.scope["path"])

    def is_program(self, connection: HTTPConnection) -> bool:
        """Returns True if a request that `refuse` let pass has the server's token itself, which no page of another site knows."""
        given = bearer_of(connection)
        return self._token is not None and given is not None and is_token(given, self._token)

    async def answer(self, request: Request) -> Response:
        """Answers the pages for signing in and out."""
        if request.url.path == SIGN_OUT:
            return self._sign_out(request)
        if self._token is None:
            return RedirectResponse(START, HTTPStatus.SEE_OTHER)
        if request.method != "POST":
            return _page(request, "")
        if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != _FORM:
            return answer_problem("unsupported_media_type", f"Send the token as {_FORM}.", path=SIGN_IN)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_FORM_BYTES:
                return answer_problem("too_large", "No token is that long.", path=SIGN_IN)
        given = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0].strip()
        refused = self._check(given, request)
        if refused is not None:
            waits = refused.status_code == HTTPStatus.TOO_MANY_REQUESTS
            text = "Too many wrong tokens. Wait a minute." if waits else "This is not the token of the server."
            return _page(request, text, HTTPStatus(refused.status_code))
        answer = RedirectResponse(_next(request), HTTPStatus.SEE_OTHER)
        answer.set_cookie(
            self._cookie, self._sessions.begin(), int(SESSION_SECONDS), secure=is_encrypted(request), httponly=True, samesite="strict"
        )
        return answer

    def _sign_out(self, request: Request) -> Response:
        if request.method != "POST":
            return answer_problem("method_not_allowed", "Sign out by POST.", path=SIGN_OUT, headers={"Allow": "POST"})
        self._sessions.end(request.cookies.get(self._cookie))
        answer = RedirectResponse(START, HTTPStatus.SEE_OTHER)
        answer.delete_cookie(self._cookie, secure=is_encrypted(request), httponly=True, samesite="strict")
        return answer

    def _check(self, given: str, connection: HTTPConnection) -> Response | None:
        """Returns the refusal of a wrong token, also of the right one after too many wrong ones."""
        address = "" if connection.client is None else connection.client.host
        if self._wrong.must_wait(address):
            detail = "Too many wrong tokens came from this address. Wait a minute."
            return answer_problem("too_many", detail, path=connection.scope["path"], headers={"Retry-After": "60"})
        if self._token is not None and is_token(given, self._token):
            return None
        self._wrong.add(address)
        return self._refuse_without_token("The token is wrong.", connection.scope["path"])

    def _refuse_without_token(self, reason: str, path: str) -> Response:
        detail = f"{reason} Send `Authorization: Bearer` with TASKCLF_DAGSTER_TOKEN of the server, or sign in at {SIGN_IN}."
        return answer_problem("not_signed_in", detail, path=path, headers={"WWW-Authenticate": 'Bearer realm="taskclf_dagster"'})


def bearer_of(connection: HTTPConnection) -> str | None:
    """Returns the bearer token of a request; None if it has none."""
    kind, _, token = connection.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def wants_page(connection: HTTPConnection) -> bool:
    """Returns True if a browser asks for a page to show."""
    readable = connection.scope.get("method") in ("GET", "HEAD")
    return readable and "text/html" in connection.headers.get("Accept", "")


def is_encrypted(connection: HTTPConnection) -> bool:
    """Returns True if a request came over TLS, as far as a proxy says so."""
    return connection.scope["scheme"] in ("https", "wss")


def _next(request: Request) -> str:
    """Returns the page of this server that was asked for before signing in."""
    asked = request.query_params.get("next", START)
    is_safe = asked.startswith("/") and not asked.startswith(("//", "/\\")) and asked.isprintable()
    return asked if is_safe else START


def _page(request: Request, alert: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    shown = f'<p role="alert">{escape(alert)}</p>' if alert else ""
    action = escape(f"{SIGN_IN}?next={quote(_next(request), safe='')}")
    return HTMLResponse(_PAGE.format(style=_STYLE, alert=shown, action=action), status, {"Content-Security-Policy": _POLICY})
