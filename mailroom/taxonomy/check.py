"""Taxonomy → warnings: what loads but will confuse the models or the people."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mailroom.taxonomy.tree import Label, Problem, Taxonomy, label_texts

_BLOCK_ROWS = 512
_MAX_PAIRS = 1000


def check(taxonomy: Taxonomy) -> list[Problem]:
    """Every warning about a taxonomy that loads, in file order."""
    problems = [
        *taxonomy.notes,
        *_missing_descriptions(taxonomy),
        *_shared_texts(taxonomy),
        *_unusable_overlaps(taxonomy),
        *_twins(taxonomy),
    ]
    return sorted(problems, key=lambda problem: problem.line or 0)


def find_indistinguishable(
    taxonomy: Taxonomy, vectors: NDArray[np.floating] | None = None, threshold: float = 0.99
) -> list[tuple[Label, Label, float]]:
    """Pairs of assignable labels whose texts cannot be told apart, the most alike first, 1,000 at most.

    vectors: (n_assignable, d) in the order of `taxonomy.assignable`; pairs with a cosine of at least
    `threshold` are given with it. Without vectors: neighbouring pairs with the same path and
    description, with 1.0.
    """
    labels = taxonomy.assignable
    if vectors is None:
        return [(first, second, 1.0) for first, second in _same_texts(labels)]
    if len(vectors) != len(labels):
        raise ValueError(f"expected {len(labels)} vectors, one for each assignable label, got {len(vectors)}")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.asarray(vectors, dtype=np.float32) / np.maximum(norms, 1e-12).astype(np.float32)
    pairs: list[tuple[float, int, int]] = []
    for start in range(0, len(labels), _BLOCK_ROWS):
        pairs += _close_pairs(unit, start, threshold)
        pairs = sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2]))[:_MAX_PAIRS]
    return [(labels[i], labels[j], similarity) for similarity, i, j in pairs]


def _close_pairs(unit: NDArray[np.float32], start: int, threshold: float) -> list[tuple[float, int, int]]:
    block = unit[start : start + _BLOCK_ROWS] @ unit[start:].T  # (b, n - start)
    rows, columns = np.nonzero(np.triu(block >= threshold, k=1))
    similarities = block[rows, columns]
    best = np.argsort(-similarities, kind="stable")[:_MAX_PAIRS]
    return [(min(float(similarities[k]), 1.0), start + int(rows[k]), start + int(columns[k])) for k in best]


def _same_texts(labels: tuple[Label, ...]) -> Iterator[tuple[Label, Label]]:
    latest: dict[str, Label] = {}
    for label in labels:
        text = label_texts(label)["path_description"].casefold()
        if text in latest:
            yield latest[text], label
        latest[text] = label


def _twins(taxonomy: Taxonomy) -> Iterator[Problem]:
    for first, second, _ in find_indistinguishable(taxonomy):
        message = f"{second.id!r} reads exactly as {first.id!r}; no model can tell them apart"
        yield Problem("warning", second.line, message)


def _missing_descriptions(taxonomy: Taxonomy) -> Iterator[Problem]:
    described = {label.parent for label in taxonomy.assignable if label.description}
    for label in taxonomy.assignable:
        if not label.description and label.parent in described:
            message = f"{label.id!r} has no description, but labels beside it have one"
            yield Problem("warning", label.line, message)


def _shared_texts(taxonomy: Taxonomy) -> Iterator[Problem]:
    examples: dict[str, Label] = {}
    aliases: dict[str, Label] = {}
    for label in taxonomy.labels:
        for example in label.examples:
            other = examples.setdefault(example.casefold(), label)
            if other is not label:
                yield Problem("warning", label.line, f"{label.id!r} shares an example with {other.id!r}")
        for alias in label.aliases:
            other = aliases.setdefault(alias.casefold(), label)
            if other is not label:
                message = f"alias {alias!r} of {label.id!r} is also one of {other.id!r}; it finds neither"
                yield Problem("warning", label.line, message)
            elif alias in taxonomy and alias != label.id:
                message = f"alias {alias!r} of {label.id!r} is the id of another label, which wins"
                yield Problem("warning", label.line, message)


def _unusable_overlaps(taxonomy: Taxonomy) -> Iterator[Problem]:
    for label in taxonomy.labels:
        for other in label.overlaps:
            if label.assignable and not taxonomy[other].assignable:
                message = f"{label.id!r} overlaps with {other!r}, which is not assignable and cannot compete"
                yield Problem("warning", label.line, message)
