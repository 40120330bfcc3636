"""What watches the service: is it alive, does it take mail, and its figures for Prometheus."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import PlainTextResponse, Response

from mailroom.web import bodies
from mailroom.web.auth import Caller
from mailroom.web.json_response import JsonResponse
from mailroom.web.metrics import MEDIA_TYPE
from mailroom.web.problems import Problem
from mailroom.web.site import Site


def routes(site: Site) -> APIRouter:
    """The routes for machines that look after machines; the first two tell nothing, and need no key."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", summary="The process answers", openapi_extra={"security": []})
    async def healthz() -> Response:
        return JsonResponse({"status": "alive"})

    @router.get(
        "/readyz",
        summary="Mail is taken, and the store can be read",
        responses={503: bodies.problems(503)[503]},
        openapi_extra={"security": []},
    )
    def readyz() -> Response:
        if not site.service.ready:
            raise Problem(503, "the service is ending")
        site.service.workspace.promotions.current()
        return JsonResponse({"status": "ready", "waiting_emails": site.service.intake.waiting})

    @router.get(
        "/metrics",
        summary="Figures for Prometheus",
        response_class=PlainTextResponse,
        responses=bodies.problems(),
    )
    def metrics(caller: Annotated[Caller, Depends(site.caller(None))]) -> Response:
        del caller
        return Response(site.metrics.text(), media_type=MEDIA_TYPE)

    return router
