"""The pages of a server for many homes: the list of them, and the page and the reports of each. The page of a home is that of `page`."""

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from taskclf_dagster.domain.decision.decision_store import report_path
from taskclf_dagster.errors import BrokenHomeError, DecisionNotFoundError, HomesFileError, UnknownHomeError
from taskclf_dagster.web.backend import Backend, HomesBackend
from taskclf_dagster.web.page import answer_page, answer_report, answer_template, answer_without_report, build_common_routes
from taskclf_dagster.web.site_paths import HOMES, PAGE, SitePaths, paths_of

HOMES_PAGE = f"{PAGE}{HOMES}".rstrip("/")


def build_homes_page_routes(backend: HomesBackend) -> list[BaseRoute]:
    """Returns the routes of the list of homes, and of the page and the reports of each."""

    def show_list(request: Request) -> Response:
        state = request.state
        return answer_template("homes.html", paths=SitePaths(), token=state.page_token, signed_in=state.signed_in)

    def show_page(request: Request) -> Response:
        name: str = request.path_params["home"]
        found = _open(backend, name)
        return found if isinstance(found, Response) else answer_page(request, found.home, found.paths, name=name)

    def show_report(request: Request) -> Response:
        found = _open(backend, request.path_params["home"])
        return found if isinstance(found, Response) else answer_report(found.home, request.path_params["decision_id"], is_one_of_many=True)

    def find_report(request: Request) -> Response:
        return _lead_to_report(backend, request.path_params["decision_id"])

    def lead_to_list(_: Request) -> Response:
        return RedirectResponse(PAGE)

    def lead_to_page(request: Request) -> Response:
        return RedirectResponse(paths_of(request.path_params["home"]).page)

    return [
        Route(PAGE, show_list, methods=["GET"]),
        Route(HOMES_PAGE, lead_to_list, methods=["GET"]),
        Route(f"{HOMES_PAGE}/", lead_to_list, methods=["GET"]),
        Route(f"{PAGE}{HOMES}{{home}}", show_page, methods=["GET"]),
        Route(f"{PAGE}{HOMES}{{home}}/", lead_to_page, methods=["GET"]),
        Route(f"{PAGE}{HOMES}{{home}}/reports/{{decision_id}}", show_report, methods=["GET"]),
        Route(f"{PAGE}/reports/{{decision_id}}", find_report, methods=["GET"]),
        *build_common_routes(),
    ]


def _open(backend: HomesBackend, name: str) -> Backend | Response:
    """Returns the backend of a home, or the page that says why there is none."""
    try:
        return backend.open(name)
    except UnknownHomeError as error:
        return answer_template("no_home.html", HTTPStatus.NOT_FOUND, title="There is no such home", reason=str(error))
    except (BrokenHomeError, HomesFileError) as error:
        return answer_template("no_home.html", HTTPStatus.SERVICE_UNAVAILABLE, title="This home cannot be shown", reason=str(error))


def _lead_to_report(backend: HomesBackend, decision_id: str) -> Response:
    """Leads from the address that runs and notifications have, which names no home, to the report of the home that has it."""
    try:
        homes = backend.directory.list_usable()
        name = next((name for name, home in homes.items() if report_path(home, decision_id).is_file()), None)
    except DecisionNotFoundError:
        return answer_without_report(None)
    except HomesFileError as error:
        return answer_template("no_home.html", HTTPStatus.SERVICE_UNAVAILABLE, title="The homes cannot be listed", reason=str(error))
    return answer_without_report(decision_id) if name is None else RedirectResponse(f"{paths_of(name).reports}{decision_id}")
