"""A request → who asks, and whether they may: a key in the Authorization header, or a browser's session.

Without any key in the store the service is open to the machine it runs on, under the name `local`; it then
answers only to loopback names, so that no website can reach it through a visitor's browser.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from fastapi import Request
from starlette.responses import Response

from mailroom.store.keys import SCOPES, ApiKey, ApiKeys, Scope
from mailroom.web.problems import Problem

SESSION_COOKIE = "mailroom_session"
CSRF_FIELD = "csrf_token"
CSRF_HEADER = "X-CSRF-Token"

_LOOPBACK = frozenset(("127.0.0.1", "localhost", "::1"))
_SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
LOCAL = ApiKey("local", "local", frozenset(SCOPES), datetime(1970, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks; `csrf_token` is None where a key came with the request itself, which no website can forge."""

    key: ApiKey
    csrf_token: str | None

    @property
    def name(self) -> str:
        """The name that changes and feedback are kept under."""
        return self.key.name


class Doorman:
    """Knows who may come in; one for each app."""

    def __init__(self, keys: ApiKeys, loopback_only: bool, session: timedelta) -> None:
        self._keys, self._loopback_only, self._session = keys, loopback_only, session

    @property
    def open(self) -> bool:
        """True where no key was ever made and only this machine can ask."""
        return self._loopback_only and not self._keys.any()

    def caller(self, request: Request) -> Caller | None:
        """Who asks, or None where nobody known does."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme:
            key = self._keys.find(token.strip()) if scheme.lower() == "bearer" else None
            return Caller(key, None) if key is not None else None
        secret = request.cookies.get(SESSION_COOKIE, "")
        key = self._keys.of_session(secret) if secret else None
        if key is not None:
            return Caller(key, csrf_token(secret))
        if self.open:
            return Caller(LOCAL, csrf_token(secret) if secret else None)
        return None

    def require(self, request: Request, scope: Scope | None) -> Caller:
        """Who asks, where they may; a Problem (401, 403) where not. None as scope: any key will do."""
        check_origin(request)
        if self.open:
            check_host(request)
        caller = self.caller(request)
        if caller is None:
            raise Problem(
                401,
                "expected an active key in `Authorization: Bearer …`; `mailroom keys create` makes one",
                headers={"WWW-Authenticate": 'Bearer realm="mailroom"'},
            )
        if scope is not None and not caller.key.allows(scope):
            raise Problem(403, f"expected a key with the scope {scope!r}; this one has others")
        if request.method not in _SAFE_METHODS and request.cookies.get(SESSION_COOKIE):
            _check_csrf_header(request, caller)
        return caller

    def log_in(self, token: str, response: Response, secure: bool) -> ApiKey | None:
        """Begin a session in this browser; None where the token is no active key's."""
        begun = self._keys.log_in(token.strip(), self._session)
        if begun is None:
            return None
        key, secret = begun
        set_session(response, secret, secure, int(self._session.total_seconds()))
        return key

    def log_out(self, request: Request, response: Response) -> None:
        """End the session of this browser."""
        self._keys.log_out(request.cookies.get(SESSION_COOKIE, ""))
        response.delete_cookie(SESSION_COOKIE, path="/")


def set_session(response: Response, secret: str, secure: bool, seconds: int | None = None) -> None:
    """Hand the browser its session: no script can read it, and other sites' forms do not send it."""
    response.set_cookie(
        SESSION_COOKIE, secret, max_age=seconds, path="/", httponly=True, samesite="lax", secure=secure
    )


def new_secret() -> str:
    """A session's secret: 256 random bits."""
    return secrets.token_urlsafe(32)


def csrf_token(secret: str) -> str:
    """What a page's forms must send back; it follows from the session, which other sites cannot read."""
    return hmac.new(secret.encode(), b"csrf", hashlib.sha256).hexdigest()


def csrf_matches(caller: Caller, given: str) -> bool:
    """Whether a form came from a page of this session."""
    return caller.csrf_token is not None and hmac.compare_digest(caller.csrf_token, given)


def check_origin(request: Request) -> None:
    """Refuse what a browser says that another site started; programs say nothing of it."""
    if request.method in _SAFE_METHODS:
        return
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host", "")
    if foreign or request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise Problem(403, "expected a request from the service's own pages, got one from another site")


def check_host(request: Request) -> None:
    """Refuse names that are not this machine's own: a website's name may be made to point here."""
    host = request.headers.get("host", "")
    name = urlsplit(f"//{host}").hostname or ""
    if name not in _LOOPBACK:
        raise Problem(
            403, "expected a loopback address as Host; make a key to use the service by other names"
        )


def _check_csrf_header(request: Request, caller: Caller) -> None:
    """A browser's session alone changes nothing through the API: its page's token must come along."""
    if caller.csrf_token is None and "authorization" in request.headers:
        return
    given = request.headers.get(CSRF_HEADER, "")
    if not csrf_matches(caller, given):
        raise Problem(403, f"expected the page's token in {CSRF_HEADER}; load the page again")
