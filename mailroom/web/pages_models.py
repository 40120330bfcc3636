"""The model versions as a page: what answers, how it did, and the change of it."""

import base64
import hashlib
import re
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from mailroom.errors import MailroomError, ModelError
from mailroom.web.auth import Caller
from mailroom.web.pages import Pages, read_form
from mailroom.web.problems import Problem
from mailroom.workspace.versions import CURRENT, Versions

_MOST_REASON = 1000
_HISTORY = 20
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


def routes(pages: Pages) -> APIRouter:
    """The routes of the models' page."""
    router = APIRouter(include_in_schema=False)
    may_read, may_change = pages.viewer(None), pages.viewer("admin")
    may_see_mail = pages.viewer("review")
    service = pages.site.service

    def show(request: Request, caller: Caller, problem: str = "", status: int = 200) -> Response:
        versions = Versions(service.workspace)
        history = versions.history()[::-1]
        return pages.render(
            request,
            caller,
            "models.html",
            status,
            serving=service.live.current,
            behind=service.live.problem,
            rows=versions.rows()[::-1],
            history=history[:_HISTORY],
            may_change=caller.key.allows("admin"),
            can_go_back=len({promotion.version for promotion in history}) > 1,
            problem=problem,
            may_read_mail=caller.key.allows("review"),
            reported=_reported(versions),
        )

    @router.get("/models")
    def models(request: Request, caller: Annotated[Caller, Depends(may_read)]) -> Response:
        return show(request, caller)

    @router.get("/models/diff")
    def diff(
        request: Request,
        caller: Annotated[Caller, Depends(may_read)],
        one: Annotated[str, Query(max_length=200)] = CURRENT,
        other: Annotated[str, Query(max_length=200)] = "",
    ) -> Response:
        versions = Versions(service.workspace)
        try:
            difference = versions.diff(one, other or _one_before(versions, one))
        except ModelError as exc:
            raise Problem(404, str(exc)) from exc
        names = [row.id for row in versions.rows()[::-1] if row.version is not None]
        return pages.render(request, caller, "models_diff.html", difference=difference, names=names)

    @router.get("/models/{version}/report")
    def report(version: str, caller: Annotated[Caller, Depends(may_see_mail)]) -> Response:
        """The page that a learning cycle left; it quotes emails, so reading the log is needed for it."""
        del caller
        return _report(Versions(service.workspace), version)

    @router.post("/models")
    async def change(request: Request, caller: Annotated[Caller, Depends(may_change)]) -> Response:
        form = await read_form(request, caller)
        reason = form.get("reason", "").strip()[:_MOST_REASON] or "on the models page"
        try:
            if form.get("action") == "promote":
                await run_in_threadpool(service.promote, form.get("version", ""), caller.name, reason)
            elif form.get("action") == "rollback":
                await run_in_threadpool(service.roll_back, caller.name, reason)
            else:
                raise Problem(422, "expected promote or rollback")
        except MailroomError as exc:
            return await run_in_threadpool(show, request, caller, str(exc), 409)
        return RedirectResponse("/models", 303)

    return router


def _reported(versions: Versions) -> set[str]:
    """The versions whose learning cycle left a report."""
    return {row.id for row in versions.rows() if row.version is not None and versions.report(row.version)}


def _report(versions: Versions, name: str) -> Response:
    try:
        path = versions.report(versions.find(name))
    except ModelError as exc:
        raise Problem(404, str(exc)) from exc
    if path is None:
        raise Problem(404, f"no learning cycle left a report about {name}")
    return _alone(path.read_text(encoding="utf-8"))


def _alone(page: str) -> Response:
    """A page that carries its own style: the browser is told by the hash that it is ours."""
    style = _STYLE.search(page)
    digest = hashlib.sha256(style[1].encode()).digest() if style else b""
    policy = (
        f"default-src 'none'; style-src 'sha256-{base64.b64encode(digest).decode()}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Response(page, headers={"Content-Security-Policy": policy}, media_type="text/html")


def _one_before(versions: Versions, name: str) -> str:
    """What a version is compared with unless told: the one it came from, else any other."""
    version = versions.find(name)
    others = [row.id for row in versions.rows()[::-1] if row.version is not None and row.id != version.id]
    parent = version.manifest.parent
    return parent if parent in others else next(iter(others), version.id)
