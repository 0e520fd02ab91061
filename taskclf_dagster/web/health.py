"""The route `/retrain/health`: whether the server answers. It says nothing about any home, because it needs no login."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from taskclf_dagster.web.backend import Backend, HomesBackend

HEALTH = "/retrain/health"


def build_health_routes(backend: Backend | HomesBackend) -> list[Route]:
    """Returns the one route."""

    async def show_health(_: Request) -> JSONResponse:
        return JSONResponse({"ok": True, "readOnly": backend.read_only})

    return [Route(HEALTH, show_health, methods=["GET"])]
