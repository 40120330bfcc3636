"""The pieces of a message: lines while it is read, segments (kept or taken out, and why) when it is done."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from mailroom.records import Aside


class Line(NamedTuple):
    """One line of a message; `reason` says why it is taken out, '' where it is kept so far."""

    text: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Segment:
    """Neighbouring lines with one fate: `reason` is '' where they are kept."""

    text: str
    kept: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Section:
    """The text of one message: the one received, or one attached to it."""

    lines: list[Line]
    sender: str = ""
    subject: str = ""
    forwarded: bool = False
    reply: bool = False
    bulk: bool = False


QUOTED = "quoted reply"
REPLY_HEADER = "reply header"
SIGNATURE = "signature"
DISCLAIMER = "disclaimer"
FORWARD_HEADER = "forward header"
BOILERPLATE = "mailing boilerplate"
TRACKING_LINK = "tracking link"
LONG_URL = "long URL"
ENCODED = "encoded data"
HIDDEN = "hidden text"
RETURNED = "returned message"
BEYOND_LIMIT = "beyond the limit"

# What a mail program shows; the rest is of no use to a person either, or nobody was meant to see it.
_SEEN = {QUOTED, REPLY_HEADER, SIGNATURE, DISCLAIMER, FORWARD_HEADER, BOILERPLATE, RETURNED}


def asides(segments: Iterable[Segment]) -> tuple[Aside, ...]:
    """What was taken out of an email that people see all the same, with its place in the kept text."""
    found: list[Aside] = []
    kept = 0
    for segment in segments:
        if segment.kept:
            kept += sum(1 for line in segment.text.split("\n") if line.strip())
        elif segment.reason in _SEEN and segment.text.strip():
            found.append(Aside(kept, segment.reason, segment.text.strip("\n")))
    return tuple(found)


def group(lines: list[Line]) -> tuple[Segment, ...]:
    """Join neighbouring lines of one fate to segments."""
    segments: list[Segment] = []
    run: list[str] = []
    reason = ""
    for line in lines:
        if run and line.reason != reason and (line.text or line.reason):
            segments.append(Segment("\n".join(run), not reason, reason))
            run = []
        if not run:
            reason = line.reason
        run.append(line.text)
    if run:
        segments.append(Segment("\n".join(run), not reason, reason))
    return tuple(segments)
