from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mailroom.cycle.label_learning import (
    FOLDS,
    _gold_folds,
    choose_text_weight,
    cross_fitted_answers,
    labelled_vectors,
    learn_labels,
    word_lessons,
)
from mailroom.cycle.parts import Known
from mailroom.models.prototypes import fit_prototypes, load_prototypes, plain_fit
from mailroom.models.text_weight import choose_kappa
from mailroom.records import Example
from tests.curate.small import letters

LABELS = ["a", "b"]
TEXTS = np.eye(2, 8, dtype=np.float32)


def make(count: int, grade: str = "gold", thread: str = "") -> list[Example]:
    """Different words in each, labels in turns."""
    return [
        Example(f"{grade}{n}", letters(n), LABELS[n % 2], grade, "import", thread=thread)  # type: ignore[arg-type]
        for n in range(count)
    ]


def vectors_of(
    examples: list[Example], swapped: bool = False, noise: float = 0.05
) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    """Mail of a label lies in one direction, which is not that of the label's own text."""
    generator = np.random.default_rng(0)
    vectors = generator.normal(scale=noise, size=(len(examples), 8)).astype(np.float32)
    for row, example in enumerate(examples):
        vectors[row, 4 + LABELS.index(example.label)] += 1
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def test_learned_labels_are_kept_in_a_file(tmp_path: Path) -> None:
    examples = make(20)
    path = tmp_path / "prototypes.npz"
    learned = learn_labels(LABELS, TEXTS, examples, vectors_of(examples), path, seed=0)
    loaded = load_prototypes(path)
    assert loaded is not None
    assert np.array_equal(loaded.vectors, learned.vectors)
    assert [entry.name for entry in tmp_path.iterdir()] == ["prototypes.npz"]


def test_what_the_others_taught_answers_each_fold() -> None:
    examples = make(40)
    answers = cross_fitted_answers(LABELS, TEXTS, examples, vectors_of(examples), 2, 0)
    assert [answer.email_id for answer in answers] == [example.email_id for example in examples]
    assert all(answer.correct for answer in answers)
    assert all(abs(sum(answer.probabilities) - 1) < 1e-6 for answer in answers)


def test_an_email_is_never_answered_by_what_it_taught_itself() -> None:
    # Each email points its own way: only a model that learned from it could know its label.
    examples = make(30)
    vectors = np.eye(30, 40, k=8, dtype=np.float32)
    texts = np.eye(2, 40, dtype=np.float32)
    answers = cross_fitted_answers(LABELS, texts, examples, vectors, 2, 0)
    assert len(answers) == 30
    similarity = [dict(zip(a.ranked, a.similarities, strict=True)) for a in answers]
    assert all(abs(found["a"] - found["b"]) < 0.05 for found in similarity)


def test_silver_teaches_and_is_not_judged() -> None:
    gold, silver = make(4), make(40, "silver")
    examples = [*gold, *silver]
    answers = cross_fitted_answers(LABELS, TEXTS, examples, vectors_of(examples), 2, 0)
    assert [answer.email_id for answer in answers] == [example.email_id for example in gold]


def test_mails_of_one_thread_and_near_duplicates_share_a_fold() -> None:
    threads = make(30, thread="t")
    assert len(set(_gold_folds(threads, 0, 5).tolist())) == 1
    twins = [Example(f"t{n}", "the very same words again", "a", "gold", "import") for n in range(10)]
    folds = _gold_folds([*make(50), *twins], 0, 5).tolist()
    assert len(set(folds[50:])) == 1
    assert len(set(folds)) == FOLDS


def test_what_the_encoder_was_trained_on_chooses_nothing(tmp_path: Path) -> None:
    examples = make(30)
    vectors = vectors_of(examples)
    place = {label: row for row, label in enumerate(LABELS)}
    emails = labelled_vectors(examples, vectors, place)
    learned = learn_labels(LABELS, TEXTS, examples, vectors, tmp_path / "known.npz", 0, kappa=8.0)
    fit = plain_fit(TEXTS, emails, 8.0)
    plain = fit_prototypes(LABELS, TEXTS, emails, fit=fit)
    assert np.array_equal(learned.vectors, plain.vectors)
    assert (fit.steps, fit.kappa) == (0, 8.0)
    known = Known(frozenset(example.email_id for example in examples[:-10]), 8.0)
    lessons = word_lessons(LABELS, TEXTS, examples, vectors, 0, known=known)
    assert lessons.chosen_fit() == fit
    assert (lessons.folds >= 0).sum() == 10
    assert word_lessons(LABELS, TEXTS, examples, vectors, 0).fit is None


def test_gold_that_the_encoder_never_saw_says_what_texts_count() -> None:
    examples = make(120)
    vectors = vectors_of(examples, noise=0.3)
    seen = frozenset(example.email_id for example in examples[:60])
    chosen = choose_text_weight(LABELS, TEXTS, examples, vectors, 0, seen, 1000.0)
    judges = np.arange(len(examples)) >= 60
    emails = labelled_vectors(examples, vectors, {label: row for row, label in enumerate(LABELS)})
    expected = choose_kappa(TEXTS, vectors, emails.targets, emails.weights, 0, judges)
    assert chosen == expected is not None
    silver = [replace(example, grade="silver") for example in examples]
    assert choose_text_weight(LABELS, TEXTS, silver, vectors, 0, frozenset(), 3.0) == 3.0
    few = frozenset(example.email_id for example in examples[:100])
    assert choose_text_weight(LABELS, TEXTS, examples, vectors, 0, few, 3.0) == 3.0


def test_what_texts_count_stays_where_another_wins_no_more_than_luck_gives() -> None:
    examples = make(120)
    vectors = vectors_of(examples, noise=0.3)
    # Every κ but the largest answers nearly all right: a few more of them prove nothing.
    for before in (1.0, 2.0, 4.0):
        assert choose_text_weight(LABELS, TEXTS, examples, vectors, 0, frozenset(), before) == before
