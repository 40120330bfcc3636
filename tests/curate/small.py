"""A small label tree and short ways to make the records that curation takes."""

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mailroom.records import Candidate, Feedback, FeedbackSource, Prediction
from mailroom.taxonomy import Label, Taxonomy

START = datetime(2026, 1, 5, tzinfo=UTC)
_moments = itertools.count()


def tree() -> Taxonomy:
    """Two groups of leaves; `invoice` overlaps `refund`; `orders` and `billing` cannot be given."""
    return Taxonomy(
        [
            Label("orders", "Orders", ("Orders",), assignable=False),
            Label("cancel", "Cancel", ("Orders", "Cancel"), parent="orders", aliases=("stop",)),
            Label("track", "Track", ("Orders", "Track"), parent="orders"),
            Label("change", "Change", ("Orders", "Change"), parent="orders"),
            Label("billing", "Billing", ("Billing",), assignable=False),
            Label("invoice", "Invoice", ("Billing", "Invoice"), parent="billing", overlaps=("refund",)),
            Label("refund", "Refund", ("Billing", "Refund"), parent="billing"),
            Label("refund-late", "Late", ("Billing", "Refund", "Late"), parent="refund"),
        ]
    )


@dataclass(frozen=True, slots=True)
class Row:
    """A labelled email as the store would hand it over."""

    email_id: str
    text: str
    words: tuple[Feedback, ...]
    thread: str = ""
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Classified:
    """An email without a label as the store would hand it over."""

    email_id: str
    text: str
    prediction: Prediction
    thread: str = ""


def answer(label: str, sure: float, email_id: str = "mail", nearest: str | None = None) -> Prediction:
    """An answer as sure as `sure` (0…1); `nearest` is what retrieval alone would have said, else the same."""
    first = Candidate(label, 0.5, 2.0, sure)
    candidates = (first,) if nearest in (None, label) else (first, Candidate(nearest or "", 0.6, 1.0, 0.1))
    return Prediction(
        id=f"prediction-{email_id}",
        email_id=email_id,
        label=label,
        path=(label,),
        probability=sure,
        margin=sure,
        needs_review=False,
        candidates=candidates,
        model="v1",
        taxonomy="tree",
        decided_by="cross_encoder",
        created_at=START,
        latency_ms={},
    )


def word(
    label: str, wrong: str | None = None, reviewer: str = "ann", source: FeedbackSource = "review"
) -> Feedback:
    """A person's word; each is said a second after the one before."""
    moment = next(_moments)
    return Feedback(
        id=f"word-{moment}",
        email_id="",
        label=label,
        wrong_label=wrong,
        prediction_id=None,
        reviewer=reviewer,
        source=source,
        created_at=START + timedelta(seconds=moment),
    )


def letters(number: int, words: int = 30) -> str:
    """A text like no other number's."""
    return " ".join(f"w{_spell(number * 1000 + place)}" for place in range(words))


def _spell(number: int) -> str:
    return "".join(chr(97 + int(digit)) for digit in str(number))
