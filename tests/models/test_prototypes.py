"""Label vectors learn from examples at once, and leave labels without any their chance."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mailroom.errors import DataError, ModelError
from mailroom.models.prototypes import (
    LabelledVectors,
    Prototypes,
    fit_prototypes,
    load_prototypes,
    unit,
)
from mailroom.models.softmax_head import SCALE, _gradient, sharpen
from mailroom.models.text_weight import UNPROVEN_KAPPA

Vectors = NDArray[np.float32]
LABELS = ("a", "b", "c", "d", "e", "f")
DIMENSION = 16


class World:
    """Emails scatter around a centre for each label; the labels' texts point elsewhere, as in life."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = np.random.default_rng(seed)
        self.centres = unit(self.generator.normal(size=(len(LABELS), DIMENSION)).astype(np.float32))
        gap = 0.8 * unit(self.generator.normal(size=DIMENSION).astype(np.float32))
        noise = self.generator.normal(size=self.centres.shape) * 0.25
        self.texts = unit((self.centres + gap + noise).astype(np.float32))

    def emails(self, labels: list[int], each: int) -> LabelledVectors:
        targets = np.repeat(np.array(labels, dtype=np.intp), each)
        noise = self.generator.normal(size=(len(targets), DIMENSION)) * 0.22
        vectors = unit((self.centres[targets] + noise).astype(np.float32))
        return LabelledVectors(vectors, targets, np.ones(len(targets), dtype=np.float32))


def top1(vectors: Vectors, emails: LabelledVectors) -> float:
    return float(((emails.vectors @ vectors.T).argmax(axis=1) == emails.targets).mean())


def test_examples_of_every_label_raise_top1() -> None:
    world = World()
    learned = fit_prototypes(LABELS, world.texts, world.emails([0, 1, 2, 3, 4, 5], 30))
    fresh = world.emails([0, 1, 2, 3, 4, 5], 200)
    before, after = top1(world.texts, fresh), top1(learned.label_vectors(LABELS, world.texts), fresh)
    assert before < 0.9
    assert after > before + 0.05


def test_where_all_labels_have_examples_all_lengths_are_one() -> None:
    world = World()
    learned = fit_prototypes(LABELS, world.texts, world.emails([0, 1, 2, 3, 4, 5], 30))
    vectors = learned.label_vectors(LABELS, world.texts)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_labels_without_examples_keep_most_of_their_mail() -> None:
    world = World()
    learned = fit_prototypes(LABELS, world.texts, world.emails([0, 1, 2], 30))
    vectors = learned.label_vectors(LABELS, world.texts)
    unseen = world.emails([3, 4, 5], 200)
    greedy = dataclasses.replace(learned, gain=0.0, shift=np.zeros_like(learned.shift))
    assert learned.gain > 0.1
    assert top1(vectors, unseen) > top1(greedy.label_vectors(LABELS, world.texts), unseen)
    assert top1(vectors, unseen) > top1(world.texts, unseen) - 0.1
    assert (np.linalg.norm(vectors[:3], axis=1) < np.linalg.norm(vectors[3:], axis=1)).all()


def test_one_example_moves_a_label_by_one_part_beside_its_texts() -> None:
    texts = unit(np.eye(2, 4, dtype=np.float32))
    email = np.array([[0, 0, 1, 0]], dtype=np.float32)
    one = LabelledVectors(email, np.array([0]), np.ones(1, dtype=np.float32))
    learned = fit_prototypes(("a", "b"), texts, one)
    shifted = texts[0] + learned.shift
    assert learned.labels == ("a",)
    assert learned.vectors[0] == pytest.approx(unit(UNPROVEN_KAPPA * unit(shifted) + email[0]), abs=1e-6)


def test_an_example_of_no_weight_teaches_nothing() -> None:
    world = World()
    emails = world.emails([0, 1], 20)
    silent = dataclasses.replace(emails, weights=(emails.targets == 0).astype(np.float32))
    assert fit_prototypes(LABELS, world.texts, silent).labels == ("a",)


def test_labels_are_found_by_id_whatever_the_order() -> None:
    world = World()
    learned = fit_prototypes(LABELS, world.texts, world.emails([0, 1, 2], 30))
    order = [4, 2, 0, 5, 1, 3]
    turned = learned.label_vectors([LABELS[i] for i in order], world.texts[order])
    assert np.array_equal(turned, learned.label_vectors(LABELS, world.texts)[order])


def test_a_retired_label_is_forgotten_and_a_new_one_has_its_texts() -> None:
    world = World()
    learned = fit_prototypes(LABELS[:3], world.texts[:3], world.emails([0, 1, 2], 30))
    vectors = learned.label_vectors(("a", "c", "new"), world.texts[[0, 2, 4]])
    assert unit(vectors[2]) == pytest.approx(unit(world.texts[4] + learned.shift), abs=1e-6)


def test_the_same_examples_give_the_same_vectors() -> None:
    runs = [
        fit_prototypes(LABELS, World().texts, World().emails([0, 1, 2, 3, 4, 5], 30)).vectors
        for _ in range(2)
    ]
    assert np.array_equal(runs[0], runs[1])


def test_saved_prototypes_come_back_whole(tmp_path: Path) -> None:
    world = World()
    learned = fit_prototypes(LABELS, world.texts, world.emails([0, 2], 30))
    learned.save(tmp_path / "prototypes.npz")
    found = load_prototypes(tmp_path / "prototypes.npz")
    assert found is not None
    assert found.labels == learned.labels
    assert np.array_equal(
        found.label_vectors(LABELS, world.texts), learned.label_vectors(LABELS, world.texts)
    )
    assert load_prototypes(tmp_path / "none.npz") is None


@pytest.mark.parametrize("content", [b"", b"nothing like it", None])
def test_a_damaged_file_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "prototypes.npz"
    world = World()
    fit_prototypes(LABELS, world.texts, world.emails([0, 2], 30)).save(path)
    path.write_bytes(path.read_bytes()[:300] if content is None else content)
    with pytest.raises(ModelError, match="learn again"):
        load_prototypes(path)


def test_text_vectors_of_another_encoder_are_refused() -> None:
    world = World()
    learned = fit_prototypes(LABELS, world.texts, world.emails([0, 1], 30))
    with pytest.raises(ModelError, match="another encoder"):
        learned.label_vectors(LABELS, world.texts[:, :8])


def test_no_examples_are_an_error() -> None:
    with pytest.raises(DataError, match="got none"):
        fit_prototypes(LABELS, World().texts, World().emails([], 1))


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ModelError, match="not finite"):
        Prototypes(
            ("a",), np.full((1, 2), np.nan, np.float32), np.ones(1, np.float32), np.zeros(2, np.float32), 0
        )


def test_the_gradient_of_the_head_is_that_of_its_loss() -> None:
    generator = np.random.default_rng(3)
    head = generator.normal(size=(4, 6)).astype(np.float64)
    emails = unit(generator.normal(size=(9, 6)).astype(np.float32)).astype(np.float64)
    targets = generator.integers(4, size=9)
    weights = generator.uniform(0.2, 2, size=9)

    def loss(values: NDArray[np.float64]) -> float:
        directions = values / np.linalg.norm(values, axis=1, keepdims=True)
        logits = SCALE * emails @ directions.T
        normaliser = np.log(np.exp(logits).sum(axis=1))
        return float(np.average(normaliser - logits[np.arange(9), targets], weights=weights))

    found = _gradient(head, emails, targets, weights)  # type: ignore[arg-type]
    for place in np.ndindex(head.shape):
        moved = head.copy()
        moved[place] += 1e-5
        expected = (loss(moved) - loss(head)) / 1e-5
        assert found[place] == pytest.approx(expected, abs=2e-3)


def test_sharpening_leaves_labels_without_examples_where_they_are() -> None:
    world = World()
    emails = world.emails([0, 1, 2], 30)
    start, later = sharpen(world.texts, emails.vectors, emails.targets, emails.weights, (0, 50))
    assert start == pytest.approx(world.texts, abs=1e-6)
    assert later[3:] == pytest.approx(world.texts[3:], abs=1e-6)
    assert top1(later, emails) > top1(start, emails)
