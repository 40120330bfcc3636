"""How many examples a label's texts are worth: chosen by the examples, each answered without itself."""

import numpy as np
import pytest

from mailroom.models.text_weight import KAPPAS, Vectors, choose_kappa

LABELS, DIMENSION, EACH = 8, 32, 12
GENERATOR = np.random.default_rng(3)


def unit(vectors: np.ndarray) -> Vectors:
    result: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return result


TEXTS = unit(GENERATOR.normal(size=(LABELS, DIMENSION)))
TARGETS = np.repeat(np.arange(LABELS), EACH)
ONES = np.ones(len(TARGETS), dtype=np.float32)


def around(centres: Vectors, noise: float) -> Vectors:
    """Twelve emails a label, around its centre."""
    return unit(
        centres[TARGETS] + noise * GENERATOR.normal(size=(len(TARGETS), DIMENSION)) / np.sqrt(DIMENSION)
    )


def test_emails_far_from_their_labels_texts_are_trusted() -> None:
    elsewhere = unit(GENERATOR.normal(size=(LABELS, DIMENSION)))
    chosen = choose_kappa(TEXTS, around(elsewhere, 0.5), TARGETS, ONES)
    assert chosen is not None
    assert chosen <= 16


def test_emails_that_differ_from_one_another_change_nothing() -> None:
    emails = around(TEXTS, 6.0)
    chosen = choose_kappa(TEXTS, emails, TARGETS, ONES)
    assert chosen is not None
    assert chosen >= 16


def test_of_equally_good_ones_the_texts_are_trusted_most() -> None:
    assert choose_kappa(TEXTS, around(TEXTS, 0.6), TARGETS, ONES) == KAPPAS[-1]


def test_copies_prove_nothing() -> None:
    elsewhere = unit(GENERATOR.normal(size=(LABELS, DIMENSION)))
    assert choose_kappa(TEXTS, elsewhere[TARGETS], TARGETS, ONES) is None


@pytest.mark.parametrize("weights", [np.zeros(len(TARGETS), dtype=np.float32), ONES * (TARGETS < 2)])
def test_too_few_examples_choose_nothing(weights: np.ndarray) -> None:
    assert choose_kappa(TEXTS, around(TEXTS, 0.5), TARGETS, weights.astype(np.float32)) is None


def test_one_example_a_label_chooses_nothing() -> None:
    every = np.arange(0, len(TARGETS), EACH)
    emails = around(TEXTS, 0.5)[every]
    assert choose_kappa(TEXTS, emails, TARGETS[every], ONES[every]) is None


def test_only_those_that_judge_are_answered() -> None:
    elsewhere = unit(GENERATOR.normal(size=(LABELS, DIMENSION)))
    # Emails of the first half of the labels lie elsewhere, those of the other half around their texts.
    emails = np.where((TARGETS < LABELS // 2)[:, None], around(elsewhere, 0.5), around(TEXTS, 0.6))
    first, second = (
        choose_kappa(TEXTS, unit(emails), TARGETS, ONES, judges=judges)
        for judges in (TARGETS < LABELS // 2, TARGETS >= LABELS // 2)
    )
    assert first is not None
    assert second == KAPPAS[-1] > first
    assert choose_kappa(TEXTS, unit(emails), TARGETS, ONES, judges=TARGETS < 2) is None
