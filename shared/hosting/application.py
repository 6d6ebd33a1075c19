"""The HTTP side of a service: routes, documents, limits and the default deny."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from shared.contracts.asyncapi import asyncapi_document
from shared.hosting.context import ServiceApp
from shared.hosting.health import health_router
from shared.hosting.limits import Limits
from shared.hosting.measuring import Measured
from shared.hosting.problem import ProblemBody, install_problem_handlers

VERSION = "0.1.0"
HEALTH = frozenset({"/livez", "/readyz", "/metrics"})
DOCUMENTS = frozenset({"/docs", "/openapi.json", "/asyncapi"})


def build_application(service: ServiceApp) -> FastAPI:
    """The application of a composed service.

    Raises:
        AssertionError: a route asks for no principal and is not one of the health routes.
    """
    development = service.context.settings.environment == "development"
    errors: dict[int | str, dict[str, Any]] = {status: {"model": ProblemBody} for status in (401, 403, 404, 413, 422, 503)}
    # The built-in document routes take no dependencies, so they are replaced by guarded ones.
    app = FastAPI(
        title=f"Kehu {service.context.name}",
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        responses=errors,
        redirect_slashes=False,
    )
    install_problem_handlers(app)
    app.router.routes.extend(service.raw_routes)
    app.include_router(health_router(service))
    for router in service.routers:
        app.include_router(router)
    _add_documents(app, service, open_to_all=development)
    service.context.access.assert_every_route_guarded(app, open=HEALTH | (DOCUMENTS if development else frozenset()))
    app.add_middleware(Limits, larger=service.larger_bodies)
    app.add_middleware(Measured, raw_paths=[route.path for route in service.raw_routes if isinstance(route, Route)])
    return app


def _add_documents(app: FastAPI, service: ServiceApp, *, open_to_all: bool) -> None:
    name = service.context.name
    guard = [] if open_to_all else [Depends(service.context.access.require("documents:read"))]

    @app.get("/openapi.json", include_in_schema=False, dependencies=guard)
    async def openapi() -> JSONResponse:
        return JSONResponse(app.openapi())

    @app.get("/asyncapi", include_in_schema=False, dependencies=guard)
    async def asyncapi() -> JSONResponse:
        return JSONResponse(asyncapi_document(name))

    @app.get("/docs", include_in_schema=False, dependencies=guard)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(openapi_url="/openapi.json", title=f"Kehu {name}")
