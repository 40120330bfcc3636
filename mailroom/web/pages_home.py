"""The home page: the architecture with its live figures; the same picture for slides; log-in and log-out."""

import hashlib
from base64 import b64encode
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from mailroom.web.auth import Caller, check_host, check_origin
from mailroom.web.pages import FOLDER, Pages, local_path, read_form
from mailroom.web.picture import picture_of

_STYLE = (FOLDER / "static" / "picture.css").read_text(encoding="utf-8")
_STYLE_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


def routes(pages: Pages) -> APIRouter:
    """The routes of the home page and of the door."""
    router = APIRouter(include_in_schema=False)
    may = pages.viewer(None)

    @router.get("/")
    def home(request: Request, caller: Annotated[Caller, Depends(may)]) -> Response:
        part = "_home.html" if request.headers.get("hx-request") else "home.html"
        return pages.render(request, caller, part, picture=picture_of(pages.site))

    @router.get("/architecture.svg")
    def architecture(caller: Annotated[Caller, Depends(may)]) -> Response:
        del caller
        text = pages.text("_picture.svg", picture=picture_of(pages.site), style=_STYLE)
        # A picture that stands alone carries its style; the browser is told by its hash that it is ours.
        policy = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'"
        headers = {"Content-Security-Policy": policy}
        return Response(text, headers=headers, media_type="image/svg+xml")

    @router.get("/login")
    def login_page(request: Request) -> Response:
        if pages.site.doorman.open:
            check_host(request)
            return RedirectResponse("/", 303)
        back = local_path(request.query_params.get("next", "/"))
        return pages.render(request, None, "login.html", back=back, problem="")

    @router.post("/login")
    async def login(request: Request) -> Response:
        form = await read_form(request, None)
        back = local_path(form.get("next", "/"))
        response = RedirectResponse(back, 303)
        secure = request.url.scheme == "https"
        key = await run_in_threadpool(pages.site.doorman.log_in, form.get("key", ""), response, secure)
        if key is not None:
            return response
        problem = "No active key is this one. Keys begin with mr_; an administrator makes them."
        return pages.render(request, None, "login.html", 401, back=back, problem=problem)

    @router.post("/logout")
    def logout(request: Request) -> Response:
        check_origin(request)
        response = RedirectResponse("/login", 303)
        pages.site.doorman.log_out(request, response)
        return response

    return router
