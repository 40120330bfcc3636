"""Lines of a message → the same lines with quoted replies, reply headers and forward headers marked.

Works line by line in one pass; every pattern is bounded, so that time grows with the length alone.
Sources: RFC 3676 quoting, and what mailers write around a reply (`languages`).
"""

import re
from collections import Counter

from mailroom.mail import languages
from mailroom.mail.segments import FORWARD_HEADER, QUOTED, REPLY_HEADER, Line

_QUOTE_PREFIX = re.compile(r"\s{0,3}>")
_INITIALS_PREFIX = re.compile(r"\s{0,2}([A-Za-z]{1,4})>+(?:\s|$)")
_ONE_LEVEL = re.compile(r"\s{0,3}> ?")
_ALL_LEVELS = re.compile(r"(?:\s{0,3}>){1,50} ?")
_OTHER_PREFIXES = "|:}]%"
_RULE = re.compile(r"[\s>]*[-_=*~]{5,}[\s]*$")

_KEY = re.compile(
    r"[\s>*|]{0,20}([^\W\d_][^\W_]*(?:[ -][^\W\d_]+)?)\s?\*{0,2}\s{0,3}[:：]\*{0,2}(.*)", re.DOTALL
)
_KEY_COLUMN = 40
_KEY_KINDS = {
    **dict.fromkeys(languages.OTHER_KEYS, "other"),
    **dict.fromkeys(languages.RECEIVER_KEYS, "receiver"),
    **dict.fromkeys(languages.SUBJECT_KEYS, "subject"),
    **dict.fromkeys(languages.DATE_KEYS, "date"),
    **dict.fromkeys(languages.SENDER_KEYS, "sender"),
}
_HEADER_BLOCK_LINES = 12
_CLOCK = re.compile(r"\d{1,2}[:.]\d\d")

_ATTRIBUTION_CHARS = 320
_VERB = re.compile(
    r"(?:^|[\s>\"*)])(?:"
    + "|".join(re.escape(verb) for verb in languages.ATTRIBUTION_VERBS if verb.isascii() or verb[0].isalpha())
    + r")",
    re.IGNORECASE,
)
_CJK_VERB = re.compile("写道|寫道|님이 작성|さんは書きました|のメール|написав?л?а?:|пишет:")
_DATED = re.compile(
    r"\b(?:19|20)\d\d\b|\b\d{1,2}[:.h]\d\d\b|\b\d{1,4}[./-]\d{1,2}[./-]\d{1,4}\b|\d{4}年|\d{4}년",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"[\w.+-]@[\w-]|[<\[]mailto:")
_ATTRIBUTION_END = re.compile(r"(?::|：|\.\.\.|…|:\s*\*+|:-)\s*$")
_ATTRIBUTION_BEGIN = re.compile(
    r"[\s>*\"'_-]{0,20}(?:\d|(?:on|am|le|el|il|in|op|dne|dnia|den|em|w dniu|at|quoting|thus|från|od|от)\b)",
    re.IGNORECASE,
)
_MARK_DECORATION = re.compile(r"^[\s>*]*(?:[-_=]{2,}|begin|anfang|début|inicio|inizio|-)", re.IGNORECASE)
_FORWARD_MARK = re.compile("|".join(map(re.escape, languages.FORWARD_MARKS)), re.IGNORECASE)
_ORIGINAL_MARK = re.compile("|".join(map(re.escape, languages.ORIGINAL_MARKS)), re.IGNORECASE)
_MARK_CHARS = 100


def mark_quotes(lines: list[Line], *, forwarded: bool) -> list[Line]:
    """Mark what the sender did not write; the first quoted header of a forward only loses its header."""
    return _Marker(lines, forwarded).run()


def strip_quote_prefix(text: str) -> str:
    """A quoted line without its `>` marks."""
    return _ALL_LEVELS.sub("", text, count=1) if ">" in text[:8] else text


class _Marker:
    """One pass over the lines; `at` only moves forward."""

    def __init__(self, lines: list[Line], forwarded: bool) -> None:
        self.texts = [line.text for line in lines]
        self.reasons = [line.reason for line in lines]
        self.forwarded = forwarded
        self.own_words = False
        initials = Counter(
            found[1] for text in self.texts if ">" in text[:8] and (found := _INITIALS_PREFIX.match(text))
        )
        self.initials = {name for name, count in initials.items() if count >= 2}

    def run(self) -> list[Line]:
        """Mark everything; returns the lines with their reasons."""
        at, end = 0, len(self.texts)
        while at < end:
            at = self._step(at)
        return [Line(*pair) for pair in zip(self.texts, self.reasons, strict=True)]

    def _step(self, at: int) -> int:
        """Judge the line `at` and return the next one to judge."""
        text = self.texts[at]
        if self.reasons[at] or not text:
            return at + 1
        if self._is_quote(text):
            return self._mark_quote_run(at)
        if len(text) <= _MARK_CHARS and (next_at := self._marked_separator(at)):
            return next_at
        if ":" in text[:_KEY_COLUMN] and (block_end := self._header_block(at)):
            return self._after_header_block(at, at, block_end)
        if attribution_end := self._attribution(at):
            return self._after_attribution(at, attribution_end)
        self.own_words = self.own_words or any(map(str.isalnum, text))
        return at + 1

    def _is_quote(self, text: str) -> bool:
        if ">" not in text[:8]:
            return False
        if _QUOTE_PREFIX.match(text):
            return True
        found = _INITIALS_PREFIX.match(text) if self.initials else None
        return bool(found and found[1] in self.initials)

    def _mark_quote_run(self, at: int) -> int:
        """Mark neighbouring quoted lines, with the short ends that a mailer wrapped out of them."""
        while at < len(self.texts):
            text = self.texts[at]
            if self.reasons[at]:
                return at
            wrapped = (
                0 < len(text) < 40
                and len(self.texts[at - 1]) > 65
                and at + 1 < len(self.texts)
                and self._is_quote(self.texts[at + 1])
            )
            if not self._is_quote(text) and not (wrapped and self.reasons[at - 1] == QUOTED):
                return at
            self.reasons[at] = QUOTED
            at += 1
        return at

    def _marked_separator(self, at: int) -> int:
        """Handle "Original Message" and "Forwarded message" lines; 0 where `at` is none."""
        text = self.texts[at]
        if "-" not in text and "_" not in text and "=" not in text and not _MARK_DECORATION.match(text):
            return 0
        is_forward = bool(_FORWARD_MARK.search(text))
        if not is_forward and not _ORIGINAL_MARK.search(text):
            return 0
        if not _MARK_DECORATION.match(text):
            return 0
        block_at = self._next_text(at + 1)
        block_end = self._header_block(block_at, minimum=1) if block_at < len(self.texts) else 0
        self.forwarded = self.forwarded or is_forward
        if block_end:
            return self._after_header_block(at, block_at, block_end)
        return self._after_header_block(at, at, at + 1)

    def _after_header_block(self, first: int, block_at: int, block_end: int) -> int:
        """Drop another message's header; what follows is quoted, unless it was forwarded or is all."""
        first = self._include_rule(first)
        if not self.forwarded and self.own_words:
            self._mark(first, block_end, REPLY_HEADER)
            self._mark(block_end, len(self.texts), QUOTED)
            return len(self.texts)
        self._mark(first, block_end, FORWARD_HEADER)
        # One forward is kept; a header within it begins what was quoted there.
        self.forwarded = False
        self.own_words = self.own_words and any(map(str.isalnum, "".join(self.texts[:first])))
        if self._is_quote(self.texts[block_at]):
            self._unquote(block_end)
        return block_end

    def _unquote(self, at: int) -> None:
        """Take one quote mark off the run at `at`: Apple Mail quotes what it forwards."""
        while at < len(self.texts) and (self._is_quote(self.texts[at]) or not self.texts[at]):
            self.texts[at] = _ONE_LEVEL.sub("", self.texts[at], count=1)
            at += 1

    def _header_block(self, at: int, minimum: int = 3) -> int:
        """Where the quoted header ends that begins at `at`, 0 if none: a sender and two other fields."""
        kinds: set[str] = set()
        evident, keyless, end = minimum < 3, 0, 0
        for number in range(at, min(at + _HEADER_BLOCK_LINES, len(self.texts))):
            text = self.texts[number]
            kind, value = _header_field(text)
            if kind == "sender" and kind in kinds:
                break
            if kind:
                kinds.add(kind)
                evident = (
                    evident
                    or "@" in value
                    or kind == "subject"
                    or (kind == "date" and bool(_CLOCK.search(value)))
                )
                keyless, end = 0, number + 1
            elif not text.strip(" >*") or keyless >= 2 or not kinds:
                break
            else:
                keyless += 1
        required = len(kinds) >= minimum if minimum > 1 else bool(kinds)
        if required and evident and ("sender" in kinds or minimum < 3):
            return self._with_wrapped_value(end)
        return 0

    def _with_wrapped_value(self, end: int) -> int:
        """A long last field may run on to one more line, before a blank one."""
        if (
            end + 1 < len(self.texts)
            and self.texts[end]
            and not self.texts[end + 1]
            and len(self.texts[end - 1]) > 65
        ):
            return end + 1
        return end

    def _attribution(self, at: int) -> int:
        """Where the (up to three) lines end that say who wrote the following, 0 if `at` begins none."""
        joined = ""
        for number in range(at, min(at + 3, len(self.texts))):
            text = self.texts[number].strip()
            if not text or (joined and self._is_quote(self.texts[number])):
                return 0
            joined = f"{joined} {text}" if joined else text
            if len(joined) > _ATTRIBUTION_CHARS or (
                number == at + 1 and not _ATTRIBUTION_BEGIN.match(joined)
            ):
                return 0
            if _ATTRIBUTION_END.search(joined[-12:]) and self._names_author(joined, number + 1):
                return number + 1
        return 0

    def _names_author(self, text: str, after: int) -> bool:
        verb = bool(_VERB.search(text) or _CJK_VERB.search(text))
        address, dated = bool(_ADDRESS.search(text)), bool(_DATED.search(text))
        if verb and (address or dated):
            return True
        if address and dated:
            return True
        following = self._next_text(after)
        quoted = following < len(self.texts) and (
            self._is_quote(self.texts[following]) or self.reasons[following] == QUOTED
        )
        return verb and quoted and len(text) < 120

    def _after_attribution(self, at: int, end: int) -> int:
        text = " ".join(self.texts[at:end])
        following = self._next_text(end)
        first = self._include_rule(at)
        if following >= len(self.texts):
            self._mark(first, end, REPLY_HEADER)
            return end
        if self._is_quote(self.texts[following]) or self.reasons[following] == QUOTED:
            self._mark(first, end, REPLY_HEADER)
            return following
        self._mark(first, end, REPLY_HEADER)
        prefix = self._other_prefix(following)
        if prefix:
            return self._mark_prefixed(following, prefix)
        if self.own_words and _DATED.search(text) and not text.lower().startswith("in article"):
            self._mark(end, len(self.texts), QUOTED)
            return len(self.texts)
        return end

    def _other_prefix(self, at: int) -> str:
        """The quote mark other than `>` that the lines at `at` share, '' if none."""
        first = self.texts[at].lstrip()[:1]
        if not first or first not in _OTHER_PREFIXES:
            return ""
        near = [text.lstrip() for text in self.texts[at : at + 4] if text.strip()]
        return first if sum(text.startswith(first) for text in near) * 2 > len(near) else ""

    def _mark_prefixed(self, at: int, prefix: str) -> int:
        while at < len(self.texts) and (
            self.texts[at].lstrip().startswith(prefix) or self._blank_before(at, prefix)
        ):
            self.reasons[at] = QUOTED
            at += 1
        return at

    def _blank_before(self, at: int, prefix: str) -> bool:
        return (
            not self.texts[at] and at + 1 < len(self.texts) and self.texts[at + 1].lstrip().startswith(prefix)
        )

    def _next_text(self, at: int) -> int:
        while at < len(self.texts) and not self.texts[at].strip():
            at += 1
        return at

    def _include_rule(self, at: int) -> int:
        """A rule right before a reply header belongs to it."""
        before = at - 1
        while before >= 0 and before > at - 3 and not self.texts[before]:
            before -= 1
        return before if before >= 0 and not self.reasons[before] and _RULE.match(self.texts[before]) else at

    def _mark(self, start: int, end: int, reason: str) -> None:
        for number in range(start, end):
            self.reasons[number] = self.reasons[number] or reason


def _is_evident(kind: str, value: str) -> bool:
    """Whether a field belongs to a mail, for forms have "From:" and "To:" too."""
    return "@" in value or kind == "subject" or (kind == "date" and _CLOCK.search(value) is not None)


def _header_field(text: str) -> tuple[str, str]:
    """The kind of a quoted header field and its value; ('', '') where the line is none."""
    if ":" not in text[:_KEY_COLUMN] and "：" not in text[:_KEY_COLUMN]:
        return "", ""
    found = _KEY.match(text[:500])
    if not found:
        return "", ""
    return _KEY_KINDS.get(found[1].casefold().replace(" ", ""), ""), found[2]
