"""What the service has done → Prometheus text: counted since the process began, read from the store never.

Several workers write their figures into files of one folder, which the library reads where the environment
names it; whichever of them is asked tells the figures of all.
"""

import threading
import time
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from mailroom.evaluate.drift import SEVERITY
from mailroom.web.drift_watch import DriftWatch
from mailroom.workspace.intake import Answer, Intake, Waited
from mailroom.workspace.live_model import LiveModel

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# How often a worker writes down, for the others to tell, what only it knows.
_REFRESH_SECONDS = 1.0
_SERVING = ("model", "taxonomy")
_OverWorkers = Literal["livesum", "livemax"]


class Metrics:
    """The figures of one service; with the workers' folder, those of all workers together."""

    def __init__(self, intake: Intake, live: LiveModel, drift: DriftWatch, shared: Path | None) -> None:
        self._shared = shared
        self._registry = CollectorRegistry()
        self._now = _Now(self._registry, intake, live, drift)
        self._answers = self._counter(
            "mailroom_answers", "Answers by label and model version.", "label", "model"
        )
        self._known = self._counter("mailroom_known_answers", "Answers that an email had before.")
        self._review = self._counter("mailroom_review_answers", "New answers that are marked for review.")
        self._seconds = Histogram(
            "mailroom_step_seconds",
            "Seconds of an answer by step; `total` is from the request's arrival to the commit.",
            ["step"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.requests = self._counter("mailroom_requests", "Requests by route and status.", "route", "status")
        self.feedback = self._counter("mailroom_feedback", "Words that people said, by state.", "state")
        intake.observe(self._observe)
        if shared is not None:
            threading.Thread(target=self._stay_fresh, name="mailroom-figures", daemon=True).start()

    def text(self) -> bytes:
        """All figures in the text format."""
        self._now.refresh()
        if self._shared is None:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together, str(self._shared))  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def _stay_fresh(self) -> None:
        while True:
            time.sleep(_REFRESH_SECONDS)
            self._now.refresh()

    def _counter(self, name: str, help_line: str, *labels: str) -> Counter:
        return Counter(name, help_line, labels, registry=self._registry)

    def _observe(self, answer: Answer, waited: Waited) -> None:
        self._seconds.labels("queue").observe(waited.queue_ms / 1000)
        self._seconds.labels("total").observe(waited.total_ms / 1000)
        if answer.known:
            self._known.inc()
            return
        prediction = answer.prediction
        self._answers.labels(prediction.label, prediction.model).inc()
        self._seconds.labels("commit").observe(waited.commit_ms / 1000)
        for step, milliseconds in prediction.latency_ms.items():
            if step != "total":
                self._seconds.labels(step).observe(milliseconds / 1000)
        if prediction.needs_review:
            self._review.inc()


class _Now:
    """What is so at this moment: of one process, or summed over all workers."""

    def __init__(
        self, registry: CollectorRegistry, intake: Intake, live: LiveModel, drift: DriftWatch
    ) -> None:
        self._intake, self._live, self._drift = intake, live, drift
        self._serving: tuple[str, str] | None = None

        def gauge(name: str, help_line: str, over_workers: _OverWorkers, *labels: str) -> Gauge:
            return Gauge(name, help_line, labels, registry=registry, multiprocess_mode=over_workers)

        self._waiting = gauge("mailroom_waiting_emails", "Emails taken and not yet answered.", "livesum")
        self._model = gauge(
            "mailroom_model_info", "Processes that answer with this model and taxonomy.", "livesum", *_SERVING
        )
        self._behind = gauge(
            "mailroom_model_behind", "1 where the promoted version cannot be loaded.", "livemax"
        )
        self._swaps = gauge("mailroom_model_swaps", "Changes of the model since a process began.", "livemax")
        self._level = gauge("mailroom_drift_level", "0 unknown, 1 steady, 2 watch, 3 alarm.", "livemax")
        gauge("mailroom_processes", "Processes that answer.", "livesum").set(1)

    def refresh(self) -> None:
        """Set the gauges to what is so now."""
        self._waiting.set(self._intake.waiting)
        current = self._live.current
        serving = (current.version, current.taxonomy.revision)
        if self._serving is not None and self._serving != serving:
            self._model.labels(*self._serving).set(0)
        self._serving = serving
        self._model.labels(*serving).set(1)
        self._behind.set(1 if self._live.problem else 0)
        self._swaps.set(self._live.swaps)
        run = self._drift.latest()
        self._level.set(SEVERITY.index(run.drift.level) if run is not None else 0)
