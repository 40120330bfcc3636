"""Judged answers and the log → weeks, and where they stand in the span: has quality moved, and when?"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mailroom.evaluate.intervals import Interval, wilson
from mailroom.store.log_query import LogFilter
from mailroom.store.promotions import Promotion
from mailroom.workspace.summary import JudgedEmails
from mailroom.workspace.workspace import Workspace

_MOST, _FEWEST = 12, 4
_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Week:
    """The answers of seven days; `top_1` is None where nobody judged one of them.

    `place` is where its middle stands in the whole span, 0…1.
    """

    since: datetime
    answers: int
    for_review: int
    judged: int
    top_1: Interval | None
    place: float


@dataclass(frozen=True, slots=True)
class Change:
    """A promotion and its place in the whole span, 0…1."""

    promotion: Promotion
    place: float


@dataclass(frozen=True, slots=True)
class OverTime:
    """The last weeks, the oldest first, and the model changes amid them."""

    weeks: tuple[Week, ...]
    changes: tuple[Change, ...]


def over_time(workspace: Workspace, judged: JudgedEmails, now: datetime | None = None) -> OverTime:
    """The weeks up to now, as far back as the log goes."""
    end = (now or datetime.now(UTC)) + timedelta(seconds=1)
    count = _weeks_since(workspace, end)
    begin = end - count * _WEEK
    shown = tuple(
        _week(workspace, judged, begin + number * _WEEK, (number + 0.5) / count) for number in range(count)
    )
    changes = tuple(
        Change(promotion, (promotion.promoted_at - begin) / (end - begin))
        for promotion in workspace.promotions.history()
        if begin <= promotion.promoted_at
    )
    return OverTime(shown, changes)


def _weeks_since(workspace: Workspace, end: datetime) -> int:
    """How many weeks the log goes back, between _FEWEST and _MOST."""
    begin = end - _MOST * _WEEK
    oldest = next(iter(workspace.log.query(LogFilter(since=begin, limit=1, newest_first=False))), None)
    weeks = 0 if oldest is None else -(-(end - oldest.prediction.created_at) // _WEEK)
    return max(_FEWEST, min(_MOST, weeks))


def _week(workspace: Workspace, judged: JudgedEmails, since: datetime, place: float) -> Week:
    until = since + _WEEK
    correct: Sequence[bool] = [
        word.label == prediction.label
        for word, prediction in judged.pairs
        if since <= prediction.created_at < until
    ]
    top_1 = wilson(sum(correct), len(correct)) if correct else None
    return Week(
        since=since,
        answers=workspace.log.count(LogFilter(since=since, until=until)),
        for_review=workspace.log.count(LogFilter(since=since, until=until, review=True)),
        judged=len(correct),
        top_1=top_1,
        place=place,
    )
