"""Lines → the same lines with signatures, disclaimers and mailing boilerplate marked.

Cautious by design: a signature left in costs little, a customer's sentence taken out costs the answer.
"""

import re
from dataclasses import dataclass

from mailroom.mail import languages
from mailroom.mail.segments import BOILERPLATE, DISCLAIMER, SIGNATURE, Line

_WINDOW_LINES = 15
_TAIL_CHARS = 1200
_LINE_CHARS = 80
_DELIMITER = re.compile(r"\s{0,3}(?:--|—|- -|_{2,4}|-{3,5})\s*$")
_RULE = re.compile(r"[\s]{0,80}[-_=*~#+.<>|/\\:^]{6,}")
_CONTACT = re.compile(
    r"[\w.+-]+@[\w-]+\.[\w.]|https?://|www\.\w|\b(?:tel|phone|fax|mobile|cell|ph|mob|telefon|voice|e-?mail|internet"
    r"|bitnet|uucp|skype)\b\s*[.:#)]|\(?\d{3}\)?[\s.-]\d{3}[\s.-]\d{4}|\+\d[\d\s()/.-]{7,}",
    re.IGNORECASE,
)
_POSTSCRIPT = re.compile(r"\s*p\.?\s?s\b", re.IGNORECASE)
_CLOSINGS = frozenset(word.casefold() for word in languages.CLOSINGS)
_MOBILE = tuple(word.casefold() for word in languages.MOBILE_SIGNATURES)
_MOBILE_WORDS = 7
_MOBILE_CHARS = 70
_LIST_FOOTER = re.compile(r"mailing list|listinfo|unsubscribe|yahoo! groups|list archive", re.IGNORECASE)

_STRONG = re.compile("|".join(map(re.escape, languages.DISCLAIMER_STRONG)))
_DISCLAIMER_WORDS = (*languages.DISCLAIMER_STRONG, *languages.DISCLAIMER_WEAK)
_WEAK = re.compile("|".join(map(re.escape, languages.DISCLAIMER_WEAK)))
_MEDIUM = re.compile(
    r"e-?mail|message|nachricht|courriel|correo|mensaje|messaggio|bericht|wiadomo|zpráv|mensagem|сообщен"
)
_BOILERPLATE = re.compile("|".join(map(re.escape, languages.BOILERPLATE)))
_FIRST_PERSON = re.compile(
    r"\b(?:i|i'm|i'd|me|my|we|us|our|ich|mich|mir|mein\w*|wir|je|moi|mon|mes|ma|yo|mi|mis|io|mio|ik|mij|mijn)\b"
)
_URL = re.compile(r"(?:https?://|www\.)\S+")
_LEAD = re.compile(
    r"^(?:(?:to|please|click|here|or|tap|um|hier|klicken|pour|cliquez|ici|para|haga|clic|aquí)\b[\s,:]*){1,5}"
)
_ORNAMENTS = " .,:|-<>[]()*•»"
_BOILERPLATE_CHARS = 200
_SHORT_DISCLAIMER_CHARS = 120
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(slots=True)
class _Text:
    """Lines under judgement; `words` counts kept lines that hold a letter or digit."""

    texts: list[str]
    reasons: list[str]

    def mark(self, start: int, end: int, reason: str) -> None:
        for number in range(start, end):
            self.reasons[number] = self.reasons[number] or reason


def mark_signatures(lines: list[Line], sender: str, *, bulk: bool) -> list[Line]:
    """Mark disclaimers, boilerplate and, at the end of each stretch of own text, signatures."""
    text = _Text([line.text for line in lines], [line.reason for line in lines])
    _mark_paragraphs(text, bulk)
    names = _sender_names(sender)
    for start, end in _own_stretches(text.reasons):
        _mark_tail(text, start, end, names)
    return [Line(*pair) for pair in zip(text.texts, text.reasons, strict=True)]


def _own_stretches(reasons: list[str]) -> list[tuple[int, int]]:
    stretches: list[tuple[int, int]] = []
    start = None
    for number, reason in enumerate([*reasons, "end"]):
        if not reason and start is None:
            start = number
        elif reason and start is not None:
            stretches.append((start, number))
            start = None
    return stretches


def _mark_tail(text: _Text, start: int, end: int, names: tuple[str, ...]) -> None:
    """Mark what closes one stretch, from its end upward: footer, phone line, signature."""
    for _ in range(4):
        window = _last_lines(text.texts, start, end)
        if not window:
            return
        at = _signature_start(text.texts, window, names)
        if at < 0:
            return
        text.mark(at, end, SIGNATURE)
        end = at


def _last_lines(texts: list[str], start: int, end: int) -> list[int]:
    """The numbers of the last lines that hold text, in order."""
    found: list[int] = []
    for number in range(end - 1, max(start, end - 60) - 1, -1):
        if texts[number].strip():
            found.append(number)
            if len(found) > _WINDOW_LINES:
                break
    return found[::-1]


def _signature_start(texts: list[str], window: list[int], names: tuple[str, ...]) -> int:
    """The line at which the signature begins that ends with `window`, −1 where none does."""
    last = window[-1]
    if _is_mobile(texts[last]):
        return last
    for position, number in enumerate(window):
        tail = [texts[other] for other in window[position + 1 :]]
        if _begins_signature(texts[number], tail, names) and _is_short(tail):
            return number
    return _contact_block(texts, window, names)


def _begins_signature(line: str, tail: list[str], names: tuple[str, ...]) -> bool:
    """Whether `line` is a delimiter, a closing formula or a rule over contact data."""
    if _DELIMITER.match(line):
        dashes = line.strip()
        return dashes in ("--", "—", "- -") or not tail or _has_contact(tail, names)
    if len(line) <= 60 and _is_closing(line):
        return len(tail) <= 10 and not any(map(_is_prose, tail))
    if not tail or not _RULE.match(line) or not _has_contact(tail, names):
        return False
    return not any(map(_is_prose, tail)) or any(map(_LIST_FOOTER.search, tail))


def _is_prose(line: str) -> bool:
    """Whether a line is part of a sentence: company lines hold as many words, but capitals and figures."""
    words = line.split()
    return len(words) >= 8 and sum(word[0].islower() for word in words) * 5 >= len(words) * 3


def _is_closing(line: str) -> bool:
    words = line.strip().casefold().strip(" ,.!;:-–*_")
    if words in _CLOSINGS:
        return True
    head, comma, name = words.partition(",")
    return bool(comma) and head.strip() in _CLOSINGS and len(name.split()) <= 3


def _is_short(tail: list[str]) -> bool:
    """Whether lines may be a signature: few, short, no postscript and no question."""
    if sum(map(len, tail)) > _TAIL_CHARS or len(tail) > _WINDOW_LINES:
        return False
    return not any(_POSTSCRIPT.match(line) or line.rstrip().endswith("?") for line in tail)


def _has_contact(lines: list[str], names: tuple[str, ...]) -> bool:
    return any(_is_contact(line) or _LIST_FOOTER.search(line) or _is_name(line, names) for line in lines)


def _is_contact(line: str) -> bool:
    """Whether a line holds contact data; a link alone may belong to the text."""
    return _CONTACT.search(_URL.sub("", line)) is not None


def _contact_block(texts: list[str], window: list[int], names: tuple[str, ...]) -> int:
    """A last paragraph that is the sender's name or contact data, −1 where it is anything else."""
    first = len(window) - 1
    while first > 0 and window[first] - window[first - 1] == 1 and len(window) - first <= 8:
        first -= 1
    block = [texts[number] for number in window[first:]]
    if first == 0 or len(block) > 8 or any(len(line) > _LINE_CHARS for line in block) or not _is_short(block):
        # The sender's name may stand right under the text.
        return window[-1] if len(window) > 1 and _is_name(texts[window[-1]], names) else -1
    # "My new address:" introduces what the mail is about.
    if texts[window[first - 1]].rstrip().endswith(":"):
        return -1
    contacts = sum(bool(_CONTACT.search(line)) for line in block) if any(map(_is_contact, block)) else 0
    named = _is_name(block[0], names)
    if (named and contacts * 3 >= len(block) - 1) or (contacts >= 2 and contacts * 2 >= len(block)):
        return window[first]
    return window[-1] if _is_name(block[-1], names) else -1


def _is_name(line: str, names: tuple[str, ...]) -> bool:
    """Whether a line is the sender's name (and little else)."""
    words = line.strip(" \t-*_~,.").casefold()
    if not words or len(words) > 60 or not names:
        return False
    return (
        words == names[0]
        or (len(names[0].split()) > 1 and words in names)
        or (
            len(names[0].split()) > 1
            and words.startswith(names[0])
            and len(words.split()) <= len(names[0].split()) + 3
        )
    )


def _sender_names(sender: str) -> tuple[str, ...]:
    """The sender's display name and address, as they may close a mail; the full name first."""
    address = re.search(r"[\w.+-]+@[\w.-]+", sender[:500])
    name = re.sub(r"<[^>]*>|\"", "", sender[:500])
    if bracketed := re.search(r"\(([^()]{2,80})\)", name):
        name = bracketed[1]
    name = re.sub(r"\s+", " ", name).strip().casefold()
    if not name or "@" in name:
        return (address[0].casefold(),) if address else ()
    parts = [part for part in name.split() if len(part) > 1]
    return (name, *parts[:1], *parts[-1:], *((address[0].casefold(),) if address else ()))


def _is_mobile(line: str) -> bool:
    words = line.strip().strip("-–—* ").casefold()
    if len(words) > _MOBILE_CHARS or not words.startswith(_MOBILE):
        return False
    without_url = _URL.sub("", words)
    if len(without_url.split()) > _MOBILE_WORDS:
        return False
    return (
        not words.startswith(("von meinem", "sent via", "内の")) or "gesendet" in words or "sent via" in words
    )


def _mark_paragraphs(text: _Text, bulk: bool) -> None:
    # Searching each word in the whole text costs a tenth of trying all of them at each letter of each line.
    folded = "\n".join(text.texts).casefold()
    has_boilerplate = any(word in folded for word in languages.BOILERPLATE)
    has_disclaimer = any(word in folded.replace("\n", " ") for word in _DISCLAIMER_WORDS)
    if not has_boilerplate and not has_disclaimer:
        return
    paragraphs = _paragraphs(text)
    for order, (start, end) in enumerate(paragraphs):
        joined = " ".join(text.texts[start:end]).casefold() if has_disclaimer else ""
        if len(joined) >= 40 and _is_disclaimer(joined, late=order * 2 >= len(paragraphs)):
            text.mark(start, end, DISCLAIMER)
        elif has_boilerplate:
            _mark_boilerplate(text, start, end, bulk)


def _mark_boilerplate(text: _Text, start: int, end: int, bulk: bool) -> None:
    for number in range(start, end):
        if _is_boilerplate(text.texts[number], bulk):
            text.reasons[number] = BOILERPLATE


def _paragraphs(text: _Text) -> list[tuple[int, int]]:
    """Runs of own lines without a blank one; a long line is a paragraph by itself."""
    found: list[tuple[int, int]] = []
    start = -1
    for number, line in enumerate(text.texts):
        own = bool(line) and not text.reasons[number]
        if start >= 0 and (not own or len(line) > 200):
            found.append((start, number))
            start = -1
        if own and len(line) > 200:
            found.append((number, number + 1))
        elif own and start < 0:
            start = number
    if start >= 0:
        found.append((start, len(text.texts)))
    return found


def _is_disclaimer(paragraph: str, *, late: bool) -> bool:
    if len(paragraph) > 4000:
        return False
    if _STRONG.search(paragraph):
        return True
    if not late or not _MEDIUM.search(paragraph):
        return False
    said = len(set(_WEAK.findall(paragraph)))
    if len(paragraph) < _SHORT_DISCLAIMER_CHARS:
        return said >= 2 and not _FIRST_PERSON.search(paragraph)
    return said >= 3


def _is_mostly_boilerplate(words: str) -> bool:
    """Whether the sentences of a line that are boilerplate outweigh the others, which may be the message."""
    boilerplate = others = 0
    for sentence in _SENTENCE_END.split(words):
        if _BOILERPLATE.search(sentence):
            boilerplate += len(sentence)
        else:
            others += len(sentence)
    return boilerplate > others


def _is_boilerplate(line: str, bulk: bool) -> bool:
    """Whether no person typed this line; "please unsubscribe me" is a request, not boilerplate."""
    if len(line) > _BOILERPLATE_CHARS:
        return False
    words = line.casefold().strip()
    found = _BOILERPLATE.search(words)
    if not found or _FIRST_PERSON.search(words.replace("add us to", "")):
        return False
    if bulk:
        return _is_mostly_boilerplate(words)
    without_url = _URL.sub("", words)
    rest = _LEAD.sub("", without_url.strip(_ORNAMENTS)).strip(_ORNAMENTS)
    return rest == found[0] or (without_url != words and len(without_url.split()) <= 10)
