"""Two samples → the size of their difference, with what chance adds to small samples taken off.

Every measure here is biased upward: two samples of the same mail are never the same. How far chance alone
carries it is measured by parting the pooled sample at random, many times; the mean is taken off the size, and
what one parting in a hundred exceeds (`chance`) says how small a size this much mail can show.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mailroom.evaluate.intervals import normal_quantile

PARTINGS = 400
# Several measures are taken of one window, so each may cry wolf but once in a hundred.
CHANCE = 0.99
# What is added to each cell of a stability index. More would shrink what small windows show, less would let
# a label that is missing by chance weigh like one that is gone.
_ADDED = 0.25

Counts = NDArray[np.int64]
Divergence = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Effect:
    """A difference without its bias, and what chance alone would exceed once in a hundred."""

    size: float
    chance: float


def population_stability(before: Counts, now: Counts) -> NDArray[np.float64]:
    """PSI of two rows of counts (…, k): Σ (p − q) ln(p / q), 0 where the shares are the same.

    A quarter of an email is added to each cell, so that an empty one is no infinity.
    """
    p, q = ((counts + _ADDED) / (counts + _ADDED).sum(axis=-1, keepdims=True) for counts in (before, now))
    stability: NDArray[np.float64] = ((p - q) * np.log(p / q)).sum(axis=-1)
    return stability


def jensen_shannon_bits(before: Counts, now: Counts) -> NDArray[np.float64]:
    """Jensen–Shannon divergence of two rows of counts (…, k) in bits: 0 the same, 1 nothing in common."""
    p, q = (counts / counts.sum(axis=-1, keepdims=True) for counts in (before, now))
    middle = (p + q) / 2
    divergence: NDArray[np.float64] = (_relative_bits(p, middle) + _relative_bits(q, middle)) / 2
    return divergence


def _relative_bits(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    relative: NDArray[np.float64] = (p * np.log2(ratio)).sum(axis=-1)
    return relative


def count_effect(divergence: Divergence, before: Counts, now: Counts, random: np.random.Generator) -> Effect:
    """The divergence of two counts (k,) of the same categories; each holds at least one email."""
    pooled = before + now
    drawn = random.multivariate_hypergeometric(pooled, int(now.sum()), PARTINGS, method="marginals")
    by_chance = divergence(pooled - drawn, drawn)
    return _less_chance(float(divergence(before, now)), by_chance)


def mean_shift(before: NDArray[np.float32], now: NDArray[np.float32], random: np.random.Generator) -> Effect:
    """How far the mean of vectors (n, d) has moved to that of (m, d), in standard deviations of the mail.

    The squared distance less what two such samples have by chance (n, m ≥ 2), over the variance summed over
    dimensions: Cohen's d in many dimensions. 0 where there is no variance at all.
    """
    pooled = np.concatenate([before, now]).astype(np.float64)
    mask = np.zeros(len(pooled))
    mask[len(before) :] = 1
    partings = np.array([random.permutation(mask) for _ in range(PARTINGS)])
    squares = _squared_shifts(pooled, np.concatenate([mask[None, :], partings]))
    return _less_chance_squared(float(squares[0]), squares[1:])


def share_change(before: tuple[int, int], now: tuple[int, int]) -> Effect:
    """How much a share (hits, of) has risen; a fall is negative. A difference of shares has no bias."""
    (hits, of), (hits_now, of_now) = before, now
    pooled = (hits + hits_now + 1) / (of + of_now + 2)
    error = math.sqrt(pooled * (1 - pooled) * (1 / of + 1 / of_now))
    return Effect(hits_now / of_now - hits / of, normal_quantile(CHANCE) * error)


def _squared_shifts(pooled: NDArray[np.float64], masks: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each mask (b, n + m) the squared shift from rows at 0 to rows at 1, in variances, unbiased."""
    now = masks.sum(axis=1, keepdims=True)
    before = masks.shape[1] - now
    total, squares = pooled.sum(axis=0), (pooled**2).sum(axis=1)
    sums = masks @ pooled
    means_now, means_before = sums / now, (total - sums) / before
    # Sums of squares about the two means, over all dimensions.
    about_now = masks @ squares - (now * means_now**2).sum(axis=1)
    about_before = squares.sum() - masks @ squares - (before * means_before**2).sum(axis=1)
    now, before = now[:, 0], before[:, 0]
    variance_now, variance_before = about_now / (now - 1), about_before / (before - 1)
    distance = ((means_now - means_before) ** 2).sum(axis=1)
    variance = (about_now + about_before) / (now + before - 2)
    unbiased = distance - variance_now / now - variance_before / before
    shifts: NDArray[np.float64] = np.zeros_like(variance)
    np.divide(unbiased, variance, out=shifts, where=variance > 1e-12)
    return shifts


def _less_chance(size: float, by_chance: NDArray[np.float64]) -> Effect:
    mean = float(by_chance.mean())
    return Effect(max(0.0, size - mean), max(0.0, float(np.quantile(by_chance, CHANCE)) - mean))


def _less_chance_squared(square: float, by_chance: NDArray[np.float64]) -> Effect:
    return Effect(math.sqrt(max(0.0, square)), math.sqrt(max(0.0, float(np.quantile(by_chance, CHANCE)))))
