"""The pieces of a message: lines while it is read, segments (kept or taken out, and why) when it is done."""

from dataclasses import dataclass
from typing import NamedTuple


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
