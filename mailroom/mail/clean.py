"""Sections of lines → the text that the models read, and segments that say what was taken out and why.

Knows languages and habits of mailers (through `quotes`, `signatures`, `links`), nothing of MIME.
"""

import re

from mailroom.mail.links import shorten_links
from mailroom.mail.quotes import mark_quotes, strip_quote_prefix
from mailroom.mail.segments import (
    BEYOND_LIMIT,
    BOILERPLATE,
    DISCLAIMER,
    HIDDEN,
    LONG_URL,
    QUOTED,
    RETURNED,
    SIGNATURE,
    TRACKING_LINK,
    Line,
    Section,
)
from mailroom.mail.signatures import mark_signatures

# What is given back first where nothing would remain.
_GIVEN_BACK = (QUOTED, SIGNATURE, BOILERPLATE, DISCLAIMER, RETURNED, HIDDEN, TRACKING_LINK)
# Read before cleaning, as a multiple of the text that is kept: quotes and signatures need room.
_READ_AHEAD = 8
_MAX_LINES = 20_000
_BARE_LINK = re.compile(r"[\s<\[(]*(?:https?://|www\.)\S+[\s>\])]*$", re.IGNORECASE)
_SPACES = re.compile(r"[ \t]+")
_BLANKS = re.compile(r"\n{3,}")


def clean_sections(sections: list[Section], max_chars: int) -> tuple[list[Line], bool]:
    """Mark every line of a message and of those attached; returns the lines and whether they were cut."""
    lines: list[Line] = []
    cut = False
    for section in sections:
        marked, was_cut = _clean_section(section, max_chars * _READ_AHEAD)
        cut = cut or was_cut
        lines += [Line(""), *marked] if lines and marked else marked
    if not has_words(lines):
        lines = _give_back(lines)
    return lines, cut


def kept_text(lines: list[Line]) -> str:
    """The kept lines as one text: single blanks, at most one blank line at a time."""
    text = "\n".join(line.text.strip() for line in lines if not line.reason)
    return _BLANKS.sub("\n\n", _SPACES.sub(" ", text)).strip()


def has_words(lines: list[Line]) -> bool:
    """Whether any kept line holds a letter or a digit."""
    return any(not line.reason and any(map(str.isalnum, line.text)) for line in lines)


def _clean_section(section: Section, max_chars: int) -> tuple[list[Line], bool]:
    lines, beyond = _cut(section.lines, max_chars)
    lines = mark_quotes(lines, forwarded=section.forwarded)
    lines = mark_signatures(lines, section.sender, bulk=section.bulk)
    return [*_mark_links(lines, section.bulk), *beyond], bool(beyond)


def _cut(lines: list[Line], max_chars: int) -> tuple[list[Line], list[Line]]:
    """Lines within `max_chars`, and those beyond."""
    used = 0
    for number, line in enumerate(lines):
        used += len(line.text) + 1
        if used > max_chars or number >= _MAX_LINES:
            room = max(max_chars - (used - len(line.text) - 1), 0)
            head = Line(line.text[:room], line.reason)
            tail = Line(line.text[room : room + max_chars], BEYOND_LIMIT)
            return [*lines[:number], head], [
                tail,
                *(Line(rest.text, BEYOND_LIMIT) for rest in lines[number + 1 :]),
            ]
    return lines, []


def _mark_links(lines: list[Line], bulk: bool) -> list[Line]:
    marked: list[Line] = []
    for line in lines:
        if line.reason or not line.text:
            marked.append(line)
            continue
        text, removed = shorten_links(line.text)
        if removed and bulk and _BARE_LINK.match(line.text):
            marked.append(Line(line.text, TRACKING_LINK))
            continue
        marked.append(Line(text))
        marked += [Line(url, LONG_URL) for url in removed]
    return marked


def _give_back(lines: list[Line]) -> list[Line]:
    """Keep the most telling of what was taken out, since nothing else is left."""
    for reason in _GIVEN_BACK:
        given = [
            Line(strip_quote_prefix(line.text) if reason == QUOTED else line.text)
            if line.reason == reason
            else line
            for line in lines
        ]
        if has_words(given):
            return given
    return lines
