"""Label vectors, and vectors of mail that nobody labelled → label vectors drawn to the mail; numpy alone.

Expectation-maximisation: unlabelled emails are shared out among the labels that they resemble, each label's
vector moves to what it got, and so on for a few rounds. An unlabelled email counts a fraction of a labelled
one (Nigam et al., Text Classification from Labeled and Unlabeled Documents using EM, 2000). Where labels are
no clumps in the mail they lose by it, so labelled emails choose the fraction, perhaps 0. Labels with several
examples each know better than the mail.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mailroom.models.lexical_weight import log_losses
from mailroom.models.prototypes import (
    Fit,
    LabelledVectors,
    Prototypes,
    Targets,
    Vectors,
    choose_fit,
    fit_prototypes,
    make_prototypes,
    unit,
)

# Measured on training parts of five sets (docs/experiments-learning.md).
WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
_TEMPERATURE = 0.03
_ROUNDS = 3
# What a label's texts taught counts as so many emails.
_TEXTS_COUNT = 2.0
# Fewer labelled emails cannot choose; and with so many a label, mail took more than it gave.
LEAST_JUDGED = 30
_ENOUGH_A_LABEL = 3
_AT_ONCE = 4096
# A week's few dozen new emails are as likely at one weight as at another, to a fraction of this: e² times.
_NATS = 2.0


@dataclass(frozen=True)
class Mail:
    """Unit vectors (m, d) of unlabelled emails, and what one counts beside a labelled one's 1."""

    vectors: Vectors
    weight: float

    def standing_for(self, emails: int) -> "Mail":
        """The same, drawing as hard as so many emails would of which these are a part."""
        read = len(self.vectors)
        return Mail(self.vectors, self.weight * max(1.0, emails / read)) if read else self


def may_teach(labelled: int, labels: int) -> bool:
    """Whether mail may count behind an encoder that was not trained, with so many labelled emails.

    From 3 a label on, on average, they know better; they are mostly emails that were hard, and would give too
    much to the mail at the cost of easy ones. Behind a trained encoder mail went on to help.
    """
    return labelled < _ENOUGH_A_LABEL * labels


def fit_with_mail(
    labels: Sequence[str],
    text_vectors: Vectors,
    examples: LabelledVectors,
    mail: Mail | None,
    seed: int = 0,
    fit: Fit | None = None,
) -> Prototypes:
    """`fit_prototypes`, and then drawn to the mail, if there is any that counts.

    Then all labels have learned something, those without examples too.
    """
    learned = fit_prototypes(labels, text_vectors, examples, seed=seed, fit=fit)
    if mail is None or mail.weight <= 0 or not len(mail.vectors):
        return learned
    start = unit(learned.label_vectors(labels, text_vectors))
    vectors, counts = _drawn(start, examples, mail)
    # A label that is added later is as far off as it would be without the mail.
    return make_prototypes(labels, vectors, np.maximum(counts, 1e-6), learned.shift, learned.gain)


def choose_weight(
    labels: Sequence[str],
    text_vectors: Vectors,
    examples: LabelledVectors,
    mail: Vectors,
    folds: Targets,
    seed: int = 0,
    fit: Fit | None = None,
    before: float | None = None,
) -> float | None:
    """The weight of WEIGHTS by which examples are told best from what other folds taught: least log loss.

    Examples of `folds` (n,) ≥ 0 are answered, the rest teaches only. `fit` says how, unless they choose. The
    weight `before` stays unless another makes them likelier by _NATS. None where there are too few to choose.
    """
    if not len(mail):
        return 0.0
    if (folds >= 0).sum() < LEAST_JUDGED:
        return None
    fit = fit or choose_fit(text_vectors, examples, seed=seed)
    answered: list[Targets] = []
    scores: list[list[Vectors]] = [[] for _ in WEIGHTS]
    for fold in np.unique(folds[folds >= 0]).tolist():
        known, asked = examples.part(folds != fold), np.flatnonzero(folds == fold)
        if not (known.weights > 0).any():
            continue
        answered.append(asked)
        for found, weight in zip(scores, WEIGHTS, strict=True):
            learned = fit_with_mail(labels, text_vectors, known, Mail(mail, weight), seed, fit)
            found.append(examples.vectors[asked] @ learned.label_vectors(labels, text_vectors).T)
    judged = examples.part(np.concatenate(answered)) if answered else None
    if judged is None or not (judged.weights > 0).any():
        return None
    total = float(judged.weights.sum())
    losses = [
        total * float(log_losses(np.concatenate(found), judged.targets, judged.weights).min())
        for found in scores
    ]
    if before in WEIGHTS and losses[WEIGHTS.index(before)] <= min(losses) + _NATS:
        return before
    return WEIGHTS[int(np.argmin(losses))]


def _drawn(start: Vectors, examples: LabelledVectors, mail: Mail) -> tuple[Vectors, NDArray[np.float32]]:
    """Unit vectors (labels, d) after all rounds, and how many emails each label has, by weight."""
    own = np.bincount(examples.targets, weights=examples.weights, minlength=len(start))
    # Not the examples themselves: what was learned tells them apart better than their middle does.
    taught = start * (_TEXTS_COUNT + own)[:, None].astype(np.float32)
    vectors, counts = start, own
    for _ in range(_ROUNDS):
        sums, shares = _shared_out(vectors, mail.vectors)
        vectors = unit(taught + np.float32(mail.weight) * sums)
        counts = own + mail.weight * shares
    return vectors, counts.astype(np.float32)


def _shared_out(labels: Vectors, mail: Vectors) -> tuple[Vectors, NDArray[np.float32]]:
    """What the labels get of the mail: sums (labels, d) of vectors, and how many emails (labels,)."""
    sums, counts = np.zeros_like(labels), np.zeros(len(labels), dtype=np.float32)
    for place in range(0, len(mail), _AT_ONCE):
        part = mail[place : place + _AT_ONCE]
        logits = part @ labels.T / np.float32(_TEMPERATURE)  # (b, labels)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        sums += shares.T @ part
        counts += shares.sum(axis=0)
    return sums, counts
