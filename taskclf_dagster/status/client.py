"""A small client of the web server's API: status, history, retrains, configuration, approvals. For programs that are not this project.

docs/api.md explains what the answers hold. A server without our API (`dagster dev`) is asked over GraphQL by `graphql_client`. The command
line uses `reader` instead, which reads the home as well.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import requests
import requests.auth

from taskclf_dagster.errors import ApiError

PREFIX = "/api/ml/retrain"


PAGE = "/retrain"


TIMEOUT_SECONDS = 30.0


MAX_PAGE = 200
"""The most retrains that one page of the history has."""


_PAGE_TOKEN_HEADER = "X-Taskclf-Token"  # noqa: S105  # the name of a header


_PAGE_TOKEN = re.compile(r'<meta name="taskclf-token" content="([^"]+)"')


_NOT_JSON = "it did not answer as the API does: `dagster dev` has none, and is asked with GraphQLClient"


class RetrainClient:
    """A client of a running `taskclf-dagster serve`.

    Args:
        url: such as http://127.0.0.1:3000.
        token: that of the server (TASKCLF_DAGSTER_TOKEN); None for a server on loopback without one, whose changes the client makes with
            the token of its page, as a browser does.
        auth: user and password, where a login stands in front of a server without a token.
        home: name of a home on a server for many; None on a server for one, and for `homes` alone.

    Answers are JSON as the server sends it, with names in camelCase and times in ISO 8601. Every method raises ApiError if the server
    cannot be reached, refuses, or answers with an error; its `problem` holds the server's problem details.
    """

    def __init__(self, url: str, *, token: str | None = None, auth: tuple[str, str] | None = None, home: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._session = requests.Session()
        self._session.auth = auth if token is None else _Bearer(token)
        self._session.headers["Accept"] = "application/json"
        self._prefix = PREFIX if home is None else f"{PREFIX}/homes/{_quoted(home)}"
        self._has_token, self._page_token = token is not None, ""

    def homes(self) -> dict[str, Any]:
        """Returns all homes of a server for many at a glance, those that need a person first."""
        return self._ask("GET", f"{PREFIX}/homes")

    def status(self) -> dict[str, Any]:
        """Returns the state of the home at a glance, with what can be done now."""
        return self._get("status")

    def history(self, limit: int = 20) -> list[dict[str, Any]]:
        """Returns the newest retrains, newest first."""
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while len(items) < limit:
            page = self._get("history", limit=min(limit - len(items), MAX_PAGE), cursor=cursor)
            items += page["items"]
            cursor = page["nextCursor"]
            if cursor is None:
                break
        return items

    def job(self, job_id: str) -> dict[str, Any]:
        """Returns one retrain by the id of its run or decision."""
        return self._get(f"jobs/{_quoted(job_id)}")

    def run(self, run_id: str) -> dict[str, Any]:
        """Returns the state of a run of any job."""
        return self._get(f"runs/{_quoted(run_id)}")

    def decision(self, decision_id: str) -> dict[str, Any]:
        """Returns one decision in detail."""
        return self._get(f"decisions/{_quoted(decision_id)}")

    def model(self, model_id: str) -> dict[str, Any]:
        """Returns one model in detail."""
        return self._get(f"models/{_quoted(model_id)}")

    def trigger(self, **form: object) -> dict[str, Any]:
        """Launches a retrain and returns it; while one is under way the server refuses another.

        Args:
            form: force, dryRun, asOf, holdoutUserFraction, bootstrap.
        """
        return self._change("POST", "trigger", form)

    def approve(self, decision_id: str | None = None, *, as_judged: bool = False) -> dict[str, Any]:
        """Launches the approval of a decision and returns its run, which `run` watches.

        Args:
            decision_id: None for the one that awaits approval.
            as_judged: True to approve although today's configuration is stricter.
        """
        named = {} if decision_id is None else {"decisionId": decision_id}
        return self._change("POST", "approve", {**named, "asJudged": as_judged})

    def rollback(self, reason: str, *, to: str | None = None) -> dict[str, Any]:
        """Launches a rollback and returns its run, which `run` watches.

        Args:
            reason: why, for the record.
            to: id of a promoted model; None for the last known good one before the present.
        """
        return self._change("POST", "rollback", {"reason": reason, **({} if to is None else {"to": to})})

    def config(self) -> dict[str, Any]:
        """Returns the configuration, as far as it can be changed, and its `etag`."""
        return self._get("config")

    def change_config(self, changes: Mapping[str, object], *, etag: str | None) -> dict[str, Any]:
        """Changes keys of the configuration and returns it; `effective` says when each change counts.

        Args:
            changes: values by key; None gives a key its shipped value back.
            etag: of the configuration that the changes were made for; None changes whatever is there.
        """
        return self._change("PUT", "config", changes, **{"If-Match": etag or "*"})

    def _get(self, path: str, **params: object) -> dict[str, Any]:
        given = {name: str(value) for name, value in params.items() if value is not None}
        return self._ask("GET", f"{self._prefix}/{path}", params=given)

    def _change(self, method: str, path: str, body: Mapping[str, object], **headers: str) -> dict[str, Any]:
        if not self._has_token and not self._page_token:
            self._read_page_token()
        try:
            return self._ask(method, f"{self._prefix}/{path}", json=dict(body), headers={**headers, **self._page_headers()})
        except ApiError as error:
            if self._has_token or (error.problem or {}).get("kind") != "page_token":
                raise
        self._read_page_token()  # the server was started again, and has others
        return self._ask(method, f"{self._prefix}/{path}", json=dict(body), headers={**headers, **self._page_headers()})

    def _page_headers(self) -> dict[str, str]:
        return {_PAGE_TOKEN_HEADER: self._page_token} if self._page_token else {}

    def _read_page_token(self) -> None:
        """Reads the token of the page, whose cookie the session keeps; the server refuses a change without one."""
        try:
            page = self._session.get(self._url + PAGE, headers={"Accept": "text/html"}, timeout=TIMEOUT_SECONDS)
        except requests.RequestException as error:
            raise ApiError(self._url, str(error)) from error
        found = _PAGE_TOKEN.search(page.text)
        self._page_token = "" if found is None else found[1]

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        url = f"{self._url}{path}"
        try:
            answer = self._session.request(method, url, timeout=TIMEOUT_SECONDS, allow_redirects=False, **options)
            content = answer.json() if "json" in answer.headers.get("Content-Type", "") else None
        except (requests.RequestException, ValueError) as error:
            raise ApiError(url, str(error)) from error
        if isinstance(content, dict) and answer.ok:
            tag = {"etag": answer.headers["ETag"]} if "ETag" in answer.headers else {}
            return {**content, **tag}
        if isinstance(content, dict):
            detail = str(content.get("detail") or f"it answered {answer.status_code} {answer.reason}")
            raise ApiError(url, detail, refused=answer.status_code < requests.codes.server_error, problem=content)
        status = f"it answered {answer.status_code} {answer.reason}"
        raise ApiError(url, _NOT_JSON if answer.ok else status, refused=answer.status_code in (401, 403))


class _Bearer(requests.auth.AuthBase):
    """Adds the token of the server; as a header of the session, one of a .netrc would take its place."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _quoted(name: str) -> str:
    return quote(name, safe="")
