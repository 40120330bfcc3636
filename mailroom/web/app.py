"""A service → the web application: routes, errors as problem documents, headers that keep browsers safe."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mailroom import __version__
from mailroom.web import (
    api_classify,
    api_health,
    api_log,
    api_models,
    pages_drift,
    pages_home,
    pages_log,
    pages_models,
    pages_pair,
    pages_quality,
    pages_review,
    pages_taxonomy,
    problems,
)
from mailroom.web.auth import Caller, Doorman
from mailroom.web.drift_watch import DriftWatch
from mailroom.web.hands import Hands
from mailroom.web.json_response import JsonResponse
from mailroom.web.metrics import Metrics
from mailroom.web.pages import FOLDER, Pages
from mailroom.web.site import Site
from mailroom.workspace.service import Service

DESCRIPTION = (
    "Puts exactly one label of a hierarchical, overlapping taxonomy on every email. Keys come in the header "
    "`Authorization: Bearer …`; errors are RFC 9457 problem documents."
)
# Nothing from elsewhere, no inline script or style, no frame, and forms only to ourselves.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def make_app(service: Service, *, loopback_only: bool, figures: Path | None = None) -> FastAPI:
    """The application; `loopback_only` says that no other machine can reach it.

    `figures` is the folder in which several workers keep their figures, to be told together.
    """
    settings = service.workspace.settings.serve
    doorman = Doorman(service.keys, loopback_only, timedelta(hours=settings.session_hours))
    drift = DriftWatch(service.live)
    site = Site(service, doorman, Metrics(service.intake, service.live, drift, figures), drift)
    hands = Hands(site)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(hands.close)

    # The framework's own documentation pages load scripts from elsewhere.
    app = FastAPI(
        title="mailroom",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
    )
    pages = Pages(site)
    problems.install(app, pages.problem)
    for module in (api_classify, api_log, api_models, api_health):
        app.include_router(module.routes(site))
    app.include_router(pages_review.routes(pages, hands))
    for module in (
        *(pages_home, pages_log, pages_quality, pages_pair),
        *(pages_drift, pages_taxonomy, pages_models),
    ):
        app.include_router(module.routes(pages))
    app.mount("/static", StaticFiles(directory=FOLDER / "static"), name="static")

    @app.get("/v1/openapi.json", include_in_schema=False)
    def openapi(caller: Annotated[Caller, Depends(site.caller(None))]) -> Response:
        del caller
        return JsonResponse(with_security(app.openapi()))

    app.add_middleware(_Outermost, metrics=site.metrics)
    return app


def with_security(document: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with the key that every route but the health ones wants."""
    schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes["key"] = {"type": "http", "scheme": "bearer"}
    return document | {"security": [{"key": []}]}


class _Outermost:
    """Counts requests by route and status, and puts the security headers on every answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started = False

        async def send_safely(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._finish(scope, message)
            await send(message)

        try:
            await self._app(scope, receive, send_safely)
        except Exception as exc:
            answer = problems.problem_of(exc).response()
            if started:
                raise
            await answer(scope, receive, send_safely)

    def _finish(self, scope: Scope, message: Message) -> None:
        headers = MutableHeaders(scope=message)
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("Cache-Control", "no-store")
        route = scope.get("route")
        # Never the path as it came: whoever asks for a million of them would make a million figures.
        self._metrics.requests.labels(getattr(route, "path", "none"), str(message["status"])).inc()
