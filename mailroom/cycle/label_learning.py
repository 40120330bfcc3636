"""Examples → label vectors that learned from them: the cheap half of a cycle, seconds instead of hours.

Also answers emails that were learned from as if they had not been: each fold by what the others taught. So
a workspace with 30 labelled emails has something to judge by, long before a part of its own is large enough.
"""

import math
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mailroom.classify.classifier import RETRIEVAL_TEMPERATURE
from mailroom.classify.decide import softmax
from mailroom.curate.near_duplicates import find_near_duplicates
from mailroom.cycle.choose import beyond_chance
from mailroom.cycle.parts import Known
from mailroom.evaluate.answers import Answer
from mailroom.models.lexical_learn import Lessons, cross_fitted_scores
from mailroom.models.prototypes import Fit, LabelledVectors, Prototypes, plain_fit
from mailroom.models.text_weight import KAPPAS, answered_right
from mailroom.models.unlabelled import Mail, choose_weight, fit_with_mail
from mailroom.records import Example

Vectors = NDArray[np.float32]

FOLDS = 5
WORD_FOLDS = 3


def labelled_vectors(
    examples: Sequence[Example], vectors: Vectors, place: Mapping[str, int]
) -> LabelledVectors:
    """Examples and their vectors (n, d) as the label vectors learn them."""
    return LabelledVectors(
        vectors,
        np.array([place[example.label] for example in examples], dtype=np.intp),
        np.array([example.weight for example in examples], dtype=np.float32),
    )


def learn_labels(
    labels: Sequence[str],
    texts: Vectors,
    examples: Sequence[Example],
    vectors: Vectors,
    out: Path,
    seed: int,
    mail: Mail | None = None,
    kappa: float | None = None,
) -> Prototypes:
    """Learn label vectors and write them to `out`; `texts` (labels, d) are the labels' own vectors.

    `kappa` is what texts count behind an encoder that was trained on the examples; None where it was not, and
    the examples choose.
    """
    place = {label: row for row, label in enumerate(labels)}
    emails = labelled_vectors(examples, vectors, place)
    fit = plain_fit(texts, emails, kappa) if kappa is not None else None
    learned = fit_with_mail(labels, texts, emails, mail, seed, fit)
    fresh = out.with_suffix(".writing")
    learned.save(fresh)
    fresh.replace(out)
    return learned


def weigh_mail(
    labels: Sequence[str],
    texts: Vectors,
    examples: Sequence[Example],
    vectors: Vectors,
    mail: Vectors,
    seed: int,
    known: Known | None = None,
    before: float | None = None,
) -> float:
    """What an unlabelled email should count, by gold that other folds answer and that is not `known`.

    Perhaps 0; what it counted `before` where there is too little gold to say otherwise.
    """
    place = {label: row for row, label in enumerate(labels)}
    emails = labelled_vectors(examples, vectors, place)
    folds = _gold_folds(examples, seed, WORD_FOLDS, known)
    found = choose_weight(labels, texts, emails, mail, folds, seed, _fit_beside(known, texts, emails), before)
    return (before or 0.0) if found is None else found


def choose_text_weight(
    labels: Sequence[str],
    texts: Vectors,
    examples: Sequence[Example],
    vectors: Vectors,
    seed: int,
    seen: Set[str],
    before: float,
) -> float:
    """κ by gold that is not in `seen`, each answered without itself; `before` unless another wins.

    A week's new gold is a few dozen hard emails, of which one or two more are right at this κ or that:
    another one has to win more of those that change sides than luck explains.
    """
    emails = labelled_vectors(examples, vectors, {label: row for row, label in enumerate(labels)})
    judges = _gold_folds(examples, seed, FOLDS, Known(frozenset(seen), before)) >= 0
    found = answered_right(texts, emails.vectors, emails.targets, emails.weights, seed, judges)
    if found is None:
        return before
    right = dict(zip(KAPPAS, found.right, strict=True))
    best = max(KAPPAS, key=lambda kappa: (float(right[kappa] @ found.weights), kappa))
    known = right[min(KAPPAS, key=lambda kappa: abs(math.log(kappa / before)))]
    won, lost = right[best] & ~known, known & ~right[best]
    # The best of so many has as many chances.
    by_luck = 0.05 / (len(KAPPAS) - 1)
    return best if beyond_chance(int(won.sum()), int(lost.sum()), by_luck) else before


def cross_fitted_answers(
    labels: Sequence[str],
    texts: Vectors,
    examples: Sequence[Example],
    vectors: Vectors,
    top_k: int,
    seed: int,
    temperature: float = RETRIEVAL_TEMPERATURE,
    words: bool = False,
    mail: Mail | None = None,
    known: Known | None = None,
) -> list[Answer]:
    """How label vectors answer each gold example of `examples` when they learned from the other folds alone.

    Those `known`, which the encoder itself was trained on, and their near-duplicates are learned from and not
    answered. With `words` these answer too, learned and weighed by the other folds. Near-duplicates and
    mails of one thread share a fold. Silver is learned from and never judged by. How to learn label vectors
    (three numbers) is chosen once, on all examples: to choose anew for each fold takes four times as long.
    """
    lessons = word_lessons(labels, texts, examples, vectors, seed, FOLDS, mail, known)
    scores, rows = cross_fitted_scores(lessons) if words else _cross_fitted_cosines(lessons)
    return [
        _answer(examples[rows[position]], labels, scores[position], top_k, temperature)
        for position in np.argsort(rows, kind="stable").tolist()
    ]


def word_lessons(
    labels: Sequence[str],
    texts: Vectors,
    examples: Sequence[Example],
    vectors: Vectors,
    seed: int,
    folds: int = WORD_FOLDS,
    mail: Mail | None = None,
    known: Known | None = None,
) -> Lessons:
    """Examples and their vectors (n, d) as words are learned from them; only gold not `known` has a fold."""
    place = {label: row for row, label in enumerate(labels)}
    emails = labelled_vectors(examples, vectors, place)
    return Lessons(
        labels,
        texts,
        emails,
        [example.text for example in examples],
        _gold_folds(examples, seed, folds, known),
        seed,
        mail,
        _fit_beside(known, texts, emails),
    )


def _fit_beside(known: Known | None, texts: Vectors, emails: LabelledVectors) -> Fit | None:
    """How label vectors learn where the encoder knows some of the emails; None where the emails choose."""
    return plain_fit(texts, emails, known.kappa) if known is not None else None


def _cross_fitted_cosines(lessons: Lessons) -> tuple[Vectors, NDArray[np.intp]]:
    """Cosines (m, labels) of each email of a fold, and its row (m,)."""
    cosines: list[Vectors] = []
    rows: list[NDArray[np.intp]] = []
    fit = lessons.chosen_fit()
    for fold in np.unique(lessons.folds[lessons.folds >= 0]).tolist():
        others = lessons.folds != fold
        if not others.any():
            continue
        learned = fit_with_mail(
            lessons.labels, lessons.text_vectors, lessons.emails.part(others), lessons.mail, lessons.seed, fit
        )
        nearest = learned.label_vectors(lessons.labels, lessons.text_vectors)
        held_back = np.flatnonzero(~others)
        cosines.append(np.stack([nearest @ vector for vector in lessons.emails.vectors[held_back]]))
        rows.append(held_back)
    if not rows:
        return np.empty((0, len(lessons.labels)), dtype=np.float32), np.empty(0, dtype=np.intp)
    return np.concatenate(cosines), np.concatenate(rows)


def _gold_folds(
    examples: Sequence[Example], seed: int, folds: int, known: Known | None = None
) -> NDArray[np.intp]:
    """The fold of each example (n,); −1 for silver and for what is like one that is `known`: in none."""
    groups = _groups(examples)
    seen = known.emails if known is not None else frozenset()
    closed = {group for group, one in zip(groups, examples, strict=True) if one.email_id in seen}
    judges = [
        one.grade == "gold" and group not in closed for group, one in zip(groups, examples, strict=True)
    ]
    distinct, places = np.unique(groups, return_inverse=True)
    drawn = np.random.default_rng(seed).permutation(len(distinct)) % folds
    return np.where(judges, drawn[places], -1).astype(np.intp)


def _groups(examples: Sequence[Example]) -> list[int]:
    """A number for each example, the same for near-duplicates and mails of one thread."""
    groups = find_near_duplicates([example.text for example in examples]).groups().tolist()
    thread_group: dict[str, int] = {}
    return [
        thread_group.setdefault(example.thread, group) if example.thread else group
        for example, group in zip(examples, groups, strict=True)
    ]


def _answer(
    example: Example, labels: Sequence[str], similarities: Vectors, top_k: int, temperature: float
) -> Answer:
    best = np.argsort(-similarities, kind="stable")[:top_k]
    ranked = similarities[best]
    return Answer(
        example.email_id,
        example.label,
        tuple(labels[row] for row in best.tolist()),
        tuple(softmax(ranked, temperature).tolist()),
        tuple(ranked.tolist()),
    )
