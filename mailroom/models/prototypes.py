"""Vectors of labelled emails → label vectors that have learned from them; numpy alone, in seconds.

A label with examples gets a vector of its own: κ parts its texts, and the sum of its examples' vectors, then
sharpened by cross-entropy against the other labels where that helps on folds. A label without examples keeps
its texts' vector, moved as far as the others moved on average. Emails lie nearer to what was learned from
emails than to any label's text, so the learned vectors are shortened by as much: otherwise the labels with
examples would draw the mail of those without.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mailroom.errors import DataError, ModelError
from mailroom.models.softmax_head import sharpen
from mailroom.models.text_weight import UNPROVEN_KAPPA, choose_kappa

Vectors = NDArray[np.float32]
Targets = NDArray[np.intp]

PROTOTYPES_NAME = "prototypes.npz"
# How much of the difference in likeness is taken away; 1 favours labels without examples, 0 the others.
LEVELLING = 0.5
# The common shift is believed as labels / (labels + 5).
_SHIFT_CAUTION = 5.0
# Steps of sharpening to choose from; below so many examples there are no folds to choose with.
_STEPS = (0, 30, 100, 300)
_LEAST_EXAMPLES = 40
_FOLDS = 3


@dataclass(frozen=True)
class Prototypes:
    """What labels have learned: `vectors` (n, d) of unit length and `counts` (n,) of examples, by label id.

    `shift` (d,) is added to the text vector of every other label; `gain` ≥ 0 says by how much likelier an
    email finds its label's learned vector than the label's texts.
    """

    labels: tuple[str, ...]
    vectors: Vectors
    counts: NDArray[np.float32]
    shift: Vectors
    gain: float

    def __post_init__(self) -> None:
        """Refuse parts that do not fit each other, or are not finite; ModelError."""
        shape = (len(self.labels), len(self.shift))
        if self.vectors.shape != shape or self.counts.shape != shape[:1]:
            raise ModelError(
                f"expected learned vectors of shape {shape} and as many counts, got {self.vectors.shape} "
                f"and {self.counts.shape}; learn again"
            )
        parts = (self.vectors, self.counts, self.shift, np.array(self.gain))
        if not all(np.isfinite(part).all() for part in parts):
            raise ModelError("learned label vectors hold values that are not finite; learn again")

    def label_vectors(self, labels: Sequence[str], text_vectors: Vectors) -> Vectors:
        """Vectors (n, d) to retrieve by, in the order of `labels`, lengths in (0, 1].

        `text_vectors` (n, d) are the unit vectors of the labels' texts. Labels that were learned and are not
        asked for do not matter; where all of them have like numbers of examples, all lengths are 1.
        """
        if text_vectors.shape != (len(labels), len(self.shift)):
            raise ModelError(
                f"expected text vectors of shape {(len(labels), len(self.shift))}, got {text_vectors.shape}; "
                "the labels were learned with another encoder"
            )
        place = {label: row for row, label in enumerate(self.labels)}
        found = [(row, place[label]) for row, label in enumerate(labels) if label in place]
        vectors = unit(text_vectors + self.shift)
        counts = np.zeros(len(labels), dtype=np.float32)
        for row, learned in found:
            vectors[row], counts[row] = self.vectors[learned], self.counts[learned]
        return np.ascontiguousarray(vectors * _lengths(counts, self.gain)[:, None], dtype=np.float32)

    def save(self, path: Path) -> None:
        """Write one `.npz` file, without pickles."""
        with path.open("wb") as file:
            np.savez(
                file,
                labels=np.array(self.labels, dtype=np.str_),
                vectors=self.vectors.astype(np.float32),
                counts=self.counts.astype(np.float32),
                shift=self.shift.astype(np.float32),
                gain=np.float32(self.gain),
            )


def load_prototypes(path: Path) -> Prototypes | None:
    """What `save` wrote, None where there is no such file; ModelError where it is damaged."""
    try:
        # Opened here, since numpy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            return Prototypes(
                labels=tuple(content["labels"].tolist()),
                vectors=content["vectors"],
                counts=content["counts"],
                shift=content["shift"],
                gain=float(content["gain"]),
            )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as exc:
        raise ModelError(f"{path}: expected learned label vectors, got: {exc}; learn again") from exc


@dataclass(frozen=True)
class LabelledVectors:
    """Unit vectors (n, d) of labelled emails, the position of each one's label, and its weight ≥ 0."""

    vectors: Vectors
    targets: Targets
    weights: NDArray[np.float32]

    def part(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> "LabelledVectors":
        """These rows alone."""
        return LabelledVectors(self.vectors[rows], self.targets[rows], self.weights[rows])


@dataclass(frozen=True, slots=True)
class Fit:
    """What was chosen on the examples: how much the texts count, steps of sharpening, and the gain."""

    kappa: float
    steps: int
    gain: float


def fit_prototypes(
    labels: Sequence[str],
    text_vectors: Vectors,
    examples: LabelledVectors,
    kappa: float | None = None,
    seed: int = 0,
    fit: Fit | None = None,
) -> Prototypes:
    """Learn label vectors from the emails' vectors; `text_vectors` (labels, d) have unit length.

    Everything is chosen on the examples themselves, answered as if they had not been learned from, κ too
    unless it is given; `fit` is such a choice that was made before. DataError where there are none.
    """
    _check(labels, text_vectors, examples)
    chosen = fit or choose_fit(text_vectors, examples, kappa, seed)
    vectors, shift = _fit(text_vectors, examples, chosen.kappa)
    parts = (examples.vectors, examples.targets, examples.weights)
    vectors = sharpen(vectors, *parts, (chosen.steps,), seed)[0]
    return make_prototypes(labels, vectors, _counts(len(labels), examples), shift, chosen.gain)


def choose_fit(
    text_vectors: Vectors, examples: LabelledVectors, kappa: float | None = None, seed: int = 0
) -> Fit:
    """How label vectors learn best from these examples; most of the work of learning them."""
    if kappa is None:
        parts = (examples.vectors, examples.targets, examples.weights)
        kappa = choose_kappa(text_vectors, *parts, seed) or UNPROVEN_KAPPA
    if len(examples.targets) < _LEAST_EXAMPLES:
        return Fit(kappa, 0, _gain_left_out(text_vectors, examples, kappa))
    return Fit(kappa, *_choose(text_vectors, examples, kappa, seed))


def plain_fit(text_vectors: Vectors, examples: LabelledVectors, kappa: float) -> Fit:
    """How label vectors learn behind an encoder that was trained on these very examples: without sharpening.

    It answers them right whatever is chosen, so that they choose nothing; `kappa` was chosen before.
    """
    return Fit(kappa, 0, _gain_left_out(text_vectors, examples, kappa))


def make_prototypes(
    labels: Sequence[str], vectors: Vectors, counts: NDArray[np.float32], shift: Vectors, gain: float
) -> Prototypes:
    """Prototypes of the labels whose counts (labels,) are above 0, out of vectors (labels, d) of all."""
    seen = np.flatnonzero(counts > 0)
    return Prototypes(
        labels=tuple(labels[row] for row in seen.tolist()),
        vectors=np.ascontiguousarray(vectors[seen], dtype=np.float32),
        counts=counts[seen].astype(np.float32),
        shift=shift.astype(np.float32),
        gain=max(0.0, float(gain)),
    )


def common_shift(text_vectors: Vectors, learned: Vectors, counts: NDArray[np.float32]) -> Vectors:
    """How far labels with examples lie from their texts on average (d,), taken with caution when few do."""
    seen = counts > 0
    if not seen.any():
        return np.zeros(text_vectors.shape[1], dtype=np.float32)
    share = seen.sum() / (seen.sum() + _SHIFT_CAUTION)
    shift: Vectors = (share * (learned[seen] - text_vectors[seen]).mean(axis=0)).astype(np.float32)
    return shift


def likeness_gain(learned: Vectors, texts: Vectors, examples: LabelledVectors) -> float:
    """By which factor − 1 emails are nearer to their label's learned vector than to its texts, at least 0.

    All vectors of unit length; the emails must not be those that the vectors were learned from.
    """
    if not len(examples.targets):
        return 0.0
    near = float(np.einsum("nd,nd->n", examples.vectors, learned[examples.targets]).mean())
    text = float(np.einsum("nd,nd->n", examples.vectors, texts[examples.targets]).mean())
    return max(0.0, near / text - 1) if text > 0 else 0.0


def unit(vectors: Vectors) -> Vectors:
    """Rows at length 1."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    result: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return result


def _lengths(counts: NDArray[np.float32], gain: float) -> NDArray[np.float32]:
    # Not by the number of examples: labels with many are frequent, and levelling would undo just that.
    lengths = np.where(counts > 0, 1 / (1 + LEVELLING * gain), 1.0)
    result: NDArray[np.float32] = (lengths / lengths.max()).astype(np.float32)
    return result


def _fit(text_vectors: Vectors, examples: LabelledVectors, kappa: float) -> tuple[Vectors, Vectors]:
    """Unit vectors (labels, d), those without examples moved, and the shift (d,)."""
    sums = np.zeros_like(text_vectors)
    np.add.at(sums, examples.targets, examples.vectors * examples.weights[:, None])
    shift = common_shift(text_vectors, unit(sums), _counts(len(text_vectors), examples))
    return unit(kappa * unit(text_vectors + shift) + sums), shift


def _choose(text_vectors: Vectors, examples: LabelledVectors, kappa: float, seed: int) -> tuple[int, float]:
    """The steps of sharpening that answer most held-back emails right, and the gain measured on these."""
    fold = np.random.default_rng(seed).permutation(len(examples.targets)) % _FOLDS
    hits = np.zeros(len(_STEPS))
    gains: list[list[float]] = []
    for number in range(_FOLDS):
        known, held_back = examples.part(fold != number), examples.part(fold == number)
        start, shift = _fit(text_vectors, known, kappa)
        seen = _counts(len(text_vectors), known)[held_back.targets] > 0
        judged = held_back.part(seen)
        texts = unit(text_vectors + shift)
        tried = sharpen(start, known.vectors, known.targets, known.weights, _STEPS, seed)
        for place, vectors in enumerate(tried):
            answers = (judged.vectors @ vectors.T).argmax(axis=1)
            hits[place] += ((answers == judged.targets) * judged.weights).sum()
        gains.append([likeness_gain(vectors, texts, judged) for vectors in tried])
    best = int(hits.argmax())
    return _STEPS[best], float(np.mean(gains, axis=0)[best])


def _gain_left_out(text_vectors: Vectors, examples: LabelledVectors, kappa: float) -> float:
    """The gain with each email taken out of its own label's vector; 0 where no label has a second one."""
    vectors, shift = _fit(text_vectors, examples, kappa)
    texts = unit(text_vectors + shift)
    sums = np.zeros_like(text_vectors)
    np.add.at(sums, examples.targets, examples.vectors * examples.weights[:, None])
    own = examples.vectors * examples.weights[:, None]
    others = unit(kappa * texts[examples.targets] + sums[examples.targets] - own)
    several = np.bincount(examples.targets, minlength=len(vectors))[examples.targets] > 1
    rows = np.flatnonzero(several)
    alone = LabelledVectors(examples.vectors[rows], np.arange(len(rows)), examples.weights[rows])
    return likeness_gain(others[rows], texts[examples.targets[rows]], alone)


def _counts(labels: int, examples: LabelledVectors) -> NDArray[np.float32]:
    counts = np.bincount(examples.targets, weights=examples.weights, minlength=labels)
    return counts.astype(np.float32)


def _check(labels: Sequence[str], text_vectors: Vectors, examples: LabelledVectors) -> None:
    if not len(examples.targets) or not (examples.weights > 0).any():
        raise DataError("expected labelled emails to learn label vectors from, got none")
    if len(labels) != len(text_vectors) or text_vectors.shape[1:] != examples.vectors.shape[1:]:
        raise DataError(
            f"expected a text vector a label, as long as the emails' vectors; got {len(labels)} labels, "
            f"text vectors {text_vectors.shape} and emails' vectors {examples.vectors.shape}"
        )
