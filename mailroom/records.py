"""The frozen records that the steps hand on: Email → Candidate → Prediction → Feedback → Example.

Field names are the same in Python, JSON, SQL and the documentation. `similarity` is what
retrieval ranks by, a cosine (−1…1) and what words add to it; `score` a raw cross-encoder logit or None,
`probability` a calibrated share (0…1); times are UTC.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

FeedbackSource = Literal["review", "audit", "import", "move"]
# Why a person should look at an answer.
ReviewReason = Literal["low_probability", "small_margin", "out_of_taxonomy", "no_text"]
# In the order of their bits in the store: new ones go behind.
REVIEW_REASONS: tuple[ReviewReason, ...] = ("low_probability", "small_margin", "out_of_taxonomy", "no_text")
Grade = Literal["silver", "gold"]
# What stands in place of a label where a person says that none of the taxonomy's fits; never the id of one.
OUTSIDE = "(outside)"


@dataclass(frozen=True, slots=True)
class Email:
    """One message as the models read it: `body` is cleaned text, `metadata` JSON-ready values.

    `content_sha256` is a hex digest of what the sender wrote, before any cleaning: it tells two emails apart
    that claim one Message-ID, and stays the same when the rules of cleaning change.
    """

    id: str
    subject: str
    body: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    received_at: datetime | None = None
    content_sha256: str = ""

    def __post_init__(self) -> None:
        """An email that was not read from a source is its own content."""
        if not self.content_sha256:
            content = f"{self.subject}\0{self.body}".encode("utf-8", "surrogatepass")
            object.__setattr__(self, "content_sha256", hashlib.sha256(content).hexdigest())

    @property
    def text(self) -> str:
        """Subject and body as one text, the form in which every model reads an email."""
        return f"{self.subject}\n{self.body}".strip() if self.subject else self.body.strip()


@dataclass(frozen=True, slots=True)
class Aside:
    """A piece of an email that people see and the models do not, such as a quoted reply or a signature.

    It stood after so many lines with words of the email's body.
    """

    after_lines: int
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One label that retrieval proposed, with what each stage thought of it."""

    label: str
    similarity: float
    score: float | None
    probability: float

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values, keyed by field name."""
        return {
            "label": self.label,
            "similarity": self.similarity,
            "score": self.score,
            "probability": self.probability,
        }


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one email; `candidates` are best first and `candidates[0].label == label`.

    `review_reasons` say why it is marked; () where it is not, or where the log did not keep them yet.
    """

    id: str
    email_id: str
    label: str
    path: tuple[str, ...]
    probability: float
    margin: float
    needs_review: bool
    candidates: tuple[Candidate, ...]
    model: str
    taxonomy: str
    decided_by: str
    created_at: datetime
    latency_ms: Mapping[str, float]
    review_reasons: tuple[ReviewReason, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values, keyed by field name; times in ISO 8601 UTC."""
        return {
            "id": self.id,
            "email_id": self.email_id,
            "label": self.label,
            "path": list(self.path),
            "probability": self.probability,
            "margin": self.margin,
            "needs_review": self.needs_review,
            "review_reasons": list(self.review_reasons),
            "candidates": [candidate.to_dict() for candidate in self.candidates],
            "model": self.model,
            "taxonomy": self.taxonomy,
            "decided_by": self.decided_by,
            "created_at": self.created_at.astimezone(UTC).isoformat(timespec="milliseconds"),
            "latency_ms": dict(self.latency_ms),
        }


@dataclass(frozen=True, slots=True)
class Feedback:
    """A person's word on one email. History only grows: a later word supersedes, nothing is overwritten.

    `label` is `OUTSIDE` where none of the taxonomy's fits. `wrong_label` is what the model had answered where
    that was not `label`, else None; `prediction_id` is None where no prediction was judged (imported
    history). `audit` marks emails that were drawn at random: they alone may be used to estimate precision.
    """

    id: str
    email_id: str
    label: str
    wrong_label: str | None
    prediction_id: str | None
    reviewer: str
    source: FeedbackSource
    created_at: datetime

    @property
    def is_outside(self) -> bool:
        """Whether the person says that no label fits."""
        return self.label == OUTSIDE

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values, keyed by field name; times in ISO 8601 UTC."""
        return {
            "id": self.id,
            "email_id": self.email_id,
            "label": self.label,
            "wrong_label": self.wrong_label,
            "prediction_id": self.prediction_id,
            "reviewer": self.reviewer,
            "source": self.source,
            "created_at": self.created_at.astimezone(UTC).isoformat(timespec="milliseconds"),
        }


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled text to learn from: `gold` a person's word, `silver` the model's own confident answer.

    `negatives` are wrong labels worth learning from, the most instructive first. `thread` groups the mails of
    one conversation ("" where unknown). `candidates` are what retrieval proposed before the label was known,
    best first: such lists are out of sample for whatever was trained since; () where none were logged.
    """

    email_id: str
    text: str
    label: str
    grade: Grade
    source: str
    weight: float = 1.0
    negatives: tuple[str, ...] = ()
    thread: str = ""
    candidates: tuple[Candidate, ...] = ()
