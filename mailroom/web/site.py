"""What every route needs: the service, the doorman and the figures, made once for each app."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request

from mailroom.config import ServeSettings
from mailroom.store.keys import Scope
from mailroom.web.auth import Caller, Doorman
from mailroom.web.drift_watch import DriftWatch
from mailroom.web.metrics import Metrics
from mailroom.workspace.service import Service
from mailroom.workspace.summary import summarise

SUMMARY_SECONDS = 5.0


class _Kept:
    """A value that is made anew when it is older than so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._value: dict[str, Any] = {}
        self._made_at = float("-inf")

    def get(self, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        with self._lock:
            if time.monotonic() - self._made_at > self._seconds:
                self._value, self._made_at = make(), time.monotonic()
            return self._value


@dataclass(frozen=True, slots=True)
class Site:
    """One running service as the web sees it."""

    service: Service
    doorman: Doorman
    metrics: Metrics
    drift: DriftWatch
    _summary: "_Kept" = field(default_factory=lambda: _Kept(SUMMARY_SECONDS))

    @property
    def settings(self) -> ServeSettings:
        """How requests are taken."""
        return self.service.workspace.settings.serve

    def summary(self) -> dict[str, Any]:
        """The figures of the workspace, at most a few seconds old: to count a long log takes a while."""
        return self._summary.get(lambda: summarise(self.service.live.current.workspace))

    def caller(self, scope: Scope | None) -> Callable[[Request], Caller]:
        """A dependency that gives who asks, where they may; None as scope: any key will do."""

        def require(request: Request) -> Caller:
            return self.doorman.require(request, scope)

        return require
