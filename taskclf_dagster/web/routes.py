"""The two lists of what a server shows of its own, beside Dagster's pages: one home, or many.

Add a function here that makes the routes of one subject. They come before Dagster's routes, of which the last takes every path.
"""

from collections.abc import Callable, Sequence

from starlette.routing import BaseRoute

from taskclf_dagster.web.api.homes import build_homes_api_routes
from taskclf_dagster.web.api.routes import build_api_routes
from taskclf_dagster.web.backend import Backend, HomesBackend
from taskclf_dagster.web.health import build_health_routes
from taskclf_dagster.web.homes_page import build_homes_page_routes
from taskclf_dagster.web.page import build_page_routes

BUILDERS: tuple[Callable[[Backend], Sequence[BaseRoute]], ...] = (build_health_routes, build_api_routes, build_page_routes)


HOMES_BUILDERS: tuple[Callable[[HomesBackend], Sequence[BaseRoute]], ...] = (
    build_health_routes,
    build_homes_api_routes,
    build_homes_page_routes,
)


def build_own_routes(backend: Backend) -> list[BaseRoute]:
    """Returns the routes of page and API of a server for one home.

    Endpoints that use the backend are plain functions, which Starlette runs in a thread, because the backend waits for databases.
    """
    return [route for build in BUILDERS for route in build(backend)]


def build_homes_routes(backend: HomesBackend) -> list[BaseRoute]:
    """Returns the routes of pages and API of a server for many homes."""
    return [route for build in HOMES_BUILDERS for route in build(backend)]
