"""The model versions over HTTP: which there are, which answers, and the change of it."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from mailroom.web import bodies
from mailroom.web.auth import Caller
from mailroom.web.json_response import JsonResponse
from mailroom.web.site import Site
from mailroom.workspace.versions import Versions

_REASON_EXAMPLE = {"reason": "2 points more top-1 on last week's gold"}


def routes(site: Site) -> APIRouter:
    """The routes that show and change the models."""
    router = APIRouter(prefix="/v1", tags=["models"])
    may_read, may_change = site.caller(None), site.caller("admin")
    reason_of = bodies.json_body(bodies.ReasonIn, site.settings.max_body_bytes, bodies.ReasonIn(reason=""))

    @router.get("/models", summary="The model versions, and what answers now", responses=bodies.problems())
    def models(caller: Annotated[Caller, Depends(may_read)]) -> Response:
        del caller
        return JsonResponse(overview(site))

    @router.post(
        "/models/{version}/promote",
        summary="Make a version the current one",
        description="It is loaded first and swapped in at once: no email fails, and each is answered by one "
        "version. Other processes on the same store follow within `serve.follow_every_ms`.",
        responses=bodies.problems(409, 413, 415, 422),
        openapi_extra=bodies.described(bodies.ReasonIn, _REASON_EXAMPLE, required=False),
    )
    async def promote(
        version: str, request: Request, caller: Annotated[Caller, Depends(may_change)]
    ) -> Response:
        reason = (await reason_of(request)).reason or "promoted over the API"
        made = await run_in_threadpool(site.service.promote, version, caller.name, reason)
        return JsonResponse(made.to_dict())

    @router.post(
        "/models/rollback",
        summary="Go back to the version before the current one",
        responses=bodies.problems(409, 413, 415, 422),
        openapi_extra=bodies.described(bodies.ReasonIn, _REASON_EXAMPLE, required=False),
    )
    async def roll_back(request: Request, caller: Annotated[Caller, Depends(may_change)]) -> Response:
        reason = (await reason_of(request)).reason or "rolled back over the API"
        made = await run_in_threadpool(site.service.roll_back, caller.name, reason)
        return JsonResponse(made.to_dict())

    @router.get("/audit", summary="Who changed what, newest first", responses=bodies.problems(422))
    def audit(
        caller: Annotated[Caller, Depends(may_change)], limit: Annotated[int, Query(ge=1, le=1000)] = 100
    ) -> Response:
        del caller
        return JsonResponse({"entries": [entry.to_dict() for entry in site.service.audit.entries(limit)]})

    return router


def overview(site: Site) -> dict[str, Any]:
    """The versions and what answers in this process."""
    serving = site.service.live.current
    return {
        "serving": {"model": serving.version, "taxonomy": serving.taxonomy.revision},
        "problem": site.service.live.problem,
        "versions": [row.to_dict() for row in Versions(site.service.workspace).rows()],
        "history": [promotion.to_dict() for promotion in Versions(site.service.workspace).history()],
    }
