"""Label vectors and labelled emails' vectors → label vectors that tell these emails apart; numpy alone.

Cross-entropy of a softmax over scale × cosine, followed down by Adam, from where the vectors stand. Labels
without examples stay where they are. They take part as competitors: without them the learned vectors would
drift together, which a softmax does not see, and leave all mail to the labels that nothing is known of.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Vectors = NDArray[np.float32]

# Chosen on validation parts of clinc150, bitext and cfpb (docs/experiments-training.md).
SCALE = 20.0
_RATE = 3e-3
_BATCH = 1024
# Below so many multiplications a step, threads cost more than they save (57 labels × 160 emails took
# five times as long on two threads of a busy machine as on one).
_WORTH_THREADS = 50_000_000
_FIRST_DECAY, _SECOND_DECAY, _TINY = 0.9, 0.999, 1e-8


def sharpen(
    start: Vectors,
    vectors: Vectors,
    targets: NDArray[np.intp],
    weights: NDArray[np.float32],
    steps: Sequence[int],
    seed: int = 0,
) -> list[Vectors]:
    """Unit vectors (labels, d) after each number of `steps` (rising), from `start` (labels, d).

    `vectors` (n, d) have unit length and `targets` (n,) say which row of `start` each belongs to.
    """
    products = start.size * min(_BATCH, len(targets))
    with threadpool_limits(None if products > _WORTH_THREADS else 1, user_api="blas"):
        return _sharpen(start, vectors, targets, weights, steps, seed)


def _sharpen(
    start: Vectors,
    vectors: Vectors,
    targets: NDArray[np.intp],
    weights: NDArray[np.float32],
    steps: Sequence[int],
    seed: int,
) -> list[Vectors]:
    learned = np.bincount(targets, minlength=len(start))[:, None] > 0
    head = start.astype(np.float32)
    first, second = np.zeros_like(head), np.zeros_like(head)
    generator = np.random.default_rng(seed)
    found: list[Vectors] = []
    done = 0
    for wanted in steps:
        while done < wanted:
            picked = generator.integers(len(targets), size=min(_BATCH, len(targets)))
            gradient = learned * _gradient(head, vectors[picked], targets[picked], weights[picked])
            done += 1
            first = _FIRST_DECAY * first + (1 - _FIRST_DECAY) * gradient
            second = _SECOND_DECAY * second + (1 - _SECOND_DECAY) * gradient**2
            mean, spread = first / (1 - _FIRST_DECAY**done), second / (1 - _SECOND_DECAY**done)
            head = head - np.float32(_RATE) * mean / (np.sqrt(spread) + np.float32(_TINY))
        found.append(head / np.maximum(np.linalg.norm(head, axis=1, keepdims=True), np.float32(1e-12)))
    return found


def _gradient(
    head: Vectors, vectors: Vectors, targets: NDArray[np.intp], weights: NDArray[np.float32]
) -> Vectors:
    """d loss / d head (labels, d), the loss being the weighted mean over the batch."""
    lengths = np.maximum(np.linalg.norm(head, axis=1, keepdims=True), 1e-12)
    directions = head / lengths
    logits = SCALE * vectors @ directions.T  # (b, labels)
    logits -= logits.max(axis=1, keepdims=True)
    shares = np.exp(logits)
    shares /= shares.sum(axis=1, keepdims=True)
    shares[np.arange(len(targets)), targets] -= 1
    shares *= (weights / max(float(weights.sum()), 1e-12))[:, None]
    outer = SCALE * shares.T @ vectors  # d loss / d directions
    along = np.einsum("cd,cd->c", outer, directions)[:, None]
    result: Vectors = ((outer - along * directions) / lengths).astype(np.float32)
    return result
