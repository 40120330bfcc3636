"""The bi-encoder's training: it learns, keeps its layout, resumes bit for bit, and keeps its budget."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mailroom.errors import ConfigError, DataError, ModelError
from mailroom.models.bi_encoder import BiEncoder
from mailroom.models.export import export_bi_encoder
from mailroom.models.prototypes import LabelledVectors, choose_fit, fit_prototypes, plain_fit
from mailroom.records import Example
from mailroom.taxonomy import load_taxonomy
from mailroom.train.bi_encoder import (
    LEAST_VALIDATION,
    BiEncoderResult,
    TaughtText,
    _encode,
    train_bi_encoder,
)
from mailroom.train.bi_encoder_settings import BiEncoderSettings, epochs_for
from mailroom.train.label_texts import LabelTexts, encode_label_texts, label_texts
from mailroom.train.loop import Progress
from mailroom.train.retrieval_task import RetrievalModel, RetrievalTask, _closed
from mailroom.train.text_encoder import TextEncoder, layer_of
from mailroom.train.train_settings import TrainSettings
from tests.models.tiny import make_bi_encoder

TRAINING = TrainSettings(
    epochs=3,
    batch_size=8,
    learning_rate=2e-3,
    read_out_learning_rate=2e-2,
    dropout=0.0,
    precision="fp32",
    threads=1,
)
SETTINGS = BiEncoderSettings(training=TRAINING, max_tokens=24, wordings_weight=0.0)
NAMES = ("delivery of a parcel", "password reset", "refunds", "the invoice")
LABELS = tuple(LabelTexts(name, ((name,), (f"about {name}",))) for name in NAMES)
WORDS = ("parcel", "password", "invoice", "money")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    make_bi_encoder(folder, "bert", "mean", prompts={"query": "query: ", "document": "passage: "})
    return folder / "model"


def make_examples(count: int, seed: int = 0, weight: float = 1.0) -> list[Example]:
    """Two words a text; each alone says nothing of the label, so that no mean of vectors tells the labels."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(count):
        one, other = generator.integers(4, size=2).tolist()
        text = f"please {WORDS[one]} was {WORDS[other]} last month"
        found.append(Example(f"{seed}-{number}", text, NAMES[(one + other) % 4], "gold", "test", weight))
    return found


def weights_of(directory: Path) -> dict[str, torch.Tensor]:
    return TextEncoder(directory, 24).state_dict()


def test_it_learns_what_the_base_does_not_know(source: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, training=dataclasses.replace(TRAINING, epochs=12))
    result = train_bi_encoder(
        source, tmp_path / "out", make_examples(160), make_examples(LEAST_VALIDATION, 1), LABELS, settings
    )
    assert result.start_top1 < 0.98 <= result.top1
    assert result.recall_at_5 == 1.0
    assert result.prototypes.labels == NAMES


def test_the_trained_folder_exports_as_its_base_does(source: Path, tmp_path: Path) -> None:
    examples = make_examples(40)
    result = train_bi_encoder(source, tmp_path / "out", examples, (), LABELS, SETTINGS)
    config = export_bi_encoder(result.directory, tmp_path / "exported")
    assert config["query_prompt"] == "query: "
    assert config["passage_prompt"] == "passage: "
    served = BiEncoder.load(tmp_path / "exported", "fp32").encode_query(examples[0].text)
    encoder = TextEncoder(result.directory, 24)
    with torch.no_grad():
        trained = encoder([encoder.email_ids(examples[0].text)])[0].numpy()
    assert served / np.linalg.norm(served) == pytest.approx(trained, abs=1e-4)


def test_little_validation_neither_stops_a_run_nor_picks_its_label_vectors(
    source: Path, tmp_path: Path
) -> None:
    def run(name: str, validation: int) -> BiEncoderResult:
        data = (make_examples(40), make_examples(validation, 1), LABELS, SETTINGS)
        return train_bi_encoder(source, tmp_path / name, *data)

    none, few, enough = run("none", 0), run("few", LEAST_VALIDATION - 1), run("enough", LEAST_VALIDATION)
    assert few.training.history == ()
    assert len(enough.training.history) > 1
    assert np.array_equal(none.prototypes.vectors, few.prototypes.vectors)
    encoder = TextEncoder(few.directory, SETTINGS.max_tokens)
    examples, names = make_examples(40), [label.id for label in LABELS]
    vectors = encoder.encode([encoder.email_ids(one.text) for one in examples])
    targets = np.array([names.index(one.label) for one in examples])
    known = LabelledVectors(vectors, targets, np.ones(40, dtype=np.float32))
    texts = encode_label_texts(encoder, LABELS)
    untrained = TextEncoder(source, SETTINGS.max_tokens)
    before = untrained.encode([untrained.email_ids(one.text) for one in examples])
    starting = LabelledVectors(before, targets, known.weights)
    kappa = choose_fit(encode_label_texts(untrained, LABELS), starting).kappa
    anew = fit_prototypes(names, texts, known, fit=plain_fit(texts, known, kappa))
    assert few.prototypes.vectors == pytest.approx(anew.vectors, abs=1e-4)


def test_what_texts_count_behind_the_trained_encoder_may_be_given(source: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, text_kappa=1e6)
    result = train_bi_encoder(source, tmp_path / "out", make_examples(40), (), LABELS, settings)
    texts = encode_label_texts(TextEncoder(result.directory, SETTINGS.max_tokens), LABELS)
    shifted = texts + result.prototypes.shift
    expected = shifted / np.linalg.norm(shifted, axis=1, keepdims=True)
    assert result.prototypes.vectors == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("killed_at", [4, 11])
def test_a_killed_run_goes_on_to_the_same_result(source: Path, tmp_path: Path, killed_at: int) -> None:
    training = dataclasses.replace(TRAINING, checkpoint_every_steps=3, dropout=0.1)
    settings = dataclasses.replace(SETTINGS, training=training)
    data = (make_examples(40), make_examples(20, 1), LABELS, settings)
    whole = train_bi_encoder(source, tmp_path / "whole", *data, checkpoint_dir=tmp_path / "a")

    def kill(progress: Progress) -> None:
        if progress.step == killed_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_bi_encoder(source, tmp_path / "broken", *data, checkpoint_dir=tmp_path / "b", progress=kill)
    again = train_bi_encoder(source, tmp_path / "broken", *data, checkpoint_dir=tmp_path / "b")
    assert again.training == whole.training
    assert np.array_equal(again.prototypes.vectors, whole.prototypes.vectors)
    expected, found = weights_of(whole.directory), weights_of(again.directory)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_the_weights_of_several_runs_are_averaged(source: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, runs=2)
    kept = tmp_path / "run"
    result = train_bi_encoder(
        source, tmp_path / "out", make_examples(40), (), LABELS, settings, checkpoint_dir=kept
    )
    alone = train_bi_encoder(source, tmp_path / "alone", make_examples(40), (), LABELS, SETTINGS)
    assert (result.runs, alone.runs) == (2, 1)
    assert result.training == alone.training
    one, other = (load_file(kept.with_name(name) / "model.safetensors") for name in ("run", "run_2"))
    first, mean = weights_of(alone.directory), weights_of(result.directory)
    assert all(torch.equal(first[name], one[f"encoder.{name}"]) for name in first)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    for name, value in mean.items():
        expected = (one[f"encoder.{name}"] + other[f"encoder.{name}"]) / 2
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("killed_at", [4, 20])
def test_killed_runs_go_on_to_the_same_mean(source: Path, tmp_path: Path, killed_at: int) -> None:
    settings = dataclasses.replace(SETTINGS, runs=2)
    data = (make_examples(40), (), LABELS, settings)
    whole = train_bi_encoder(source, tmp_path / "whole", *data, checkpoint_dir=tmp_path / "a")
    steps: list[int] = []

    def kill(progress: Progress) -> None:
        assert progress.total_steps == 30
        steps.append(progress.step)
        if progress.step == killed_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_bi_encoder(source, tmp_path / "broken", *data, checkpoint_dir=tmp_path / "b", progress=kill)
    assert steps == list(range(1, killed_at + 1))
    again: list[Progress] = []
    result = train_bi_encoder(
        source, tmp_path / "broken", *data, checkpoint_dir=tmp_path / "b", progress=again.append
    )
    # What was over when the kill came is not trained once more.
    assert again[0].step == (1 if killed_at == 4 else 16)
    expected, found = weights_of(whole.directory), weights_of(result.directory)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_checkpoint_of_other_examples_is_refused(source: Path, tmp_path: Path) -> None:
    def run(examples: list[Example]) -> None:
        train_bi_encoder(
            source, tmp_path / "out", examples, (), LABELS, SETTINGS, checkpoint_dir=tmp_path / "run"
        )

    run(make_examples(16))
    with pytest.raises(ModelError, match="other examples"):
        run(make_examples(16, seed=3))


def test_a_budget_is_kept(source: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, training=dataclasses.replace(TRAINING, epochs=10_000))
    seen: list[Progress] = []
    begun = time.monotonic()
    result = train_bi_encoder(
        source,
        tmp_path / "out",
        make_examples(40),
        (),
        LABELS,
        settings,
        progress=seen.append,
        budget_s=1.0,
    )
    assert time.monotonic() - begun < 20
    assert result.training.stopped_early
    assert all(progress.seconds_left <= 1.0 for progress in seen)


def test_examples_without_weight_teach_nothing(source: Path) -> None:
    heard, other = make_examples(2)
    silent = dataclasses.replace(other, weight=0.0)
    task = _task(source, [heard, silent, other], LABELS, SETTINGS)
    alone = float(task.loss([0]).detach())
    assert float(task.loss([0, 1]).detach()) == pytest.approx(alone, abs=1e-4)
    assert float(task.loss([0, 2]).detach()) != pytest.approx(alone, abs=1e-4)


def test_labels_without_examples_keep_their_texts(source: Path, tmp_path: Path) -> None:
    examples = [example for example in make_examples(60) if example.label != NAMES[3]]
    result = train_bi_encoder(source, tmp_path / "out", examples, (), LABELS, SETTINGS)
    assert result.prototypes.labels == NAMES[:3]


def test_an_ancestor_is_no_negative(source: Path) -> None:
    above = (*LABELS[:3], dataclasses.replace(LABELS[3], ancestors=frozenset({NAMES[0], "unassignable"})))
    assert _closed(above)[3].tolist() == [True, False, False, False]
    example = dataclasses.replace(make_examples(1)[0], label=NAMES[3])
    free = float(_task(source, [example], LABELS, SETTINGS).loss([0]).detach())
    assert float(_task(source, [example], above, SETTINGS).loss([0]).detach()) < free


def test_the_texts_of_labels_can_be_trained_too(source: Path) -> None:
    settings = dataclasses.replace(SETTINGS, wordings_weight=0.5)
    without = _task(source, make_examples(8), LABELS, SETTINGS).loss(range(8))
    assert float(_task(source, make_examples(8), LABELS, settings).loss(range(8)).detach()) > float(
        without.detach()
    )


def _task(
    source: Path, examples: list[Example], labels: tuple[LabelTexts, ...], settings: BiEncoderSettings
) -> RetrievalTask:
    encoder = TextEncoder(source, 24)
    start = np.eye(len(labels), encoder.dimension, dtype=np.float32)
    return RetrievalTask(
        RetrievalModel(encoder, start), _encode(encoder, examples, labels, ()), labels, settings
    )


def test_a_teacher_is_followed_to_its_shares(source: Path, tmp_path: Path) -> None:
    shares = (0.6, 0.3, 0.1)
    lessons = [TaughtText("please money was parcel", NAMES[:3], shares)] * 8
    training = dataclasses.replace(TRAINING, epochs=60, learning_rate=5e-3)
    settings = dataclasses.replace(SETTINGS, training=training, wordings_weight=0.0)
    stray = [Example("1", "unrelated words", NAMES[3], "gold", "test")]
    result = train_bi_encoder(source, tmp_path / "out", stray, (), LABELS, settings, taught=lessons)
    encoder = TextEncoder(result.directory, 24)
    vector = encoder.encode([encoder.email_ids(lessons[0].text)])[0]
    assert result.prototypes.labels == NAMES
    logits = settings.scale * result.prototypes.vectors[:3] @ vector
    found = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    assert found == pytest.approx(np.array(shares), abs=0.05)


@pytest.mark.parametrize("shares", [(0.5, 0.4), (1.0,), (1.0, 0.0)])
def test_shares_that_are_none_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="sum to"):
        TaughtText("text", NAMES[:2], shares)


def test_weights_that_are_no_numbers_are_an_error(source: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, training=dataclasses.replace(TRAINING, learning_rate=1e30))
    with pytest.raises(ModelError, match="broke down"):
        train_bi_encoder(source, tmp_path / "out", make_examples(40), (), LABELS, settings)
    assert not (tmp_path / "out").exists()


def test_logits_are_exact_where_the_encoder_runs_in_bf16(source: Path) -> None:
    task = _task(source, make_examples(8), LABELS, SETTINGS)
    vectors = torch.nn.functional.normalize(torch.randn(8, 32, generator=torch.manual_seed(0)), dim=-1)
    task.module.encoder.forward = lambda rows: vectors[: len(rows)]  # type: ignore[method-assign]
    exact = float(task.loss(range(8)).detach())
    with torch.autocast("cpu", torch.bfloat16):
        assert float(task.loss(range(8)).detach()) == pytest.approx(exact, abs=1e-6)


def test_vectors_that_are_all_equal_are_noticed(source: Path) -> None:
    task = _task(source, make_examples(8), LABELS, SETTINGS)
    assert task.check(range(8)) is None
    with torch.no_grad():
        for parameter in task.module.encoder.parameters():
            parameter.zero_()
    assert task.check(range(8)) == "all emails have the same vector"


def test_unknown_labels_and_no_examples_are_errors(source: Path, tmp_path: Path) -> None:
    stray = dataclasses.replace(make_examples(1)[0], label="gone")
    with pytest.raises(DataError, match="'gone'"):
        train_bi_encoder(source, tmp_path / "out", [stray], (), LABELS, SETTINGS)
    with pytest.raises(DataError, match="got none"):
        train_bi_encoder(source, tmp_path / "out", [], (), LABELS, SETTINGS)


def test_frozen_parts_stay_as_they_were(source: Path, tmp_path: Path) -> None:
    training = dataclasses.replace(TRAINING, frozen_layers=1, freeze_embeddings=True, epochs=1)
    settings = dataclasses.replace(SETTINGS, training=training)
    result = train_bi_encoder(source, tmp_path / "out", make_examples(16), (), LABELS, settings)
    before, after = weights_of(source), weights_of(result.directory)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(layer_of(name) == 1 for name in moved)
    assert not any(layer_of(name) == 0 or "embeddings" in name for name in moved)


def test_a_taxonomy_gives_texts_and_assignable_ancestors(tmp_path: Path) -> None:
    path = tmp_path / "taxonomy.json"
    path.write_text('{"labels": [{"id": "a", "path": ["A"]}, {"id": "b", "path": ["A", "B"]}]}')
    above, below = label_texts(load_taxonomy(path))
    assert (above.id, above.ancestors) == ("a", frozenset())
    assert (below.id, below.ancestors) == ("b", frozenset({"a"}))
    assert ("A > B",) in below.groups


@pytest.mark.parametrize("wrong", ["scale", "max_tokens", "wordings_weight", "runs"])
def test_settings_that_train_nothing_are_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong):
        BiEncoderSettings(**{wrong: -1})  # type: ignore[arg-type]


def test_few_examples_are_read_more_often() -> None:
    assert [epochs_for(count) for count in (1, 1_500, 15_000, 1_000_000)] == [8, 8, 3, 2]
