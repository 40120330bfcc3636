"""What each reviewer has in hand at the desk: the email to judge, those after it, and those done.

Kept in this process alone: the store knows who has which email, and gives it to others when the lease ends.
"""

import threading
from collections import Counter, deque
from dataclasses import dataclass, field

from mailroom.records import FeedbackSource
from mailroom.taxonomy import NO_LABEL, Label
from mailroom.web.problems import Problem
from mailroom.web.site import Site
from mailroom.workspace.review import ReviewItem, ReviewQueue

# Emails left in hand at which the next batch is fetched: in the background, so that nobody waits for it.
_LOW = 8
# And the step that this is noticed in ends first: it shares the processor with the fetch.
_ASIDE_AFTER_S = 0.25
_REMEMBERED = 50


@dataclass(frozen=True, slots=True)
class Done:
    """An email that was judged, or skipped where `label` is None; `label` may be NO_LABEL's id."""

    item: ReviewItem
    label: str | None


@dataclass(slots=True)
class Taught:
    """What a reviewer has said since the service began."""

    confirmed: int = 0
    corrected: int = 0
    outside: int = 0
    skipped: int = 0
    confusions: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def answered(self) -> int:
        """Emails with a word."""
        return self.confirmed + self.corrected + self.outside


@dataclass(slots=True)
class Hand:
    """One reviewer's emails, the current one first."""

    waiting: deque[ReviewItem] = field(default_factory=deque)
    done: deque[Done] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    taught: Taught = field(default_factory=Taught)
    lock: threading.RLock = field(default_factory=threading.RLock)
    fetching: bool = False
    # The answer that stands on the current email after an undo.
    before: str | None = None


class Hands:
    """The hands of all reviewers of one site; safe to share between threads."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._hands: dict[str, Hand] = {}
        self._lock = threading.Lock()
        self._closed = False

    def of(self, reviewer: str) -> Hand:
        """A reviewer's hand, with an email in it where any waits."""
        with self._lock:
            hand = self._hands.setdefault(reviewer, Hand())
        with hand.lock:
            if not hand.waiting:
                self._fetch(hand, reviewer)
            elif len(hand.waiting) <= _LOW and not hand.fetching:
                hand.fetching = True
                later = threading.Timer(_ASIDE_AFTER_S, self._fetch_aside, (hand, reviewer))
                later.daemon = True
                later.start()
        return hand

    def answer(self, reviewer: str, email_id: str, label: Label) -> None:
        """Record a word on the current email, durable when this returns; Problem where it is another one."""
        hand = self.of(reviewer)
        with hand.lock:
            item = _current(hand, email_id)
            source: FeedbackSource = "audit" if item.kind == "audit" else "review"
            corrections = self._site.service.live.current.corrections
            done = corrections.record(item.email.id, item.prediction, label, reviewer, source)
            self._site.metrics.feedback.labels(done.state).inc()
            if label.id == item.prediction.label:
                hand.taught.confirmed += 1
            elif label is NO_LABEL:
                hand.taught.outside += 1
            else:
                hand.taught.corrected += 1
                hand.taught.confusions[item.prediction.label, label.id] += 1
            self._go_on(hand, Done(item, label.id))

    def skip(self, reviewer: str, email_id: str) -> None:
        """Leave the current email, to others or for later."""
        hand = self.of(reviewer)
        with hand.lock:
            item = _current(hand, email_id)
            hand.taught.skipped += 1
            self._go_on(hand, Done(item, None))

    def undo(self, reviewer: str) -> None:
        """Bring the email before back; a word on it stands until another one is given."""
        hand = self.of(reviewer)
        with hand.lock:
            if not hand.done:
                return
            last = hand.done.pop()
            hand.waiting.appendleft(last.item)
            hand.before = last.label
            _take_back(hand.taught, last)

    def close(self) -> None:
        """Let others have what nobody came to; what was skipped rests for the lease."""
        with self._lock:
            self._closed = True
            hands = list(self._hands.values())
        queue = ReviewQueue(self._site.service.live.current.workspace)
        for hand in hands:
            with hand.lock:
                if hand.waiting:
                    queue.give_back(list(hand.waiting))
                hand.waiting.clear()

    def _go_on(self, hand: Hand, done: Done) -> None:
        hand.waiting.popleft()
        hand.done.append(done)
        hand.before = None

    def _fetch(self, hand: Hand, reviewer: str) -> None:
        workspace = self._site.service.live.current.workspace
        items = ReviewQueue(workspace).take(workspace.settings.review.batch, reviewer)
        hand.waiting.extend(items)

    def _fetch_aside(self, hand: Hand, reviewer: str) -> None:
        try:
            if not self._closed:
                workspace = self._site.service.live.current.workspace
                items = ReviewQueue(workspace).take(workspace.settings.review.batch, reviewer)
                with hand.lock:
                    hand.waiting.extend(items)
        finally:
            hand.fetching = False


def _current(hand: Hand, email_id: str) -> ReviewItem:
    if not hand.waiting or hand.waiting[0].email.id != email_id:
        raise Problem(409, "this email is no longer the one in hand; the page shows the one that is")
    return hand.waiting[0]


def _take_back(taught: Taught, last: Done) -> None:
    if last.label is None:
        taught.skipped -= 1
    elif last.label == last.item.prediction.label:
        taught.confirmed -= 1
    elif last.label == NO_LABEL.id:
        taught.outside -= 1
    else:
        taught.corrected -= 1
        taught.confusions[last.item.prediction.label, last.label] -= 1
