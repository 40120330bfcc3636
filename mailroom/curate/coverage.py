"""Unsure emails by the labels that they resemble → the order in which each tells most about the others.

Greedy facility location: the next email is the one that stands for most doubt which no earlier one, and none
that people have spoken on, stands for. So a person is asked about the middle of each unclear heap rather than
about its oddest members, and small heaps get their turn. Emails are alike whose likeliest labels are alike,
which the log knows: nothing is read anew.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Likeness = Mapping[str, float]

# Chosen on the training part of clinc150, kept on four other sets (docs/experiments-learning.md).
_TEMPERATURE = 0.05
_WIDTH = 0.25
# More at a time would take more memory than they tell.
_MOST = 2000


def in_order(emails: Sequence[Likeness], doubts: Sequence[float], known: Sequence[Likeness]) -> Iterator[int]:
    """Positions of `emails`, those first that say most; of equals the earlier one.

    A likeness is the similarity of an email to each of its likeliest labels, `doubts` (≥ 0) say how unsure
    the answer on it is, and `known` are emails that need not be asked about. Emails beyond the first 2,000
    follow in their own order.
    """
    covered, rest = range(min(len(emails), _MOST)), range(_MOST, len(emails))
    if covered:
        yield from _greedy(emails[:_MOST], np.array(doubts[:_MOST], dtype=np.float32), known)
    yield from rest


def _greedy(
    emails: Sequence[Likeness], doubts: NDArray[np.float32], known: Sequence[Likeness]
) -> Iterator[int]:
    profiles = _profiles([*emails, *known])
    own, others = profiles[: len(emails)], profiles[len(emails) :]
    alike = _alikeness(own, own)  # (n, n): how far the email of a column stands for that of a row
    np.fill_diagonal(alike, 1.0)
    told = _alikeness(own, others).max(axis=1) if len(others) else np.zeros(len(own), dtype=np.float32)
    left = np.ones(len(own), dtype=bool)
    for _ in range(len(own)):
        # Rounded: equals differ in their last digits, which are another machine's luck.
        gains = (doubts @ np.maximum(alike - told[:, None], 0.0)).round(4)
        pick = int(np.where(left, gains, -1.0).argmax())
        left[pick] = False
        told = np.maximum(told, alike[:, pick])
        yield pick


def _profiles(emails: Sequence[Likeness]) -> Matrix:
    """Shares of the labels (n, labels), each row at length 1; 0 where nothing is known."""
    place = {label: column for column, label in enumerate(sorted({x for email in emails for x in email}))}
    profiles = np.zeros((len(emails), max(1, len(place))), dtype=np.float32)
    for row, email in enumerate(emails):
        if email:
            found = np.array(list(email.values()))
            shares = np.exp((found - found.max()) / _TEMPERATURE)
            profiles[row, [place[label] for label in email]] = shares / np.linalg.norm(shares)
    return profiles


def _alikeness(one: Matrix, other: Matrix) -> Matrix:
    alike: Matrix = np.exp((one @ other.T - 1) / np.float32(_WIDTH))
    return alike
