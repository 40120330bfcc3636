"""Adaptation: hidden words are learned, vectors stay, and a killed run ends as an undisturbed one."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mailroom.errors import ConfigError, DataError, ModelError
from mailroom.models.bi_encoder import BiEncoder
from mailroom.models.export import export_bi_encoder
from mailroom.train.adaptation import (
    AdaptationModel,
    AdaptationResult,
    AdaptationSettings,
    AdaptationTask,
    adapt_encoder,
    epochs_for,
)
from mailroom.train.loop import Progress
from mailroom.train.masking import Vocabulary
from mailroom.train.text_encoder import TextEncoder
from mailroom.train.train_settings import TrainSettings
from tests.models.tiny import make_bi_encoder

TRAINING = TrainSettings(
    epochs=8,
    batch_size=8,
    learning_rate=2e-3,
    read_out_learning_rate=1e-2,
    dropout=0.0,
    freeze_embeddings=True,
    precision="fp32",
    threads=1,
)
SETTINGS = AdaptationSettings(training=TRAINING, max_tokens=24, geometry_weight=1.0)
LABELS = ("delivery of a parcel", "password reset")
WORDS = ("parcel", "password", "invoice", "money")


def make_texts(count: int, seed: int = 0) -> list[str]:
    """Texts in which one word tells the others."""
    generator = np.random.default_rng(seed)
    return [
        f"please {WORDS[one]} was {WORDS[one]} last month {WORDS[other]}"
        for one, other in generator.integers(4, size=(count, 2)).tolist()
    ]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    make_bi_encoder(folder, "bert", "mean", prompts={"query": "query: ", "document": "passage: "})
    return folder / "model"


def adapted(source: Path, out: Path, settings: AdaptationSettings, texts: int = 64) -> AdaptationResult:
    return adapt_encoder(source, out, make_texts(texts), LABELS, settings)


def task_of(source: Path, texts: list[str]) -> AdaptationTask:
    encoder = TextEncoder(source, 24)
    vocabulary = Vocabulary.of(encoder, source)
    rows = [encoder.email_ids(text) for text in texts]
    model = AdaptationModel(encoder, vocabulary, 0)
    return AdaptationTask(model, vocabulary, rows, TextEncoder(source, 24), SETTINGS)


def test_hidden_words_are_learned(source: Path, tmp_path: Path) -> None:
    losses: list[float] = []
    free = dataclasses.replace(SETTINGS, geometry_weight=0.0)
    result = adapt_encoder(
        source, tmp_path / "out", make_texts(64), LABELS, free, progress=lambda p: losses.append(p.loss)
    )
    assert losses[-1] < losses[0] - 1
    assert result.words_said > 0.3
    assert result.texts == 66


def test_the_heavier_the_geometry_the_less_vectors_move(source: Path, tmp_path: Path) -> None:
    likeness = [
        adapted(
            source, tmp_path / str(weight), dataclasses.replace(SETTINGS, geometry_weight=weight)
        ).likeness
        for weight in (0.0, 10.0, 1e5)
    ]
    assert likeness[0] < likeness[1] < likeness[2]
    assert likeness[0] < 0.95
    assert likeness[2] > 0.995


def test_nothing_has_moved_before_the_first_step(source: Path) -> None:
    task = task_of(source, make_texts(8))
    encoder = task.module.encoder
    rows = [encoder.email_ids(text) for text in make_texts(8)]
    with torch.no_grad():
        assert float(task.moved(rows)) == pytest.approx(0.0, abs=1e-5)


def test_padding_changes_no_state(source: Path) -> None:
    short, long = "please money was paid", "please " * 20 + "password"
    task = task_of(source, [short, long])
    rows = [task.module.encoder.email_ids(text) for text in (short, long)]
    task.module.eval()
    with torch.no_grad():
        states = task.module.encoder.token_states(rows)
        alone = torch.cat([task.module.encoder.token_states([row]) for row in rows])
    assert states.shape == (sum(map(len, rows)), 32)
    assert torch.allclose(states, alone, atol=1e-4)


@pytest.mark.parametrize("killed_at", [4, 11])
def test_a_killed_run_goes_on_to_the_same_weights(source: Path, tmp_path: Path, killed_at: int) -> None:
    training = dataclasses.replace(TRAINING, epochs=3, checkpoint_every_steps=3, dropout=0.1)
    settings = dataclasses.replace(SETTINGS, training=training)
    data = (make_texts(40), LABELS, settings)
    whole = adapt_encoder(source, tmp_path / "whole", *data, checkpoint_dir=tmp_path / "a")

    def kill(progress: Progress) -> None:
        if progress.step == killed_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adapt_encoder(source, tmp_path / "broken", *data, checkpoint_dir=tmp_path / "b", progress=kill)
    again = adapt_encoder(source, tmp_path / "broken", *data, checkpoint_dir=tmp_path / "b")
    assert dataclasses.replace(again, directory=whole.directory) == whole
    expected, found = (TextEncoder(one.directory, 24).state_dict() for one in (whole, again))
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_the_adapted_folder_exports_as_its_base_does(source: Path, tmp_path: Path) -> None:
    result = adapted(source, tmp_path / "out", SETTINGS)
    config = export_bi_encoder(result.directory, tmp_path / "exported")
    assert (config["query_prompt"], config["passage_prompt"]) == ("query: ", "passage: ")
    text = make_texts(1)[0]
    served = BiEncoder.load(tmp_path / "exported", "fp32").encode_query(text)
    encoder = TextEncoder(result.directory, 24)
    # Not `encode`, which reads in bf16 where the processor has it.
    with torch.no_grad():
        trained = encoder([encoder.email_ids(text)])[0].numpy()
    assert served / np.linalg.norm(served) == pytest.approx(trained, abs=1e-4)


def test_a_budget_is_kept(source: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, training=dataclasses.replace(TRAINING, epochs=10_000))
    begun = time.monotonic()
    result = adapt_encoder(source, tmp_path / "out", make_texts(40), LABELS, settings, budget_s=1.0)
    assert result.training.stopped_early
    assert time.monotonic() - begun < 20


def test_no_text_is_an_error(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got none"):
        adapt_encoder(source, tmp_path / "out", [], LABELS, SETTINGS)


def test_an_encoder_that_hides_no_words_is_named(tmp_path: Path) -> None:
    make_bi_encoder(tmp_path, "qwen3", "lasttoken")
    with pytest.raises(ModelError, match="'qwen3' model cannot be adapted"):
        adapted(tmp_path / "model", tmp_path / "out", SETTINGS)


@pytest.mark.parametrize("family", ["mpnet", "xlm-roberta", "roberta", "modernbert"])
def test_other_families_learn_too(tmp_path: Path, family: str) -> None:
    make_bi_encoder(tmp_path, family, "mean")
    one = dataclasses.replace(SETTINGS, training=dataclasses.replace(TRAINING, epochs=1))
    assert adapted(tmp_path / "model", tmp_path / "out", one, 16).training.steps == 3


@pytest.mark.parametrize(
    ("name", "value"), [("geometry_weight", -1.0), ("max_tokens", 2), ("masked_share", 0.0)]
)
def test_settings_that_train_nothing_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        AdaptationSettings(**{name: value})  # type: ignore[arg-type]


def test_few_texts_are_read_more_often() -> None:
    assert [epochs_for(count) for count in (1, 3_000, 6_000, 1_000_000)] == [4, 2, 1, 1]
