"""Every supported layout, exported and compared with what sentence-transformers itself computes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

from sentence_transformers import SentenceTransformer

from mailroom.models.bi_encoder import BiEncoder
from mailroom.models.cross_encoder import load_cross_encoder
from mailroom.models.export import NLI_TEMPLATE, export_bi_encoder, export_cross_encoder
from tests.models import tiny

E5 = {"query": "query: ", "passage": "passage: "}
BGE = {"query": "Represent this sentence for searching relevant passages: "}

BI_ENCODERS: dict[str, dict[str, Any]] = {
    "minilm": {"family": "bert", "pooling": "mean"},
    "bge": {"family": "bert", "pooling": "cls", "prompts": BGE},
    "raw-length": {"family": "bert", "pooling": "mean", "normalize": False},
    "e5-multilingual": {"family": "xlm-roberta", "pooling": "mean", "prompts": E5},
    "mpnet": {"family": "mpnet", "pooling": "mean"},
    "roberta": {"family": "roberta", "pooling": "cls", "normalize": False},
    "instructor": {
        "family": "bert",
        "pooling": "mean",
        "include_prompt": False,
        "prompts": {"query": "Represent the letter: ", "document": "passage: "},
    },
    "instructor-cls": {"family": "bert", "pooling": "cls", "include_prompt": False, "prompts": E5},
    "dense": {"family": "bert", "pooling": "mean", "dense": True},
    "default-prompt": {
        "family": "bert",
        "pooling": "mean",
        "prompts": {"any": "any: "},
        "default_prompt": "any",
    },
    "last-token": {"family": "bert", "pooling": "lasttoken"},
    "gte-modernbert": {"family": "modernbert", "pooling": "cls"},
    "qwen3": {"family": "qwen3", "pooling": "lasttoken", "prompts": {"query": "Instruct: sort\nQuery:"}},
}
FAST = {"minilm", "e5-multilingual", "instructor"}
HEADS = {
    "one-logit": ("bert", ["LABEL_0"]),
    "nli": ("bert", ["contradiction", "entailment", "neutral"]),
    "nli-roberta": ("roberta", ["CONTRADICTION", "NEUTRAL", "ENTAILMENT"]),
    "nli-two": ("xlm-roberta", ["entailment", "not_entailment"]),
}


def _slow_unless(names: dict[str, Any], fast: set[str]) -> list[Any]:
    return [pytest.param(name, marks=() if name in fast else pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", _slow_unless(BI_ENCODERS, FAST))
def test_bi_encoder_equals_sentence_transformers(tmp_path: Path, name: str) -> None:
    model = tiny.make_bi_encoder(tmp_path, **BI_ENCODERS[name])
    export_bi_encoder(tmp_path / "model", tmp_path / "out")
    exported = BiEncoder.load(tmp_path / "out", "fp32")
    queries = np.stack([exported.encode_query(text) for text in tiny.TEXTS])
    expected = np.stack([model.encode_query(text) for text in tiny.TEXTS])
    np.testing.assert_allclose(queries, expected, atol=1e-4)
    expected = np.stack([model.encode_document(text) for text in tiny.TEXTS])
    np.testing.assert_allclose(exported.encode_passages(tiny.TEXTS), expected, atol=1e-4)
    assert exported.dimension == expected.shape[1]
    # The comparison is worth nothing if every text has the same vector.
    assert np.abs(expected[0] - expected[3]).max() > 0.01


@pytest.mark.slow
def test_plain_transformer_is_pooled_by_mean(tmp_path: Path) -> None:
    source = tiny.make_transformer(tmp_path / "model", "bert")
    export_bi_encoder(source, tmp_path / "out")
    exported = BiEncoder.load(tmp_path / "out", "fp32")
    expected = SentenceTransformer(str(source), device="cpu").encode(tiny.TEXTS[0])
    np.testing.assert_allclose(exported.encode_query(tiny.TEXTS[0]), expected, atol=1e-4)


@pytest.mark.slow
def test_given_prompts_replace_those_of_the_model(tmp_path: Path) -> None:
    model = tiny.make_bi_encoder(tmp_path, "bert", "mean", prompts=BGE)
    export_bi_encoder(
        tmp_path / "model", tmp_path / "out", query_prompt="query: ", passage_prompt="passage: "
    )
    exported = BiEncoder.load(tmp_path / "out", "fp32")
    text = tiny.TEXTS[0]
    np.testing.assert_allclose(exported.encode_query(text), model.encode(f"query: {text}"), atol=1e-4)
    np.testing.assert_allclose(
        exported.encode_passages([text])[0], model.encode(f"passage: {text}"), atol=1e-4
    )


@pytest.mark.parametrize("name", _slow_unless(HEADS, {"one-logit", "nli"}))
def test_cross_encoder_equals_sentence_transformers(tmp_path: Path, name: str) -> None:
    import torch

    family, logits = HEADS[name]
    model = tiny.make_cross_encoder(tmp_path / "model", family, logits)
    export_cross_encoder(tmp_path / "model", tmp_path / "out")
    exported = load_cross_encoder(tmp_path / "out", "fp32")
    labels = ["delivery of a parcel", "password reset", "x " * 60]
    column = [label.lower() for label in logits].index("entailment") if len(logits) > 1 else 0
    for text in tiny.TEXTS:
        template = "{label}" if len(logits) == 1 else NLI_TEMPLATE
        pairs = [(text, template.replace("{label}", label)) for label in labels]
        expected = model.predict(pairs, activation_fn=torch.nn.Identity()).reshape(len(pairs), -1)[:, column]
        np.testing.assert_allclose(exported.score(text, labels), expected, atol=1e-4)
    assert exported.kind == "pairwise"
    assert exported.score("any", []).shape == (0,)
