"""Identifiers and free text → the form in which people and models read them.

Knows nothing of trees or files.
"""

import re
import unicodedata

# An upper-case word of at most this many letters is read as an abbreviation (VAT, IBAN) and kept.
_ABBREVIATION_LETTERS = 4

_SEPARATORS = re.compile(r"[_\s]+|(?<!\d)[.\-]+|[.\-]+(?!\d)")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NOT_WORD = re.compile(r"[^\w]+")
# Control characters, lone surrogates and byte-order marks: none can be shown, and not all can be encoded.
_UNREADABLE = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")


def clean_text(text: str) -> str:
    """The text in NFC, without unreadable characters, each run of white space as one blank."""
    return " ".join(unicodedata.normalize("NFC", _UNREADABLE.sub("", text)).split())


def readable_name(identifier: str) -> str:
    """The words of an identifier: `card_arrival` → "card arrival", `ORDER` → "order".

    Text that already has a blank in it was written for people and stays as it is; so does a single
    word unless it is all capitals. Short words in capitals are kept as abbreviations.
    """
    text = clean_text(identifier)
    if " " in text:
        return text
    words = [word for chunk in _SEPARATORS.split(text) for word in _CAMEL.split(chunk) if word]
    if not words:
        return text
    if len(words) == 1:
        return _lower(words[0]) if words[0].isupper() else words[0]
    return " ".join(_lower(word) for word in words)


def _lower(word: str) -> str:
    return word if word.isupper() and len(word) <= _ABBREVIATION_LETTERS else word.lower()


def slug(name: str) -> str:
    """The identifier that a name gets when none is given: "Late delivery!" → `late-delivery`."""
    return _NOT_WORD.sub("-", clean_text(name).casefold()).strip("-_")
