import numpy as np
import pytest
from numpy.typing import NDArray

from mailroom.models.prototypes import LabelledVectors, fit_prototypes, unit
from mailroom.models.unlabelled import Mail, choose_weight, fit_with_mail, may_teach

LABELS = ["a", "b", "c"]
Vectors = NDArray[np.float32]


def clumps(count: int, seed: int = 0, spread: float = 0.15) -> tuple[Vectors, NDArray[np.intp]]:
    """Emails of three labels, each round a direction of its own (rows 3 to 5 of 16)."""
    generator = np.random.default_rng(seed)
    targets = np.arange(count) % 3
    vectors = generator.normal(scale=spread, size=(count, 16))
    vectors[np.arange(count), 3 + targets] += 1
    return unit(vectors.astype(np.float32)), targets.astype(np.intp)


def texts() -> Vectors:
    """A little of each clump, and much that says nothing."""
    vectors = np.zeros((3, 16), dtype=np.float32)
    vectors[np.arange(3), 3 + np.arange(3)] = 0.3
    vectors[:, 15] = 1
    return unit(vectors)


def labelled(count: int, seed: int = 1, spread: float = 0.15) -> LabelledVectors:
    vectors, targets = clumps(count, seed, spread)
    return LabelledVectors(vectors, targets, np.ones(count, dtype=np.float32))


def accuracy(vectors: Vectors) -> float:
    asked, targets = clumps(300, seed=5, spread=0.35)
    return float(((asked @ vectors.T).argmax(axis=1) == targets).mean())


def test_mail_draws_labels_to_the_middle_of_their_mail() -> None:
    few = labelled(3, spread=0.4)
    alone = fit_prototypes(LABELS, texts(), few).label_vectors(LABELS, texts())
    drawn = fit_with_mail(LABELS, texts(), few, Mail(clumps(300)[0], 0.2)).label_vectors(LABELS, texts())
    centres = np.eye(3, 16, k=3, dtype=np.float32)
    assert (drawn * centres).sum(axis=1).min() > 0.95
    assert accuracy(drawn) > accuracy(unit(alone))


def test_labels_without_examples_are_drawn_too() -> None:
    known = labelled(30).part(labelled(30).targets != 2)
    learned = fit_with_mail(LABELS, texts(), known, Mail(clumps(300)[0], 0.2))
    assert learned.labels == tuple(LABELS)
    assert learned.label_vectors(LABELS, texts())[2, 5] > 0.9


@pytest.mark.parametrize("mail", [None, Mail(clumps(30)[0], 0.0), Mail(np.empty((0, 0), np.float32), 0.2)])
def test_without_mail_that_counts_nothing_changes(mail: Mail | None) -> None:
    examples = labelled(60)
    plain = fit_prototypes(LABELS, texts(), examples)
    found = fit_with_mail(LABELS, texts(), examples, mail)
    assert np.array_equal(plain.vectors, found.vectors)
    assert np.array_equal(plain.counts, found.counts)


def test_mail_counts_where_labels_have_few_examples() -> None:
    generator = np.random.default_rng(0)
    names = [str(number) for number in range(20)]
    centres = np.eye(20, 64, k=10, dtype=np.float32)

    def noise(count: int, scale: float = 0.2) -> Vectors:
        return generator.normal(scale=scale, size=(count, 64)).astype(np.float32)

    own = unit(centres + noise(20, 0.3))
    targets = (np.arange(40) % 20).astype(np.intp)
    mail, emails, asked = (
        unit(centres[rows] + noise(len(rows)))
        for rows in (np.arange(2000) % 20, targets, np.arange(600) % 20)
    )
    examples = LabelledVectors(emails, targets, np.ones(40, dtype=np.float32))
    folds = (np.arange(40) // 20).astype(np.intp)
    weight = choose_weight(names, own, examples, mail, folds) or 0.0
    assert weight > 0

    def right(counts: float) -> float:
        learned = fit_with_mail(names, own, examples, Mail(mail, counts)).label_vectors(names, own)
        return float(((asked @ learned.T).argmax(axis=1) == np.arange(600) % 20).mean())

    assert right(weight) > right(0.0) + 0.02
    # Its neighbours are as likely, to so few emails; nothing is not.
    for other in (weight / 2, weight):
        assert choose_weight(names, own, examples, mail, folds, before=other) == other
    assert choose_weight(names, own, examples, mail, folds, before=0.0) == weight
    assert choose_weight(names, own, examples, mail, folds, before=0.3) == weight


def test_a_part_of_the_mail_draws_as_hard_as_all_of_it() -> None:
    vectors = clumps(300)[0]
    mail = Mail(vectors, 0.1)
    assert mail.standing_for(900).weight == pytest.approx(0.3)
    assert mail.standing_for(100).weight == 0.1
    assert Mail(vectors[:0], 0.1).standing_for(900).weight == 0.1
    twice = Mail(np.repeat(vectors, 2, axis=0), 0.1)
    examples = labelled(60)
    once, doubled = (fit_with_mail(LABELS, texts(), examples, one) for one in (mail.standing_for(600), twice))
    assert once.vectors == pytest.approx(doubled.vectors, abs=1e-5)


def test_three_labelled_emails_a_label_need_no_mail() -> None:
    assert may_teach(59, 20)
    assert not may_teach(60, 20)


def test_mail_whose_clumps_are_no_labels_counts_nothing() -> None:
    generator = np.random.default_rng(0)
    names = [str(number) for number in range(20)]
    centres = np.eye(20, 64, k=10, dtype=np.float32)

    def topics(count: int) -> Vectors:
        """Emails that say little of their label, and much of one of ten topics."""
        vectors = 0.3 * centres[np.arange(count) % 20] + generator.normal(scale=0.05, size=(count, 64))
        vectors[np.arange(count), 40 + generator.integers(10, size=count)] += 1
        return unit(vectors.astype(np.float32))

    examples = LabelledVectors(
        topics(80), (np.arange(80) % 20).astype(np.intp), np.ones(80, dtype=np.float32)
    )
    folds = (np.arange(80) // 20 % 3).astype(np.intp)
    assert choose_weight(names, unit(centres + 0.1), examples, topics(3000), folds) == 0
    assert choose_weight(names, unit(centres + 0.1), examples, topics(3000), folds, before=1.6) == 0


def test_few_labelled_emails_or_no_mail_choose_nothing() -> None:
    mail = clumps(300)[0]
    folds = np.arange(29, dtype=np.intp) % 3
    assert choose_weight(LABELS, texts(), labelled(29), mail, folds) is None
    silver = np.where(np.arange(60) < 20, np.arange(60) % 3, -1).astype(np.intp)
    assert choose_weight(LABELS, texts(), labelled(60), mail, silver) is None
    folds = np.arange(60, dtype=np.intp) % 3
    assert choose_weight(LABELS, texts(), labelled(60), np.empty((0, 0), np.float32), folds) == 0
