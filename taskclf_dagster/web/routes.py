"""The one list of what the server shows of its own, beside Dagster's pages.

Add a function here that makes the routes of one subject. They come before Dagster's routes, of which the last takes every path.
"""

from collections.abc import Callable, Sequence

from starlette.routing import BaseRoute

from taskclf_dagster.web.api.routes import build_api_routes
from taskclf_dagster.web.backend import Backend
from taskclf_dagster.web.health import build_health_routes
from taskclf_dagster.web.page import build_page_routes

BUILDERS: tuple[Callable[[Backend], Sequence[BaseRoute]], ...] = (build_health_routes, build_api_routes, build_page_routes)


def build_own_routes(backend: Backend) -> list[BaseRoute]:
    """Returns the routes of page and API.

    Endpoints that use the backend are plain functions, which Starlette runs in a thread, because the backend waits for databases.
    """
    return [route for build in BUILDERS for route in build(backend)]
