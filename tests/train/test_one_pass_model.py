"""The invariances of the one-pass reading, and its start as the bi-encoder."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mailroom.errors import ModelError
from mailroom.train.one_pass_model import Batch, OnePassModel
from mailroom.train.one_pass_weights import from_encoder, load_one_pass, save_one_pass
from tests.train.small_models import SPECIALS, WORDS, make_encoder

TOLERANCE = 2e-5
Ids = list[int]
tokens = st.integers(len(SPECIALS), len(SPECIALS) + len(WORDS) - 1)
label = st.lists(tokens, min_size=1, max_size=6).map(lambda ids: [1, *ids, 2])
email = st.lists(tokens, min_size=0, max_size=20).map(lambda ids: [1, *ids, 2])


def batch_of(rows: Sequence[tuple[Ids, Sequence[Ids]]], pad_email: int = 0, pad_labels: int = 0) -> Batch:
    longest = max(len(text) for text, _ in rows) + pad_email
    flat = [[token for candidate in candidates for token in candidate] for _, candidates in rows]
    width = max(len(ids) for ids in flat) + pad_labels
    count = max(len(candidates) for _, candidates in rows) + pad_labels
    return Batch(
        torch.tensor([text + [0] * (longest - len(text)) for text, _ in rows]),
        torch.tensor([len(text) for text, _ in rows]),
        torch.tensor([ids + [0] * (width - len(ids)) for ids in flat]),
        torch.tensor(
            [[len(c) for c in candidates] + [0] * (count - len(candidates)) for _, candidates in rows]
        ),
    )


def scores_of(model: OnePassModel, text: Ids, candidates: Sequence[Ids]) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model(batch_of([(text, candidates)]))
    return result[0, : len(candidates)]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def model(encoder: Path) -> OnePassModel:
    made = from_encoder(encoder, initial_gate=-0.5)
    with torch.no_grad():
        made.gate.add_(torch.randn(made.gate.shape, generator=torch.Generator().manual_seed(3)))
    return made.eval()


@settings(max_examples=30, deadline=None)
@given(text=email, candidates=st.lists(label, min_size=2, max_size=8), others=st.lists(label, max_size=8))
def test_score_does_not_depend_on_the_other_candidates(
    model: OnePassModel, text: Ids, candidates: list[Ids], others: list[Ids]
) -> None:
    alone = torch.cat([scores_of(model, text, [candidate]) for candidate in candidates])
    together = scores_of(model, text, [*candidates, *others])[: len(candidates)]
    backwards = scores_of(model, text, candidates[::-1]).flip(0)
    assert torch.allclose(alone, together, atol=TOLERANCE)
    assert torch.allclose(alone, backwards, atol=TOLERANCE)


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(st.tuples(email, st.lists(label, min_size=1, max_size=6)), min_size=1, max_size=4))
def test_padding_and_company_in_the_batch_change_nothing(
    model: OnePassModel, rows: list[tuple[Ids, list[Ids]]]
) -> None:
    with torch.no_grad():
        padded = model(batch_of(rows, pad_email=5, pad_labels=3))
    for row, (text, candidates) in enumerate(rows):
        expected = scores_of(model, text, candidates)
        assert torch.allclose(padded[row, : len(candidates)], expected, atol=TOLERANCE)
        assert torch.isneginf(padded[row, len(candidates) :]).all()


@pytest.mark.parametrize("count", [1, 2, 20, 64])
def test_any_number_of_candidates(model: OnePassModel, count: int) -> None:
    candidates = [[1, 4 + index % len(WORDS), 2] for index in range(count)]
    scores = scores_of(model, [1, 5, 6, 2], candidates)
    assert scores.shape == (count,)
    assert torch.isfinite(scores).all()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_with_the_gate_shut_it_is_the_bi_encoder(tmp_path: Path, family: str, pooling: str) -> None:
    from transformers import AutoModel

    directory = make_encoder(tmp_path, family)
    made = from_encoder(directory, pooling=pooling).eval()
    with torch.no_grad():
        made.gate.fill_(float("-inf"))
    reference = AutoModel.from_pretrained(directory).eval()

    def embed(ids: Ids) -> torch.Tensor:
        with torch.no_grad():
            states = reference(input_ids=torch.tensor([ids])).last_hidden_state[0]
        return torch.nn.functional.normalize(states[0] if pooling == "cls" else states.mean(dim=0), dim=0)

    text, candidates = [1, 7, 9, 12, 8, 2], [[1, 4, 5, 2], [1, 9, 2], [1, 14, 15, 16, 2]]
    similarity = torch.stack([embed(text) @ embed(candidate) for candidate in candidates])
    scores = scores_of(made, text, candidates)
    assert torch.allclose(scores / made.config.initial_scale, similarity, atol=TOLERANCE)


def test_an_open_gate_lets_the_email_change_the_reading(model: OnePassModel) -> None:
    candidates = [[1, 4, 5, 2]]
    first = model.encode_email(torch.tensor([[1, 6, 2]]), torch.tensor([3]))
    second = model.encode_email(torch.tensor([[1, 9, 2]]), torch.tensor([3]))
    first.pooled = second.pooled
    ids, lengths = torch.tensor(candidates), torch.tensor([[4]])
    with torch.no_grad():
        changed = model.score_candidates(first, ids, lengths) - model.score_candidates(second, ids, lengths)
    assert abs(float(changed)) > 1e-3


def test_every_parameter_learns(encoder: Path) -> None:
    made = from_encoder(encoder).train()
    scores = made(batch_of([([1, 5, 6, 2], [[1, 4, 2], [1, 7, 8, 2]]), ([1, 9, 2], [[1, 4, 2], [1, 5, 2]])]))
    torch.nn.functional.cross_entropy(scores, torch.tensor([0, 1])).backward()  # type: ignore[no-untyped-call]
    still = [name for name, p in made.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A key's bias adds the same to every key of a stream; softmax sees it only between the two streams.
    assert [name for name in still if "key.bias" not in name] == []


@pytest.mark.parametrize(
    "choices", [{}, {"readout": "linear", "positions": "continued"}, {"separate_candidate_tower": True}]
)
def test_saved_and_loaded_it_scores_the_same(
    tmp_path: Path, encoder: Path, choices: dict[str, object]
) -> None:
    made = from_encoder(encoder, max_email_tokens=32, max_label_tokens=16, **choices).eval()
    with torch.no_grad():
        made.gate.uniform_(-3, 0)
    save_one_pass(made, tmp_path / "saved", encoder)
    loaded = load_one_pass(tmp_path / "saved").eval()
    assert loaded.config == made.config
    text, candidates = [1, 6, 7, 2], [[1, 4, 2], [1, 8, 9, 2]]
    assert torch.equal(scores_of(loaded, text, candidates), scores_of(made, text, candidates))


def test_others_load_the_saved_encoder(tmp_path: Path, encoder: Path) -> None:
    from transformers import AutoModel

    made = from_encoder(encoder).eval()
    save_one_pass(made, tmp_path / "saved", encoder)
    original = AutoModel.from_pretrained(encoder, add_pooling_layer=False).eval()
    reread = AutoModel.from_pretrained(tmp_path / "saved", add_pooling_layer=False).eval()
    ids = torch.tensor([[1, 5, 6, 7, 2]])
    with torch.no_grad():
        difference = original(ids).last_hidden_state - reread(ids).last_hidden_state
    assert float(difference.abs().max()) == 0.0


def test_half_precision_on_disk_keeps_the_ranking(tmp_path: Path, encoder: Path, model: OnePassModel) -> None:
    save_one_pass(model, tmp_path / "half", encoder, dtype=torch.float16)
    loaded = load_one_pass(tmp_path / "half").eval()
    candidates = [[1, 4, 5, 2], [1, 9, 2], [1, 14, 2]]
    exact, half = (scores_of(m, [1, 7, 9, 2], candidates) for m in (model, loaded))
    assert exact.argsort().tolist() == half.argsort().tolist()


def test_a_plain_encoder_is_refused_as_a_cross_encoder(encoder: Path) -> None:
    with pytest.raises(ModelError, match="no one-pass cross-encoder"):
        load_one_pass(encoder)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    from transformers import DistilBertConfig, DistilBertModel

    DistilBertModel(
        DistilBertConfig(vocab_size=30, dim=24, n_heads=4, n_layers=1, hidden_dim=40)
    ).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="distilbert"):
        from_encoder(tmp_path)


def test_non_finite_weights_are_refused(tmp_path: Path, encoder: Path) -> None:
    made = from_encoder(encoder)
    with torch.no_grad():
        made.word_embeddings.weight[0, 0] = float("nan")
    save_one_pass(made, tmp_path, encoder)
    with pytest.raises(ModelError, match="non-finite"):
        load_one_pass(tmp_path)


def test_missing_tensors_and_damaged_files_are_refused(tmp_path: Path, encoder: Path) -> None:
    made = from_encoder(encoder)
    save_one_pass(made, tmp_path, encoder)
    (tmp_path / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(ModelError, match="safetensors"):
        load_one_pass(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="holds no"):
        load_one_pass(tmp_path)


def test_more_positions_than_the_encoder_has_are_refused(encoder: Path) -> None:
    with pytest.raises(ModelError, match="positions"):
        from_encoder(encoder, max_email_tokens=60, max_label_tokens=30, positions="continued")
