"""Warnings about taxonomies that load, and labels that cannot be told apart."""

from pathlib import Path

import numpy as np
import pytest

from mailroom.taxonomy import Label, Taxonomy, check, find_indistinguishable, load_taxonomy


def flat(*names: str) -> Taxonomy:
    return Taxonomy([Label(f"{i}", name, (name,)) for i, name in enumerate(names)])


def warnings(folder: Path, text: str) -> list[tuple[int | None, str]]:
    (folder / "t.yaml").write_text(text, encoding="utf-8")
    problems = check(load_taxonomy(folder / "t.yaml"))
    assert all(problem.severity == "warning" for problem in problems)
    return [(problem.line, problem.message) for problem in problems]


def test_clean_taxonomy_has_no_warnings(tmp_path: Path) -> None:
    text = "- {name: a, overlaps: [b], description: x}\n- {name: b, overlaps: [a], description: y}\n"
    assert warnings(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("- {name: a, description: x}\n- b\n", 2, "'b' has no description"),
        ("- {name: a, examples: [Same]}\n- {name: b, examples: [same]}\n", 2, "shares an example with 'a'"),
        ("- {name: a, aliases: [x]}\n- {name: b, aliases: [X]}\n", 2, "alias 'X' of 'b' is also one of 'a'"),
        ("- {name: a, aliases: [b]}\n- b\n", 1, "is the id of another label"),
        ("- {id: a, name: Refund}\n- {id: b, name: refund}\n", 2, "'b' reads exactly as 'a'"),
        ("- {name: a, overlaps: [g]}\n- {name: g, overlaps: [a], children: [b]}\n", 1, "not assignable"),
    ],
)
def test_each_flaw_is_named_with_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    [(found_line, message)] = warnings(tmp_path, text)
    assert found_line == line
    assert said in message


def test_an_overlap_that_one_side_names_holds_for_both(tmp_path: Path) -> None:
    text = "- {name: a, overlaps: [b]}\n- b\n"
    assert warnings(tmp_path, text) == []
    path = tmp_path / "labels.yaml"
    path.write_text(text, encoding="utf-8")
    assert load_taxonomy(path)["b"].overlaps == ("a",)


def test_close_vectors_are_found_across_blocks_whatever_their_length() -> None:
    rng = np.random.default_rng(7)
    vectors = rng.normal(size=(1300, 16))
    vectors[1200] = 3 * vectors[4]
    vectors[700] = vectors[699] + 0.01
    taxonomy = flat(*(f"n{i}" for i in range(1300)))
    pairs = find_indistinguishable(taxonomy, vectors, 0.999)
    assert [(a.name, b.name) for a, b, _ in pairs] == [("n4", "n1200"), ("n699", "n700")]
    assert pairs[0][2] == pytest.approx(1.0, abs=1e-6)
    assert all(0.999 <= similarity <= 1.0 for _, _, similarity in pairs)


def test_blockwise_pairs_equal_the_full_comparison() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(600, 3))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    expected = {(i, j) for i in range(600) for j in range(i + 1, 600) if cosine[i, j] >= 0.9995}
    found = find_indistinguishable(flat(*map(str, range(600))), vectors, 0.9995)
    assert {(int(a.id), int(b.id)) for a, b, _ in found} == expected
    assert expected


def test_pairs_are_bounded_when_all_labels_are_the_same() -> None:
    taxonomy = flat(*["same"] * 3000)
    assert len(find_indistinguishable(taxonomy, np.ones((3000, 8)), 0.99)) == 1000
    assert len(find_indistinguishable(taxonomy)) == 2999


def test_zero_vectors_are_like_nothing() -> None:
    assert find_indistinguishable(flat("a", "b"), np.zeros((2, 4)), 0.5) == []


def test_vectors_must_fit_the_labels() -> None:
    with pytest.raises(ValueError, match="expected 2 vectors"):
        find_indistinguishable(flat("a", "b"), np.ones((3, 4)))
