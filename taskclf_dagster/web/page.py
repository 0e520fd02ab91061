"""The page `/retrain`, its scripts and styles, and the reports of decisions.

The page is one template without data: its scripts read everything from the API, and insert it as text.
"""

from http import HTTPStatus
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from taskclf_dagster.domain.decision.decision_store import report_path
from taskclf_dagster.errors import DecisionNotFoundError
from taskclf_dagster.shown_text import show_line
from taskclf_dagster.web.backend import Backend

PAGE = "/retrain"

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
    """Returns the routes of the page, its files, and the reports."""

    def show_page(request: Request) -> Response:
        state = request.state
        text = _TEMPLATES.get_template("retrain.html").render(
            home=show_line(backend.home.display_name), token=state.page_token, signed_in=state.signed_in
        )
        return HTMLResponse(text)

    def show_report(request: Request) -> Response:
        decision_id: str = request.path_params["decision_id"]
        try:
            path = report_path(backend.home, decision_id)
        except DecisionNotFoundError:
            return _answer_without_report(None)
        try:
            return Response(path.read_bytes(), media_type="text/html", headers={"Content-Security-Policy": _REPORT_POLICY})
        except OSError:
            return _answer_without_report(decision_id)

    return [
        Route(PAGE, show_page, methods=["GET"]),
        Route(f"{PAGE}/reports/{{decision_id}}", show_report, methods=["GET"]),
        Mount(f"{PAGE}/static", _StaticFiles(directory=_FOLDER / "static")),
    ]


def _answer_without_report(decision_id: str | None) -> Response:
    """Says that a decision has no report; None if the address names no decision."""
    return HTMLResponse(_TEMPLATES.get_template("no_report.html").render(decision_id=decision_id), HTTPStatus.NOT_FOUND)
