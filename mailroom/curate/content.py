"""Text → its normalised content: its words, whatever their case, layout, greeting and numbers.

Two texts with one content say the same to a reader. Knows nothing of labels, or of texts merely alike.
"""

import hashlib
import re
import unicodedata
from functools import cache

from mailroom.mail.languages import GREETINGS

# What follows adds nothing to telling two texts apart, and would let one text cost as much as a thousand.
MAX_CHARS = 20_000

_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
# Lines that may hold the greeting: a text begins with its subject where there is one.
_GREETING_LINES = 2
_GREETING_WORDS = 6
# Scripts without spaces: every character, with the marks upon it, is taken as a word.
_SPACELESS = re.compile(
    r"(?=\w)[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
)
_BASIC_PLANE = 0x10000
# The same words as `_word_pattern` finds, several times as fast.
_ASCII_WORD = re.compile(r"[a-z0-9_][a-z0-9_#+]*|[$%]")


def content_words(text: str, fold_numbers: bool = True) -> list[str]:
    """The words of a text in order, without its greeting; a number is "0" with `fold_numbers`.

    A text without any word (an emoji, dots) is one word: itself.
    """
    folded = unicodedata.normalize("NFKC", text[:MAX_CHARS]).casefold()
    words = _words(_without_greeting(folded), fold_numbers)
    return words or ["".join(folded.split())]


def content_key(text: str, fold_numbers: bool = True) -> str:
    """sha256 of the normalised content, in hex: equal for texts that say the same word for word."""
    content = " ".join(content_words(text, fold_numbers))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def _words(folded: str, fold_numbers: bool) -> list[str]:
    if fold_numbers:
        folded = _NUMBER.sub("0", folded)
    if folded.isascii():
        return _ASCII_WORD.findall(folded)
    return _word_pattern().findall(_SPACELESS.sub(r" \g<0>", folded))


def _without_greeting(folded: str) -> str:
    """The text less a greeting that stands alone in its line or before a comma without a name.

    "hello cancel my order, thanks" keeps every word: a name cannot be told from a request.
    """
    lines = folded.split("\n", _GREETING_LINES)
    for number, line in enumerate(lines[:_GREETING_LINES]):
        match = _greeting_pattern().match(line)
        if match is None:
            continue
        rest = line[match.end() :]
        if rest.strip() and match["name"]:
            continue
        kept = "\n".join([*lines[:number], rest, *lines[number + 1 :]])
        # A mail that is little more than its greeting is told apart by it.
        if len(kept.split()) > len(match[0].split()):
            return kept
    return folded


@cache
def _greeting_pattern() -> re.Pattern[str]:
    words = "|".join(re.escape(word) for word in sorted(GREETINGS, key=len, reverse=True))
    return re.compile(
        rf"\s*(?:{words})(?P<name>(?:[ \t]+[^\s,!:，！：]+){{0,{_GREETING_WORDS}}})\s*[,!:，！：]+"
    )


@cache
def _word_pattern() -> re.Pattern[str]:
    """Letters, digits and the marks upon them; `#` and `+` within a word; signs of money and per cent."""
    marks = "".join(
        chr(code) for code in range(_BASIC_PLANE) if unicodedata.category(chr(code)) in ("Mn", "Mc")
    )
    return re.compile(rf"\w[\w#+{marks}]*|[$€£¥%]")
