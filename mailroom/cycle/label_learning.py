"""Examples → label vectors that learned from them: the cheap half of a cycle, seconds instead of hours.

Also answers emails that were learned from as if they had not been: each fold by what the others taught. So
a workspace with 30 labelled emails has something to judge by, long before a part of its own is large enough.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mailroom.classify.classifier import RETRIEVAL_TEMPERATURE
from mailroom.classify.decide import softmax
from mailroom.curate.near_duplicates import find_near_duplicates
from mailroom.evaluate.answers import Answer
from mailroom.models.lexical_learn import Lessons, cross_fitted_scores
from mailroom.models.prototypes import LabelledVectors, Prototypes, plain_fit
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
    known: bool = False,
) -> Prototypes:
    """Learn label vectors and write them to `out`; `texts` (labels, d) are the labels' own vectors.

    `known` says that the encoder was trained on the examples.
    """
    place = {label: row for row, label in enumerate(labels)}
    emails = labelled_vectors(examples, vectors, place)
    fit = plain_fit(texts, emails) if known else None
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
    seen: Collection[str] = (),
) -> float | None:
    """What an unlabelled email should count, by gold that other folds answer and that is not in `seen`.

    Perhaps 0; None where there is too little gold to say.
    """
    place = {label: row for row, label in enumerate(labels)}
    emails = labelled_vectors(examples, vectors, place)
    folds = _gold_folds(examples, seed, WORD_FOLDS, seen)
    return choose_weight(labels, texts, emails, mail, folds, seed, plain_fit(texts, emails) if seen else None)


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
    seen: Collection[str] = (),
) -> list[Answer]:
    """How label vectors answer each gold example of `examples` when they learned from the other folds alone.

    Those of `seen`, which the encoder itself was trained on, and their near-duplicates are learned from and
    not answered. With `words` these answer too, learned and weighed by the other folds. Near-duplicates and
    mails of one thread share a fold. Silver is learned from and never judged by. How to learn label vectors
    (three numbers) is chosen once, on all examples: to choose anew for each fold takes four times as long.
    """
    lessons = word_lessons(labels, texts, examples, vectors, seed, FOLDS, mail, seen)
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
    seen: Collection[str] = (),
) -> Lessons:
    """Examples and their vectors (n, d) as words are learned from them; only gold not `seen` has a fold."""
    place = {label: row for row, label in enumerate(labels)}
    emails = labelled_vectors(examples, vectors, place)
    return Lessons(
        labels,
        texts,
        emails,
        [example.text for example in examples],
        _gold_folds(examples, seed, folds, seen),
        seed,
        mail,
        plain_fit(texts, emails) if seen else None,
    )


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
    examples: Sequence[Example], seed: int, folds: int, seen: Collection[str] = ()
) -> NDArray[np.intp]:
    """The fold of each example (n,); −1 for silver and for what is like one that was `seen`: in none."""
    groups = _groups(examples)
    known = {group for group, one in zip(groups, examples, strict=True) if one.email_id in seen}
    judges = [one.grade == "gold" and group not in known for group, one in zip(groups, examples, strict=True)]
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
