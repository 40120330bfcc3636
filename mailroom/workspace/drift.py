"""The prediction log between dates → two windows → drift; nothing is written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from mailroom.classify.marks import foreignness
from mailroom.errors import ConfigError, DataError
from mailroom.evaluate.drift import Drift, Window, measure_drift
from mailroom.records import Feedback
from mailroom.store.feedback import FeedbackFilter, FeedbackLog
from mailroom.store.log_query import LogFilter
from mailroom.workspace.workspace import Workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mailroom.models.bi_encoder import BiEncoder


# What people call the measures of `measure_drift`, and which of them are shares of emails.
MEASURES = {
    "label_mix_psi": "label mix, PSI",
    "label_mix_js_bits": "label mix, Jensen–Shannon, bits",
    "probability_psi": "probabilities, PSI",
    "margin_psi": "margins, PSI",
    "embedding_shift": "shift of the mail, std. deviations",
    "outside_share": "more mail from outside the taxonomy",
    "audited_accuracy_loss": "loss of audited accuracy",
}
SHARES = ("outside_share", "audited_accuracy_loss")


class NothingToCompareError(DataError):
    """A window without any prediction."""


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time: `since` is inclusive, `until` exclusive."""

    since: datetime
    until: datetime

    def to_dict(self) -> dict[str, str]:
        """Both ends in ISO 8601."""
        return {"since": self.since.isoformat(), "until": self.until.isoformat()}


@dataclass(frozen=True, slots=True)
class Sample:
    """A window as it was read, out of `logged` predictions, and what they came from.

    Of its audited emails people said of `audits_outside` that no label fits.
    """

    span: Span
    window: Window
    logged: int
    models: tuple[str, ...]
    taxonomies: tuple[str, ...]
    audits_outside: int = 0

    def to_dict(self) -> dict[str, Any]:
        """What was read, as JSON-ready values."""
        return {
            **self.span.to_dict(),
            "logged": self.logged,
            "read": len(self.window.labels),
            "embedded": 0 if self.window.vectors is None else len(self.window.vectors),
            "audits": self.window.audited[1],
            "audits_outside": self.audits_outside,
            "models": list(self.models),
            "taxonomies": list(self.taxonomies),
        }


@dataclass(frozen=True, slots=True)
class DriftRun:
    """The findings, and the two windows that they rest on.

    `outside_above` is the foreignness from which on mail counts as outside; None: the reference's own.
    """

    drift: Drift
    reference: Sample
    current: Sample
    outside_above: float | None = None

    def notices(self) -> list[str]:
        """What besides the mail may have moved the figures."""
        said = []
        if self.reference.models != self.current.models:
            said.append(
                "the windows were answered by different model versions: scores may have moved with them"
            )
        if self.reference.taxonomies != self.current.taxonomies:
            said.append("the taxonomy was changed between the windows: the label mix may have moved with it")
        if self.current.window.vectors is None:
            said.append("no text was embedded, so the shift of the mail itself is unknown")
        return said

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values."""
        windows = {"reference": self.reference.to_dict(), "window": self.current.to_dict()}
        beside = {"outside_above": self.outside_above, "notices": self.notices()}
        return {**windows, **self.drift.to_dict(), **beside}


def spans(window: Span, reference_since: datetime | None, reference_days: int) -> tuple[Span, Span]:
    """(reference, window): the reference ends where the window begins; ConfigError where one is empty."""
    since = reference_since or window.since - timedelta(days=reference_days)
    if not since < window.since < window.until:
        dates = " and ".join(
            f"{start.isoformat()} to {end.isoformat()}"
            for start, end in ((since, window.since), (window.since, window.until))
        )
        raise ConfigError(f"expected a reference before a window, got {dates}; change the dates")
    return Span(since, window.since), window


def run_drift(
    workspace: Workspace,
    reference: Span,
    window: Span,
    embedded: int,
    advance: Callable[[int, int], None] = lambda _done, _of: None,
) -> DriftRun:
    """Read both windows from the log and compare them; `advance` is told of the texts embedded so far.

    NothingToCompareError where a window holds no prediction.
    """
    empty = next((span for span in (reference, window) if not workspace.log.count(_filter(span))), None)
    if empty is not None:
        raise NothingToCompareError(
            f"the log has no prediction from {empty.since:%Y-%m-%d %H:%M} to {empty.until:%Y-%m-%d %H:%M}; "
            "choose other dates (`--since`, `--until`, `--reference-since`), or come back when there are"
        )
    encoder = workspace.version.load_bi_encoder(workspace.precision()) if embedded else None
    before = _read(workspace, reference, embedded, encoder, lambda done: advance(done, 2 * embedded))
    now = _read(workspace, window, embedded, encoder, lambda done: advance(embedded + done, 2 * embedded))
    above = _outside_above(workspace, (before, now))
    drift = measure_drift(before.window, now.window, workspace.settings.drift.min_emails, outside_above=above)
    return DriftRun(drift, before, now, above)


def _outside_above(workspace: Workspace, samples: Sequence[Sample]) -> float | None:
    """The foreignness above which mail is marked, where it is that of every answer in both windows."""
    alone = all(sample.models == (workspace.version.id,) for sample in samples)
    return workspace.version.outside_above if alone else None


def _filter(span: Span, every: int | None = None) -> LogFilter:
    return LogFilter(since=span.since, until=span.until, every=every, newest_first=False)


def _read(
    workspace: Workspace,
    span: Span,
    embedded: int,
    encoder: "BiEncoder | None",
    advance: Callable[[int], None],
) -> Sample:
    logged = workspace.log.count(_filter(span))
    # An evenly spaced sample, since a mailbox may hold a million answers a week.
    every = -(-logged // workspace.settings.drift.max_emails)
    rows = [row.prediction for row in workspace.log.query(_filter(span, every if every > 1 else None))]
    similarities = [[candidate.similarity for candidate in row.candidates] for row in rows]
    audits = _audits(workspace, span)
    vectors = None
    if encoder is not None:
        vectors = _embed(workspace, encoder, [row.email_id for row in rows], embedded, advance)
    window = Window(
        labels=[row.label for row in rows],
        probabilities=np.array([row.probability for row in rows]),
        margins=np.array([row.margin for row in rows]),
        foreignness=np.array([foreignness(one) for one in similarities]),
        vectors=vectors,
        audited=(sum(word.wrong_label is None for word in audits), len(audits)),
    )
    models, taxonomies = {row.model for row in rows}, {row.taxonomy for row in rows}
    outside = sum(word.is_outside for word in audits)
    return Sample(span, window, logged, tuple(sorted(models)), tuple(sorted(taxonomies)), outside)


def _embed(
    workspace: Workspace,
    encoder: "BiEncoder",
    email_ids: Sequence[str],
    wanted: int,
    advance: Callable[[int], None],
) -> "NDArray[np.float32] | None":
    """Vectors (m, d) of evenly spaced emails whose text is kept, by the encoder that serves now."""
    places = np.unique(np.linspace(0, len(email_ids) - 1, min(wanted, len(email_ids))).astype(int))
    vectors = []
    for done, place in enumerate(places, start=1):
        text = workspace.log.text_of(email_ids[place])
        if text:
            vector = encoder.encode_query(text)
            vectors.append(vector / max(float(np.linalg.norm(vector)), 1e-12))
        advance(done)
    return np.stack(vectors).astype(np.float32) if vectors else None


def _audits(workspace: Workspace, span: Span) -> list[Feedback]:
    """The words of audits that were said within the span; audits alone were drawn at random."""
    wanted = FeedbackFilter(source="audit", since=span.since, until=span.until, latest_only=True)
    words = FeedbackLog(workspace.database, workspace.settings.store).query(wanted)
    return [row.feedback for row in words if row.feedback.prediction_id is not None]
