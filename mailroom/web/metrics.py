"""What the service has done → Prometheus text: counted since the process began, read from the store never."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mailroom.evaluate.drift import SEVERITY
from mailroom.web.drift_watch import DriftWatch
from mailroom.workspace.intake import Answer, Intake, Waited
from mailroom.workspace.live_model import LiveModel

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The figures of one service."""

    def __init__(self, intake: Intake, live: LiveModel, drift: DriftWatch) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Now(intake, live, drift))
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

    def text(self) -> bytes:
        """All figures in the text format."""
        return generate_latest(self._registry)

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


class _Now(Collector):
    """What is read at the moment of asking: it cannot be out of date."""

    def __init__(self, intake: Intake, live: LiveModel, drift: DriftWatch) -> None:
        self._intake, self._live, self._drift = intake, live, drift

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The gauges."""
        waiting = GaugeMetricFamily("mailroom_waiting_emails", "Emails taken and not yet answered.")
        waiting.add_metric([], self._intake.waiting)
        yield waiting
        serving = self._live.current
        model = GaugeMetricFamily(
            "mailroom_model_info", "The model version and taxonomy that answer.", labels=["model", "taxonomy"]
        )
        model.add_metric([serving.version, serving.taxonomy.revision], 1)
        yield model
        behind = GaugeMetricFamily("mailroom_model_behind", "1 where the promoted version cannot be loaded.")
        behind.add_metric([], 1 if self._live.problem else 0)
        yield behind
        swaps = GaugeMetricFamily("mailroom_model_swaps", "Changes of the model in this process.")
        swaps.add_metric([], self._live.swaps)
        yield swaps
        drift = GaugeMetricFamily("mailroom_drift_level", "0 unknown, 1 steady, 2 watch, 3 alarm.")
        run = self._drift.latest()
        drift.add_metric([], SEVERITY.index(run.drift.level) if run is not None else 0)
        yield drift
