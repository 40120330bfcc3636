"""Text → token ids, reading only as much of a long text as the model can take.

An email may hold 20,000 characters while a model reads 256 tokens. A prefix that ends before a blank is
tokenised, and accepted only where the last kept token is several words away from the cut, so that the ids
are those of the whole text.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from mailroom.errors import ModelError

# English mail takes 4 to 5 characters a token; the first prefix is nearly always long enough.
_CHARS_PER_TOKEN = 6
# Words that must lie between the last kept token and the cut. One would do for a tokenizer that splits at
# blanks; the rest is for normalisers and patterns that look around a blank.
_GUARD_WORDS = 3
# A prefix ends where a word has ended: any other blank may be a control character that a normaliser drops.
_WORD_END = re.compile(r"(?<=\S)[ \n]")
# Pre-tokenisers after which no token reaches over a blank into the word after the next.
_WORD_BOUND = {"BertPreTokenizer", "ByteLevel", "Metaspace", "Whitespace", "WhitespaceSplit"}


class TextTokenizer:
    """A tokenizer file with a length limit; safe to use from several threads at once."""

    def __init__(self, path: Path, max_tokens: int) -> None:
        self._tokenizer = _load(path, max_tokens)
        self._reader = _PrefixReader(self._tokenizer, path, max_tokens, add_special_tokens=True)

    def ids(self, text: str) -> NDArray[np.int64]:
        """Token ids with special tokens, `(n,)`, `n ≤ max_tokens`; the end of a longer text is cut off."""
        return np.array(self._reader.encode(text).ids, dtype=np.int64)


class PairTokenizer:
    """A tokenizer file that joins an email with each of several label texts under one length limit."""

    def __init__(self, path: Path, max_tokens: int) -> None:
        self._tokenizer = _load(path, max_tokens)
        self._max_tokens = max_tokens
        self._reader = _PrefixReader(self._tokenizer, path, max_tokens, add_special_tokens=False)

    def encode_pairs(self, text: str, others: Sequence[str]) -> Iterator[Encoding]:
        """The encodings of (text, other) for each of `others`; the longer of the two is cut first."""
        first = self._reader.encode(text)
        for other in others:
            second = self._reader.encode(other)
            if len(second) < self._max_tokens:
                yield self._tokenizer.post_process(first, second)
            else:
                # Where both are too long, the odd token goes to the longer one: only the whole texts tell.
                yield self._tokenizer.encode(_encodable(text), _encodable(other))


class _PrefixReader:
    """Encodes a text as a whole, or as much of it as surely gives the same tokens below the limit."""

    def __init__(self, tokenizer: Tokenizer, path: Path, max_tokens: int, add_special_tokens: bool) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._specials = add_special_tokens
        self._trailing = _trailing_specials(tokenizer) if add_special_tokens else 0
        truncation = tokenizer.truncation or {}
        self._may_cut = _splits_at_blanks(path) and truncation.get("direction") == "right"

    def encode(self, text: str) -> Encoding:
        size = self._max_tokens * _CHARS_PER_TOKEN
        while self._may_cut and (cut := _word_end(text, size)) < len(text):
            prefix = text[:cut]
            encoding = self._encode(prefix)
            if self._is_settled(encoding, prefix):
                return encoding
            size *= 4
        return self._encode(text)

    def _encode(self, text: str) -> Encoding:
        try:
            return self._tokenizer.encode(text, add_special_tokens=self._specials)
        except (TypeError, UnicodeEncodeError):
            return self._tokenizer.encode(_encodable(text), add_special_tokens=self._specials)

    def _is_settled(self, encoding: Encoding, prefix: str) -> bool:
        if len(encoding) < self._max_tokens:
            return False
        span = encoding.token_to_chars(self._max_tokens - 1 - self._trailing)
        return span is not None and len(prefix[span[1] :].split(maxsplit=_GUARD_WORDS)) > _GUARD_WORDS


def _load(path: Path, max_tokens: int) -> Tokenizer:
    if not path.is_file():
        raise ModelError(f"{path}: expected a tokenizer, found no file; export the encoder again")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as exc:  # the library raises bare Exception
        raise ModelError(f"{path}: expected a tokenizer file, got: {exc}; export the encoder again") from exc
    tokenizer.no_padding()
    # Whatever the file says: a pair is cut as sentence-transformers cuts it.
    tokenizer.enable_truncation(max_tokens, strategy="longest_first")
    return tokenizer


def _encodable(text: str) -> str:
    """The text with a question mark for each lone surrogate, which a broken charset leaves over."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _word_end(text: str, start: int) -> int:
    if len(text) <= start:
        return len(text)
    found = _WORD_END.search(text, start)
    return found.start() if found else len(text)


def _trailing_specials(tokenizer: Tokenizer) -> int:
    mask = tokenizer.encode("a").special_tokens_mask
    return next((count for count, special in enumerate(reversed(mask)) if not special), 0)


def _splits_at_blanks(path: Path) -> bool:
    """Whether every token lies within a word, as far as the tokenizer's pre-tokeniser tells."""
    pre_tokenizer = json.loads(path.read_text(encoding="utf-8")).get("pre_tokenizer") or {}
    steps: list[dict[str, Any]] = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    return any(
        step.get("type") in _WORD_BOUND and step.get("split", True) and step.get("use_regex", True)
        for step in steps
    )
