"""What all pages share: templates that escape everything, who is looking, forms that our pages alone send."""

import textwrap
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mailroom.store.keys import Scope
from mailroom.web import bodies
from mailroom.web.auth import (
    CSRF_FIELD,
    SESSION_COOKIE,
    Caller,
    check_host,
    check_origin,
    csrf_matches,
    csrf_token,
    new_secret,
    set_session,
)
from mailroom.web.problems import Problem
from mailroom.web.reading import body_of, pieces
from mailroom.web.site import Site

FOLDER = Path(__file__).parent
MOST_FORM_BYTES = 64 * 1024
_MOST_FIELDS = 50


class LoginNeeded(Problem):
    """Nobody known is looking at a page; `back` is where to go after the log-in."""

    def __init__(self, back: str) -> None:
        super().__init__(401, "log in to see this page")
        self.back = back

    def response(self) -> Response:
        """The way to the log-in page."""
        return RedirectResponse(f"/login?next={quote(self.back, safe='/')}", 303)


class Pages:
    """Renders the templates of one site."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._templates = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "percent": _percent,
            "moment": _moment,
            "day": _day,
            "number": _number,
            "wrapped": _wrapped,
            "below": body_of,
            "pieces": pieces,
        }
        self._templates.globals["csrf_field"] = CSRF_FIELD

    def viewer(self, scope: Scope | None) -> Callable[[Request], Caller]:
        """A dependency that gives who is looking; the log-in page is shown to others."""

        def require(request: Request) -> Caller:
            doorman = self.site.doorman
            if doorman.open:
                check_host(request)
            caller = doorman.caller(request)
            if caller is None:
                raise LoginNeeded(request.url.path)
            if scope is not None and not caller.key.allows(scope):
                raise Problem(403, f"this page wants a key with the scope {scope!r}; yours has others")
            return caller

        return require

    def render(
        self, request: Request, caller: Caller | None, template: str, status: int = 200, **values: Any
    ) -> Response:
        """A page; a browser that has no session yet gets one, since its forms need a token."""
        secret = request.cookies.get(SESSION_COOKIE, "")
        fresh = "" if secret else new_secret()
        text = self._templates.get_template(template).render(
            caller=caller,
            csrf=csrf_token(secret or fresh),
            open=self.site.doorman.open,
            here=request.url.path,
            **values,
        )
        response = HTMLResponse(text, status)
        if fresh and caller is not None:
            set_session(response, fresh, request.url.scheme == "https")
        return response

    def problem(self, request: Request, problem: Problem) -> Response:
        """A problem as a page; where nobody known is looking, the way to the log-in page."""
        if isinstance(problem, LoginNeeded):
            return problem.response()
        caller = self.site.doorman.caller(request)
        page = self.render(
            request, caller, "message.html", problem.status, title=problem.title, detail=problem.detail
        )
        page.headers.update(problem.headers)
        return page

    def text(self, template: str, **values: Any) -> str:
        """A template that is no page."""
        return self._templates.get_template(template).render(**values)


async def read_form(request: Request, caller: Caller | None) -> dict[str, str]:
    """The fields of a form, the last one of each name; a Problem where it was not sent by our own page."""
    check_origin(request)
    if bodies.content_type(request) != bodies.FORM:
        raise Problem(415, f"expected {bodies.FORM}")
    data = await bodies.read_body(request, MOST_FORM_BYTES)
    try:
        pairs = parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as exc:
        raise Problem(400, "expected the fields of a form") from exc
    form = dict(pairs)
    if caller is not None and not csrf_matches(caller, form.get(CSRF_FIELD, "")):
        raise Problem(403, "expected the token of the page that the form stands on; load the page again")
    return form


def local_path(text: str) -> str:
    """A path of this site, whatever came: nobody is sent elsewhere after the log-in."""
    return text if text.startswith("/") and not text.startswith(("//", "/\\")) and "\n" not in text else "/"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.1 or share == 0 else f"{share:.1%}"


def _number(count: int) -> str:
    return f"{count:,}"


def _day(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%b} {moment.astimezone(UTC).day}"


def _moment(moment: datetime | None) -> str:
    return "–" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"
