"""Counts → shares with confidence intervals."""

import math
from dataclasses import dataclass
from statistics import NormalDist

from mailroom.errors import DataError


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure, and the bounds between which the true one lies with the stated confidence."""

    value: float
    low: float
    high: float


def wilson(hits: int, of: int, confidence: float = 0.95) -> Interval:
    """The share `hits` / `of` with its score interval, which holds for few and for extreme shares too.

    Source: Wilson 1927; Brown, Cai, DasGupta 2001. Nothing counted gives 0…1 around 0.5.
    """
    if not 0 <= hits <= of:
        raise DataError(f"expected 0 ≤ hits ≤ emails, got {hits} of {of}")
    if of == 0:
        return Interval(0.5, 0.0, 1.0)
    z = normal_quantile(0.5 + confidence / 2)
    share = hits / of
    centre = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return Interval(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def normal_quantile(share: float) -> float:
    """The standard normal's quantile of `share`, 0 < share < 1."""
    return NormalDist().inv_cdf(share)
