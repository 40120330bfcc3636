"""Candidate sets drawn by other processes are those that one process draws, whole and in order."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mailroom.train.candidate_sets import CHUNK, CandidateSampler, SamplingSettings, Vectors, embed_set
from mailroom.train.drawn_examples import DrawnExamples
from mailroom.train.label_sets import LabelSet
from mailroom.train.one_pass_weights import from_encoder
from tests.train.small_models import WORDS, make_encoder

COUNT = 2 * CHUNK + 7


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("encoder"), initializer_range=0.1)


def embed(texts: Sequence[str]) -> Vectors:
    """The same vector for every text: which label is nearest does not matter here."""
    return np.full((len(texts), 4), 0.5, dtype=np.float32)


def sampler() -> CandidateSampler:
    labels = LabelSet("desk", tuple((word,) for word in WORDS), tuple(WORDS), tuple(range(len(WORDS))))
    return CandidateSampler([embed_set(labels, embed)], [1.0], COUNT, 3, SamplingSettings())


def test_processes_draw_what_one_draws(encoder: Path) -> None:
    config, tokenizer = from_encoder(encoder).config, encoder / "tokenizer.json"
    alone = DrawnExamples(sampler(), tokenizer, config)
    with DrawnExamples(sampler(), tokenizer, config, workers=2) as drawn:
        found = [drawn(0), drawn(1), drawn(0)]
    assert len(found[0]) == COUNT
    assert found == [alone(0), alone(1), alone(0)]
    assert found[0] != found[1]


def test_emails_are_cut_as_the_config_says(encoder: Path) -> None:
    config = dataclasses.replace(from_encoder(encoder).config, max_email_tokens=4)
    examples = DrawnExamples(sampler(), encoder / "tokenizer.json", config)(0)
    assert max(len(example.email) for example in examples) == 4
