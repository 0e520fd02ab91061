"""The page of a home, which is `/retrain` of a server for one, its scripts and styles, and the reports of decisions.

The page is one template without data: its scripts read everything from the API, and insert it as text.
"""

import shlex
from http import HTTPStatus
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from taskclf_dagster.domain.decision.decision_store import report_path
from taskclf_dagster.errors import DecisionNotFoundError
from taskclf_dagster.home import Home
from taskclf_dagster.shown_text import show_line
from taskclf_dagster.web.backend import Backend
from taskclf_dagster.web.site_paths import PAGE, SitePaths

_FOLDER = Path(__file__).resolve().parent

_TEMPLATES = Environment(loader=FileSystemLoader(_FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True)

_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The content policy of a report: its own styles and pictures, no script, nothing from elsewhere."""


class _StaticFiles(StaticFiles):
    """Files that a browser asks for again each time, and gets only if they have changed: a new version is seen at once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def build_page_routes(backend: Backend) -> list[BaseRoute]:
    """Returns the routes of the page of a server for one home, its files, and the reports."""

    def show_page(request: Request) -> Response:
        return answer_page(request, backend.home, backend.paths)

    def show_report(request: Request) -> Response:
        return answer_report(backend.home, request.path_params["decision_id"])

    return [
        Route(PAGE, show_page, methods=["GET"]),
        Route(f"{PAGE}/reports/{{decision_id}}", show_report, methods=["GET"]),
        *build_common_routes(),
    ]


def build_common_routes() -> list[BaseRoute]:
    """Returns the routes that every server has behind those of its pages: files, a slash too many, and what is no page."""

    def lead_to_page(_: Request) -> Response:
        return RedirectResponse(PAGE)

    def show_nothing(_: Request) -> Response:
        return answer_template("not_found.html", HTTPStatus.NOT_FOUND)

    return [
        Route(f"{PAGE}/", lead_to_page, methods=["GET"]),
        Mount(f"{PAGE}/static", _StaticFiles(directory=_FOLDER / "static")),
        Route(f"{PAGE}/{{rest:path}}", show_nothing, methods=["GET"]),  # Dagster's own page would take it
    ]


def answer_page(request: Request, home: Home, paths: SitePaths, **more: object) -> Response:
    """Answers the page of a home.

    Args:
        request: has the token of the page.
        home: the home.
        paths: where it is on this server.
        more: values of the template that only some servers have.
    """
    state = request.state
    given = {"home": show_line(home.display_name), "paths": paths, "token": state.page_token, "signed_in": state.signed_in, **more}
    return answer_template("retrain.html", **{"name": None, **given})


def answer_report(home: Home, decision_id: str, *, is_one_of_many: bool = False) -> Response:
    """Answers the report of a decision of a home."""
    try:
        path = report_path(home, decision_id)
    except DecisionNotFoundError:
        return answer_without_report(None)
    try:
        return Response(path.read_bytes(), media_type="text/html", headers={"Content-Security-Policy": _REPORT_POLICY})
    except OSError:
        return answer_without_report(decision_id, home if is_one_of_many else None)


def answer_without_report(decision_id: str | None, home: Home | None = None) -> Response:
    """Says that a decision has no report, with the command that writes one.

    Args:
        decision_id: None if the address names no decision.
        home: that of the command; None for the default one.
    """
    named = "" if home is None else f" --home {shlex.quote(show_line(str(home.root)))}"
    return answer_template("no_report.html", HTTPStatus.NOT_FOUND, decision_id=decision_id, named=named)


def answer_template(template: str, /, status: HTTPStatus = HTTPStatus.OK, **values: object) -> Response:
    """Answers a page of one of our templates."""
    return HTMLResponse(_TEMPLATES.get_template(template).render(**values), status)
