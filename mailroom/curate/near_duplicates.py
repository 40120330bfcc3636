"""Texts in order of arrival → which earlier texts each one resembles, and groups of such texts.

Two texts resemble each other when their normalised contents are equal, or when their sets of words and word
pairs overlap by enough. MinHash estimates the overlap (Jaccard), and bands of its values (LSH) find the pairs
worth comparing. One other word changes three members of the set: a text of less than 13 words is merged only
with its equal. What is said of a text depends on it and on earlier ones alone: it never changes when more
texts arrive.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from mailroom.curate.content import content_words

Places = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Signatures = NDArray[np.uint32]

# Share of common words and pairs from which two texts count as one; measured in docs/learning-data.md.
SAME_SHARE = 0.8

# 16 bands of 6 values find a pair that shares 0.8 with 99 %, and compare one that shares 0.4 with 6 %.
BANDS = 16
BAND_VALUES = 6
SIGNATURE_VALUES = BANDS * BAND_VALUES

# A text is compared with as many first and as many latest members of its buckets; a larger crowd is alike.
BUCKET_FIRST = 8
BUCKET_LATEST = 8

# In texts of this many words at most the overlap is counted: there one word decides, and an estimate may err.
SHORT_WORDS = 50

_CACHED_TEXTS = 4096
_CHUNK_WORDS = 50_000
_CHUNK_PAIRS = 16_384
_MAX_CACHED_WORDS = 500_000
_SEED = 20_260_101
# No word holds a line break.
_END_MARK = "\n"


@dataclass(frozen=True)
class Resemblances:
    """Which of `n` texts, counted from 0, resemble which earlier ones.

    `first` (n,) is the earliest text of the same content, the text itself where there is none. `later` and
    `earlier` (m,) are pairs of such first texts that are nearly the same, sorted by `later`.
    """

    first: Places
    later: Places
    earlier: Places

    def earlier_than(self, place: int) -> list[int]:
        """The texts before `place` that it resembles, of every content the first one alone."""
        first = int(self.first[place])
        start, end = np.searchsorted(self.later, [first, first + 1])
        alike = self.earlier[start:end].tolist()
        return alike if first == place else [*alike, first]

    def groups(self) -> Places:
        """(n,) for every text the earliest text of its group; whoever resembles a member is a member."""
        parents = list(range(len(self.first)))

        def root(place: int) -> int:
            while parents[place] != place:
                parents[place] = parents[parents[place]]
                place = parents[place]
            return place

        for later, earlier in zip(self.later.tolist(), self.earlier.tolist(), strict=True):
            one, other = root(later), root(earlier)
            parents[max(one, other)] = min(one, other)
        return np.array([root(place) for place in self.first.tolist()], dtype=np.int64)


def find_near_duplicates(texts: Sequence[str], same_share: float = SAME_SHARE) -> Resemblances:
    """Compare each text with those before it; `same_share` (0…1) is the overlap from which two are one.

    Holds about 500 bytes a text beside the texts themselves.
    """
    first, distinct, lengths, signatures = _sign(texts)
    later, earlier = _alike(signatures, same_share)
    later, earlier = distinct[later], distinct[earlier]
    short = np.maximum(lengths[later], lengths[earlier]) <= SHORT_WORDS
    kept = ~short
    kept[short] = _overlapping(texts, later[short], earlier[short], same_share)
    return Resemblances(first, later[kept], earlier[kept])


def _sign(texts: Iterable[str]) -> tuple[Places, Places, Places, Signatures]:
    """First of its content and number of words, for every text; places (d,) and signatures of the firsts."""
    seen: dict[bytes, int] = {}
    first: list[int] = []
    lengths: list[int] = []
    signatures: list[Signatures] = []
    word_hashes = _WordHashes()
    waiting: list[list[str]] = []
    size = 0
    for place, text in enumerate(texts):
        words = content_words(text)
        content = " ".join(words).encode("utf-8", "surrogatepass")
        first.append(seen.setdefault(hashlib.blake2b(content, digest_size=16).digest(), place))
        lengths.append(len(words))
        if first[-1] != place:
            continue
        waiting.append(words)
        size += len(words)
        if size >= _CHUNK_WORDS:
            signatures.append(_signatures(waiting, word_hashes))
            waiting, size = [], 0
    if waiting:
        signatures.append(_signatures(waiting, word_hashes))
    every = np.concatenate(signatures) if signatures else np.empty((0, SIGNATURE_VALUES), np.uint32)
    distinct = np.fromiter(seen.values(), np.int64, len(seen))
    return np.array(first, np.int64), distinct, np.array(lengths, np.int64), every


def _overlapping(texts: Sequence[str], later: Places, earlier: Places, same_share: float) -> list[bool]:
    """Which pairs of short texts share enough, counted rather than estimated."""

    @lru_cache(_CACHED_TEXTS)
    def features(place: int) -> frozenset[tuple[str, ...]]:
        words = content_words(texts[place])
        return frozenset([*zip(words), *pairwise([_END_MARK, *words, _END_MARK])])

    found = []
    for one, other in zip(map(features, later.tolist()), map(features, earlier.tolist()), strict=True):
        common = len(one & other)
        found.append(common >= same_share * (len(one) + len(other) - common))
    return found


class _WordHashes(dict[str, int]):
    """Word → 64 bits of its digest, which unlike `hash` are the same in every process."""

    def __missing__(self, word: str) -> int:
        digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        value = int.from_bytes(digest, "little")
        if len(self) >= _MAX_CACHED_WORDS:
            self.clear()
        self[word] = value
        return value


def _signatures(texts: Sequence[Sequence[str]], word_hashes: _WordHashes) -> Signatures:
    """(texts, values): of every permutation the least value over a text's words and word pairs."""
    # A mark at the end of each text pairs with its last word and with its first, so that a change there
    # weighs as much as one in the middle.
    sizes = np.array([len(words) + 1 for words in texts])
    marked = chain.from_iterable((*words, _END_MARK) for words in texts)
    words = np.fromiter(map(word_hashes.__getitem__, marked), np.uint64, int(sizes.sum()))
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    marks = starts + sizes - 1
    following = np.roll(words, -1)
    following[marks] = words[starts]
    pairs = following * np.uint64(0x9E3779B97F4A7C15) + (words ^ (words >> np.uint64(29)))
    # The mark itself is no word; a set does not count the first word twice.
    words[marks] = words[starts]
    factors, terms = _permutations()
    result = np.empty((len(texts), SIGNATURE_VALUES), np.uint32)
    for number in range(SIGNATURE_VALUES):
        least = np.minimum(words * factors[number] + terms[number], pairs * factors[number] + terms[number])
        result[:, number] = np.minimum.reduceat(least, starts) >> np.uint64(32)
    return result


def _permutations() -> tuple[Hashes, Hashes]:
    generator = np.random.default_rng(_SEED)
    factors = generator.integers(0, 2**64, SIGNATURE_VALUES, dtype=np.uint64) | np.uint64(1)
    return factors, generator.integers(0, 2**64, SIGNATURE_VALUES, dtype=np.uint64)


def _alike(signatures: Signatures, same_share: float) -> tuple[Places, Places]:
    """Pairs (later, earlier) of rows whose signatures agree in `same_share` of their values or more."""
    count = len(signatures)
    kept = np.empty(0, np.int64)
    for band in range(BANDS):
        keys = _band_keys(signatures[:, band * BAND_VALUES : (band + 1) * BAND_VALUES])
        found = [kept]
        for later, earlier in _bucket_pairs(keys):
            agreeing = (signatures[later] == signatures[earlier]).mean(axis=1) >= same_share
            found.append(later[agreeing] * count + earlier[agreeing])
        kept = np.unique(np.concatenate(found))
    return (kept // count, kept % count) if count else (kept, kept)


def _band_keys(band: Signatures) -> Hashes:
    keys = np.zeros(len(band), np.uint64)
    for column in band.T:
        keys = (keys ^ column.astype(np.uint64)) * np.uint64(0xD6E8FEB86659FD93)
        keys ^= keys >> np.uint64(32)
    return keys


def _bucket_pairs(keys: Hashes) -> Iterator[tuple[Places, Places]]:
    """Chunks of pairs (later, earlier) of equal keys: each with the first and the latest before it."""
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    begins = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])) if len(keys) else order
    sizes = np.diff(np.append(begins, len(keys)))
    rank = np.arange(len(keys)) - np.repeat(begins, sizes)
    begin = np.repeat(begins, sizes)
    for step in range(BUCKET_FIRST + BUCKET_LATEST):
        if step < BUCKET_FIRST:
            members = np.flatnonzero(rank > step)
            partners = begin[members] + step
        else:
            back = step - BUCKET_FIRST + 1
            members = np.flatnonzero(rank - back >= BUCKET_FIRST)
            partners = members - back
        for start in range(0, len(members), _CHUNK_PAIRS):
            chosen = slice(start, start + _CHUNK_PAIRS)
            yield order[members[chosen]], order[partners[chosen]]
