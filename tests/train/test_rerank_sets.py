"""Candidate sets for reranking: what goes in, in which order, and what never does."""

from pathlib import Path

import numpy as np
import pytest

from mailroom.errors import ConfigError, DataError
from mailroom.models.prototypes import LabelledVectors, unit
from mailroom.records import Candidate, Example
from mailroom.taxonomy import Taxonomy, load_taxonomy
from mailroom.train.blend import fit_blend
from mailroom.train.cross_fit import Proposals, cross_fit_prototypes, folds_of
from mailroom.train.rerank_sets import RerankSettings, candidate_sets, competitor_texts, replayed

PATHS = ["A", "A > B", "A > C", "A > D", "E", "E > F"]
VECTORS = unit(np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32))


@pytest.fixture
def taxonomy(tmp_path: Path) -> Taxonomy:
    path = tmp_path / "taxonomy.yaml"
    rows = "".join(f"  - id: {name[-1].lower()}\n    path: [{name.replace(' > ', ', ')}]\n" for name in PATHS)
    path.write_text(f"labels:\n{rows}")
    return load_taxonomy(path)


def example(label: str, negatives: tuple[str, ...] = (), logged: tuple[str, ...] = ()) -> Example:
    candidates = tuple(Candidate(name, 0.5, None, 0.1) for name in logged)
    return Example("1", f"about {label}", label, "gold", "review", 2.0, negatives, candidates=candidates)


def proposals(*rows: str, taxonomy: Taxonomy) -> Proposals:
    ids = [label.id for label in taxonomy.assignable]
    places = np.array([[ids.index(label) for label in row] for row in rows])
    return Proposals(places, np.zeros(places.shape, dtype=np.float32))


def test_the_right_label_is_in_even_where_it_was_not_proposed(taxonomy: Taxonomy) -> None:
    settings = RerankSettings(candidates=3, siblings=0, competitors=0)
    found = candidate_sets([example("f")], proposals("bcd", taxonomy=taxonomy), taxonomy, VECTORS, settings)
    assert found[0].labels == ("f", "b", "c")


def test_wrong_labels_of_corrections_come_before_what_was_proposed(taxonomy: Taxonomy) -> None:
    settings = RerankSettings(candidates=3, siblings=0, competitors=0)
    asked = [example("f", negatives=("d",))]
    found = candidate_sets(asked, proposals("bcd", taxonomy=taxonomy), taxonomy, VECTORS, settings)
    assert found[0].labels == ("f", "d", "b")


def test_siblings_and_competitors_are_put_in(taxonomy: Taxonomy) -> None:
    settings = RerankSettings(candidates=6, siblings=2, competitors=1)
    found = candidate_sets([example("b")], proposals("f", taxonomy=taxonomy), taxonomy, VECTORS, settings)
    assert {"c", "d"} <= set(found[0].labels)
    ids = [label.id for label in taxonomy.assignable]
    near = VECTORS @ VECTORS[ids.index("b")]
    near[ids.index("b")] = -2
    nearest = ids[int(near.argmax())]
    assert nearest in found[0].labels or nearest == "a"


def test_an_ancestor_is_never_a_candidate(taxonomy: Taxonomy) -> None:
    asked = [example("b", negatives=("a",), logged=("a", "b", "c"))]
    found = candidate_sets(asked, None, taxonomy, VECTORS, RerankSettings(competitors=5))
    assert "a" not in found[0].labels
    assert found[0].labels[0] == "b"


def test_logged_candidates_are_preferred_to_proposals(taxonomy: Taxonomy) -> None:
    settings = RerankSettings(candidates=4, siblings=0, competitors=0)
    asked = [example("b", logged=("f", "gone", "c"))]
    found = candidate_sets(asked, proposals("ed", taxonomy=taxonomy), taxonomy, VECTORS, settings)
    assert found[0].labels == ("b", "f", "c")


def test_labels_that_were_retired_are_left_out(taxonomy: Taxonomy) -> None:
    assert candidate_sets([example("gone", logged=("b",))], None, taxonomy, VECTORS, RerankSettings()) == []


def test_sets_become_what_the_cross_encoder_reads(taxonomy: Taxonomy) -> None:
    found = candidate_sets([example("f", logged=("b",))], None, taxonomy, VECTORS, RerankSettings(2, 0, 0))
    ranking = found[0].to_ranking(competitor_texts(taxonomy))
    assert (ranking.text, ranking.candidates, ranking.target, ranking.weight) == (
        "about f",
        ("F", "B"),
        0,
        2.0,
    )


def test_an_example_without_candidates_is_an_error(taxonomy: Taxonomy) -> None:
    with pytest.raises(DataError, match="no proposals"):
        candidate_sets([example("b")], None, taxonomy, VECTORS, RerankSettings())
    with pytest.raises(DataError, match="1 examples"):
        candidate_sets(
            [example("b")], proposals("b", "c", taxonomy=taxonomy), taxonomy, VECTORS, RerankSettings()
        )


def test_replay_is_balanced_and_keeps_its_share() -> None:
    old = [example("b")] * 90 + [example("c")] * 3
    mixed = replayed([example("f")] * 10, old, share=0.5, seed=0)
    assert [item.label for item in mixed].count("f") == 10
    assert [item.label for item in mixed].count("c") == 3
    assert len(mixed) == 20
    assert replayed([], old, 0.0, 0) == []
    with pytest.raises(ConfigError, match="share"):
        replayed([], old, 1.0, 0)


def test_conversations_and_equal_texts_share_a_fold() -> None:
    texts = ["same", "same", *(f"text {i}" for i in range(30))]
    examples = [Example(str(i), text, "a", "gold", "test") for i, text in enumerate(texts)]
    folds = folds_of(examples, 3, seed=0)
    assert folds[0] == folds[1]
    assert set(folds.tolist()) == {0, 1, 2}
    with pytest.raises(DataError, match="2 folds"):
        folds_of(examples, 1, 0)


def test_cross_fitting_ranks_no_email_by_its_own_label() -> None:
    generator = np.random.default_rng(1)
    emails = unit(generator.normal(size=(200, 64)).astype(np.float32))
    targets = generator.integers(4, size=200)
    noise = LabelledVectors(emails, targets, np.ones(200, dtype=np.float32))
    texts = unit(generator.normal(size=(4, 64)).astype(np.float32))
    found = cross_fit_prototypes(("a", "b", "c", "d"), texts, noise, np.arange(200) % 5, top_k=4)
    # Labels drawn by lot cannot be known out of sample.
    assert (found.labels[:, 0] == targets).mean() < 0.4
    assert found.labels.shape == found.similarities.shape == (200, 4)
    assert (np.diff(found.similarities, axis=1) <= 0).all()


def test_the_blend_trusts_whoever_is_right() -> None:
    generator = np.random.default_rng(2)
    targets: list[int | None] = generator.integers(5, size=200).tolist()
    right = [np.eye(5, dtype=np.float32)[target] for target in targets]
    noise = [generator.normal(size=5).astype(np.float32) for _ in targets]
    by_score = fit_blend([4 * row for row in right], noise, targets, scale=20.0)
    by_similarity = fit_blend(noise, right, targets, scale=20.0)
    assert by_score.similarity_weight == 0.0
    assert by_similarity.similarity_weight > 5
    assert by_score.top1 == by_similarity.retrieval_top1 == 1.0


def test_sets_without_the_right_candidate_count_as_wrong() -> None:
    rows = [np.array([1.0, 0.0], dtype=np.float32)] * 4
    assert fit_blend(rows, rows, [0, None, 0, None], scale=20.0).top1 == 0.5
