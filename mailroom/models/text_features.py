"""Text → the words, pairs of neighbouring words and pieces of words in it, each as a number; numpy alone.

A feature is named by 32 bits of a hash, so that a model holds no word of anybody's mail. Pieces are the runs
of three to five characters within a word, its ends marked: they tell what inflections, compounds and typing
errors share, in any language.
"""

import re

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint32]
Counts = NDArray[np.float32]

# What is read of a text: beyond this, long threads and attachments pasted into mail only cost time.
MAX_CHARACTERS = 20_000
PIECE_LENGTHS = (3, 4, 5)

_NO_WORD = re.compile(r"\W+")
# Odd, so that it has an inverse modulo 2^64: the hash of any stretch is a difference of two prefix sums.
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 2**64)
_WORD, _PAIR, _PIECE = np.uint64(0x1B873593), np.uint64(0xCC9E2D51), np.uint64(0xE6546B64)


def text_features(text: str) -> tuple[Hashes, Counts]:
    """The distinct features of a text, rising, and how often each occurs; both (n,), n may be 0.

    The lowest bit of a feature says what it is: 0 a word or pair of words, 1 a piece of a word.
    """
    # Cut again: in lower case some characters are two.
    spaced = f" {_NO_WORD.sub(' ', text[:MAX_CHARACTERS].lower())[:MAX_CHARACTERS].strip()} "
    if len(spaced) < 3:
        return np.empty(0, np.uint32), np.empty(0, np.float32)
    codes = np.frombuffer(spaced.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    sums = _prefix_sums(codes)
    spaces = np.flatnonzero(codes == ord(" "))
    starts, ends = spaces[:-1], spaces[1:] + 1  # words with the space on either side
    found = [_named(_stretches(sums, starts, ends), _WORD, 0)]
    if len(starts) > 1:
        found.append(_named(_stretches(sums, starts[:-1], ends[1:]), _PAIR, 0))
    found += [_named(pieces, _PIECE, 1) for pieces in _pieces(sums, np.cumsum(codes == ord(" ")))]
    hashes, counts = np.unique(np.concatenate(found), return_counts=True)
    return hashes, counts.astype(np.float32)


def is_piece(hashes: Hashes) -> NDArray[np.bool_]:
    """Which features are pieces of words."""
    pieces: NDArray[np.bool_] = (hashes & np.uint32(1)).astype(bool)
    return pieces


def _prefix_sums(codes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Σ code × base^position over the first 0, 1, … characters, modulo 2^64."""
    sums = np.zeros(len(codes) + 1, dtype=np.uint64)
    np.cumsum((codes + np.uint64(1)) * _powers(len(codes), _BASE), out=sums[1:])
    return sums


def _stretches(
    sums: NDArray[np.uint64], starts: NDArray[np.intp], ends: NDArray[np.intp]
) -> NDArray[np.uint64]:
    """A hash of each stretch of characters that does not depend on where it stands."""
    found: NDArray[np.uint64] = (sums[ends] - sums[starts]) * _powers(len(sums), _INVERSE)[starts]
    return found


def _pieces(sums: NDArray[np.uint64], spaces_until: NDArray[np.intp]) -> list[NDArray[np.uint64]]:
    """Hashes of all pieces, by length; none holds a space but at an end, and a short word is one piece."""
    found = []
    for length in PIECE_LENGTHS:
        starts = np.arange(len(spaces_until) - length + 1)
        if len(starts):
            inside = spaces_until[starts + length - 2] == spaces_until[starts]
            found.append(_stretches(sums, starts[inside], starts[inside] + length))
    return found


def _named(hashes: NDArray[np.uint64], salt: np.uint64, kind: int) -> Hashes:
    """Well mixed 32 bits (the finaliser of MurmurHash3), the lowest of them the kind."""
    mixed = hashes ^ (salt << np.uint64(32))
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(factor)
    short = (mixed >> np.uint64(32)).astype(np.uint32)
    return (short & np.uint32(0xFFFFFFFE)) | np.uint32(kind)


_POWERS: dict[int, NDArray[np.uint64]] = {}


def _powers(count: int, base: int) -> NDArray[np.uint64]:
    """base^0 … base^(count − 1) modulo 2^64."""
    known = _POWERS.get(base)
    if known is None:
        steps = np.full(MAX_CHARACTERS + 8, base, dtype=np.uint64)
        steps[0] = 1
        known = _POWERS[base] = np.cumprod(steps)
    return known[:count]
