"""Label sets from disk and from the project's own data, and the candidate sets drawn from them."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mailroom.errors import DataError
from mailroom.train.candidate_sets import (
    CHUNK,
    CandidateSampler,
    EmbeddedSet,
    SamplingSettings,
    as_letter,
    embed_set,
)
from mailroom.train.label_sets import WORDINGS, LabelSet, Wording, read_label_set, read_mailboxes

TREE = LabelSet(
    name="desk",
    paths=(
        ("Orders", "Late"),
        ("Orders", "Broken"),
        ("Money", "Refund"),
        ("Money", "Late"),
        ("Staff", "Praise"),
    ),
    texts=("where is it", "it is cracked", "money back", "you never paid", "so kind", "still waiting"),
    targets=(0, 1, 2, 3, 4, 0),
    descriptions=("not there yet", "arrived damaged", "wants money", "unpaid", ""),
    aliases=(("delay", "overdue parcel"), ("damage",), (), ("delay",), ("thanks",)),
)
OTHER = LabelSet("other", (("Refund",), ("Weather",)), ("it rains", "pay me"), (1, 0))


def embed(texts: Sequence[str]) -> np.ndarray:
    """Unit vectors from the texts' characters: the same text, the same vector."""
    rows = [np.random.default_rng(list(text.encode())).normal(size=16) for text in texts]
    return np.array([row / np.linalg.norm(row) for row in rows], dtype=np.float32)


def sampler(settings: SamplingSettings, sets: Sequence[LabelSet] = (TREE, OTHER)) -> CandidateSampler:
    embedded: list[EmbeddedSet] = [embed_set(item, embed) for item in sets]
    return CandidateSampler(embedded, [3.0, 1.0][: len(sets)], 200, 7, settings)


def write_set(directory: Path) -> Path:
    directory.mkdir()
    labels = [{"id": "a_b", "path": ["Top", "mid", "a_b"]}, {"id": "c", "path": ["Top", "other", "a_b"]}]
    (directory / "taxonomy.json").write_text(json.dumps({"labels": labels}))
    rows = [{"subject": "", "body": "x", "label": "a_b"}, {"subject": "s", "body": "y", "label": "c"}]
    (directory / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return directory


def test_names_are_paths_where_the_last_name_is_shared() -> None:
    assert TREE.wordings("name") == ("Orders > Late", "Broken", "Refund", "Money > Late", "Praise")
    assert TREE.wordings("name_description")[4] == "Praise"
    assert TREE.wordings("description")[:2] == ("not there yet", "arrived damaged")
    assert TREE.wordings("id")[0] == "orders_late"


def test_an_alias_that_two_labels_share_gives_way_to_the_name() -> None:
    assert TREE.wordings("alias") == ("Orders > Late", "damage", "Refund", "Money > Late", "thanks")
    assert TREE.wordings("alias_path")[0] == "Orders > overdue parcel"
    assert TREE.wordings("alias_path")[2] == "Money > Refund"
    assert OTHER.wordings("alias") == OTHER.names


def test_a_set_is_read_and_its_paths_can_be_cut(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    whole = read_label_set(folder, "train")
    assert whole.texts == ("x", "s\ny")
    assert whole.paths[whole.targets[0]] == ("Top", "mid", "a b")
    cut = read_label_set(folder, "train", path_parts=(0, 2))
    assert cut.paths == (("Top", "a b"),)
    assert cut.targets == (0, 0)


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"taxonomy\.json"):
        read_label_set(tmp_path, "train")
    folder = write_set(tmp_path / "set")
    (folder / "train.jsonl").write_text('{"subject": "", "body": "x", "label": "unknown"}')
    with pytest.raises(DataError, match="known label"):
        read_label_set(folder, "train")


def test_the_projects_mailboxes_are_whole() -> None:
    mailboxes = read_mailboxes()
    assert len(mailboxes) >= 70
    for mailbox in mailboxes:
        assert all(mailbox.of_label()), mailbox.name
        assert all(mailbox.descriptions), mailbox.name
        assert len(set(mailbox.paths)) == len(mailbox.paths), mailbox.name
        assert len(set(mailbox.texts)) == len(mailbox.texts), mailbox.name


def test_an_epoch_is_the_same_for_a_seed_and_fresh_the_next_time() -> None:
    draw = sampler(SamplingSettings())
    assert draw(0) == draw(0)
    assert draw(0) != draw(1)


def test_parts_of_an_epoch_are_the_same_in_any_order() -> None:
    embedded = [embed_set(item, embed) for item in (TREE, OTHER)]
    draw = CandidateSampler(embedded, [3.0, 1.0], CHUNK + 20, 7, SamplingSettings())
    last, first = draw.chunk(3, 1), draw.chunk(3, 0)
    assert (draw.chunks, len(first), len(last)) == (2, CHUNK, 20)
    assert first + last == draw(3)
    assert last != first[:20]


def test_sets_and_wordings_are_drawn_as_often_as_asked() -> None:
    settings = SamplingSettings(
        foreign_share=0, letter_share=0, description_as_text_share=0, wording_shares=(3, 0, 0, 0, 1, 0, 0)
    )
    embedded = [embed_set(item, embed) for item in (TREE, OTHER)]
    examples = CandidateSampler(embedded, [3.0, 1.0], 4000, 7, settings)(0)
    own = [example for example in examples if example.text in TREE.texts]
    named = [example for example in own if set(example.candidates) <= set(TREE.names)]
    assert len(own) / 4000 == pytest.approx(0.75, abs=0.03)
    assert len(named) / len(own) == pytest.approx(0.75, abs=0.03)
    # OTHER has no descriptions: only its names are shown.
    rest = [example for example in examples if example.text in OTHER.texts]
    assert all(set(example.candidates) <= set(OTHER.names) for example in rest)


def test_candidate_sets_that_leave_no_choice_are_refused() -> None:
    with pytest.raises(DataError, match="at least 2 labels"):
        SamplingSettings(min_candidates=1, max_candidates=1)
    with pytest.raises(DataError, match="got 4 to 3"):
        SamplingSettings(max_candidates=3)


def test_the_right_candidate_is_there_once_and_no_text_twice() -> None:
    for example in sampler(SamplingSettings(max_candidates=4))(0):
        folded = [candidate.casefold() for candidate in example.candidates]
        assert len(set(folded)) == len(folded)
        assert 2 <= len(folded) <= 4


def test_competitors_are_the_nearest_labels() -> None:
    settings = SamplingSettings(
        min_labels=5, min_candidates=3, max_candidates=3, sibling_share=0, foreign_share=0, letter_share=0,
        description_as_text_share=0, wording_shares=(1, 0, 0, 0, 0, 0, 0),
    )  # fmt: skip
    names, vectors = TREE.wordings("name"), embed(TREE.wordings("name"))
    for example in sampler(settings, [TREE])(0):
        row = TREE.texts.index(example.text)
        target = TREE.targets[row]
        similarities = vectors @ embed([example.text])[0]
        nearest = [label for label in np.argsort(-similarities) if label != target][:2]
        assert set(example.candidates) == {names[target], *(names[label] for label in nearest)}


def test_descriptions_stand_in_for_texts_and_never_show_themselves() -> None:
    examples = sampler(SamplingSettings(description_as_text_share=1.0, letter_share=0))(0)
    described = [example for example in examples if example.text in TREE.descriptions]
    assert described
    assert not any(example.text in candidate for example in described for candidate in example.candidates)


def test_foreign_labels_come_only_when_asked_for() -> None:
    own = {text for kind in ("name", "path", "id") for text in TREE.wordings(kind)}
    texts = {
        share: {
            candidate
            for example in sampler(
                SamplingSettings(foreign_share=share, wording_shares=(1, 1, 1, 0, 0, 0, 0))
            )(0)
            if example.text in TREE.texts
            for candidate in example.candidates
        }
        for share in (0.0, 1.0)
    }
    assert texts[0.0] <= own
    assert not texts[1.0] <= own


def test_foreign_labels_that_mean_the_same_are_no_competitors() -> None:
    twin = dataclasses.replace(
        TREE, name="twin", paths=tuple((*path[:1], f"{path[1]}!") for path in TREE.paths)
    )
    settings = SamplingSettings(foreign_share=1.0, wording_shares=(1, 0, 0, 0, 0, 0, 0), letter_share=0)
    meaning = embed(TREE.wordings("name_description"))
    sets = [EmbeddedSet(item, embed(item.texts), embedded_wordings(item, meaning)) for item in (TREE, twin)]
    for example in CandidateSampler(sets, [1.0, 0.0], 100, 7, settings)(0):
        assert example.candidates[int(str(example.target))] + "!" not in example.candidates


def embedded_wordings(labels: LabelSet, meaning: np.ndarray) -> dict[Wording, np.ndarray]:
    return {kind: meaning if "description" in kind else embed(labels.wordings(kind)) for kind in WORDINGS}


def test_a_letter_keeps_the_text() -> None:
    letter = as_letter("where is my card", np.random.default_rng(0))
    assert "Where is my card." in letter
    assert letter.count("\n") >= 4


def test_a_set_without_texts_is_refused() -> None:
    empty = LabelSet("empty", (("A",), ("B",)), (), ())
    with pytest.raises(DataError, match="texts"):
        CandidateSampler([EmbeddedSet(empty, embed([]), {})], [1.0], 5, 0, SamplingSettings())
