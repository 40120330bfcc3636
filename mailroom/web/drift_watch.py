"""Has the mail moved? Asked of the log now and then, aside, since reading weeks of it takes a while."""

import logging
import threading
import time
from datetime import UTC, datetime, timedelta

from mailroom.errors import DataError, MailroomError
from mailroom.workspace.drift import DriftRun, Span, run_drift, spans
from mailroom.workspace.live_model import LiveModel

_FRESH_SECONDS = 600.0

_logger = logging.getLogger("mailroom.web")


class DriftWatch:
    """The newest finding; `run` is None until there is one, and where the log is too young for any."""

    def __init__(self, live: LiveModel) -> None:
        self._live = live
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self.run: DriftRun | None = None

    def latest(self) -> DriftRun | None:
        """What was found last; a look that is due is begun in the background."""
        with self._lock:
            due = time.monotonic() - self._asked_at > _FRESH_SECONDS
            if due:
                self._asked_at = time.monotonic()
        if due:
            threading.Thread(target=self.look, name="mailroom-drift", daemon=True).start()
        return self.run

    def found(self) -> DriftRun | None:
        """What was found last; the first to ask waits for it."""
        with self._lock:
            first = self._asked_at == float("-inf")
            if first:
                self._asked_at = time.monotonic()
                self.look()
        return self.latest()

    def look(self) -> None:
        """Compare the last days with the weeks before; nothing is embedded, so no model is kept busy."""
        workspace = self._live.current.workspace
        settings = workspace.settings.drift
        now = datetime.now(UTC)
        window = Span(now - timedelta(days=settings.window_days), now)
        try:
            reference, window = spans(window, None, settings.reference_days)
            self.run = run_drift(workspace, reference, window, 0)
        except DataError:
            self.run = None
        except MailroomError as exc:
            _logger.warning("drift could not be measured: %s", exc)
