"""The training loop: it learns, resumes bit for bit, and says so when training breaks down."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mailroom.errors import ConfigError, DataError, ModelError
from mailroom.train.cross_encoder import Progress, score_examples, top1_evaluator, train_cross_encoder
from mailroom.train.one_pass_model import OnePassModel
from mailroom.train.one_pass_weights import from_encoder
from mailroom.train.ranking_batches import EncodedExample, ExampleEncoder, RankingExample, plan_batches
from mailroom.train.train_settings import TrainSettings
from tests.train.small_models import WORDS, make_encoder

SETTINGS = TrainSettings(
    epochs=2,
    batch_size=8,
    learning_rate=3e-3,
    read_out_learning_rate=1e-2,
    dropout=0.1,
    precision="fp32",
    threads=1,
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("encoder"), initializer_range=0.1)


@pytest.fixture
def model(encoder: Path) -> OnePassModel:
    return from_encoder(encoder)


def make_examples(encoder: Path, model: OnePassModel, count: int, seed: int = 0) -> list[EncodedExample]:
    """Emails of three words; the right candidate is the partner of the first word in a fixed pairing."""
    generator = np.random.default_rng(seed)
    encode = ExampleEncoder(encoder / "tokenizer.json", model.config).encode
    half = len(WORDS) // 2
    examples = []
    for _ in range(count):
        shown = generator.permutation(half)[:4]
        target = int(generator.integers(4))
        text = f"{WORDS[shown[target]]} please help"
        examples.append(encode(RankingExample(text, tuple(WORDS[half + i] for i in shown), target)))
    return examples


def weights_of(model: OnePassModel) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_it_learns_a_pairing_that_the_encoder_does_not_know(encoder: Path, model: OnePassModel) -> None:
    held_out = make_examples(encoder, model, 100, seed=9)
    evaluate = top1_evaluator(held_out)
    before = evaluate(model)
    settings = dataclasses.replace(SETTINGS, epochs=10)
    result = train_cross_encoder(model, make_examples(encoder, model, 160), settings, evaluate)
    assert before < 0.6
    assert result.best_metric > 0.9
    assert evaluate(model) == result.best_metric


def test_the_same_seed_gives_the_same_weights(encoder: Path) -> None:
    runs = []
    for _ in range(2):
        made = from_encoder(encoder)
        train_cross_encoder(made, make_examples(encoder, made, 40), SETTINGS)
        runs.append(weights_of(made))
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])


@pytest.mark.parametrize("killed_at", [3, 7])
def test_a_killed_run_goes_on_to_the_same_weights(encoder: Path, tmp_path: Path, killed_at: int) -> None:
    settings = dataclasses.replace(SETTINGS, checkpoint_every_steps=2, evaluate_every_steps=3)
    whole = from_encoder(encoder)
    examples = make_examples(encoder, whole, 40)
    evaluate = top1_evaluator(make_examples(encoder, whole, 30, seed=4))
    expected = train_cross_encoder(whole, examples, settings, evaluate, tmp_path / "whole")

    def kill(progress: Progress) -> None:
        if progress.step == killed_at:
            raise KeyboardInterrupt

    broken = from_encoder(encoder)
    with pytest.raises(KeyboardInterrupt):
        train_cross_encoder(broken, examples, settings, evaluate, tmp_path / "broken", kill)
    resumed = from_encoder(encoder)
    result = train_cross_encoder(resumed, examples, settings, evaluate, tmp_path / "broken")
    assert result == expected
    assert all(torch.equal(value, weights_of(resumed)[name]) for name, value in weights_of(whole).items())


def test_a_checkpoint_of_other_settings_is_refused(
    encoder: Path, model: OnePassModel, tmp_path: Path
) -> None:
    examples = make_examples(encoder, model, 16)
    train_cross_encoder(model, examples, SETTINGS, checkpoint_dir=tmp_path / "run")
    with pytest.raises(ModelError, match="other settings"):
        train_cross_encoder(
            model, examples, dataclasses.replace(SETTINGS, seed=5), checkpoint_dir=tmp_path / "run"
        )


def test_a_damaged_checkpoint_is_refused(encoder: Path, model: OnePassModel, tmp_path: Path) -> None:
    examples = make_examples(encoder, model, 16)
    train_cross_encoder(model, examples, SETTINGS, checkpoint_dir=tmp_path / "run")
    (tmp_path / "run" / "optimizer.safetensors").write_bytes(b"gone")
    with pytest.raises(ModelError, match="damaged"):
        train_cross_encoder(model, examples, SETTINGS, checkpoint_dir=tmp_path / "run")


def test_every_epoch_is_drawn_once(encoder: Path, model: OnePassModel) -> None:
    examples, drawn = make_examples(encoder, model, 16), list[int]()

    def draw(epoch: int) -> list[EncodedExample]:
        drawn.append(epoch)
        return examples

    train_cross_encoder(model, draw, SETTINGS)
    assert drawn == [0, 1]


def test_progress_counts_every_step_and_estimates_the_rest(encoder: Path, model: OnePassModel) -> None:
    seen: list[Progress] = []
    train_cross_encoder(model, make_examples(encoder, model, 20), SETTINGS, progress=seen.append)
    assert [progress.step for progress in seen] == [1, 2, 3, 4, 5, 6]
    assert [progress.epoch for progress in seen] == [0, 0, 0, 1, 1, 1]
    assert seen[-1].seconds_left == 0.0
    assert all(progress.seconds_left > 0 for progress in seen[:-1])


def _falling() -> Callable[[OnePassModel], float]:
    metrics = iter([0.5, 0.6, 0.4, 0.3, 0.2, 0.1])
    return lambda _model: next(metrics)


def test_it_stops_when_validation_no_longer_improves(encoder: Path, model: OnePassModel) -> None:
    settings = dataclasses.replace(SETTINGS, epochs=6, patience=2)
    result = train_cross_encoder(model, make_examples(encoder, model, 16), settings, _falling())
    assert result.stopped_early
    assert (result.best_metric, result.best_step, result.steps) == (0.6, 2, 6)


def test_the_best_weights_are_left_in_the_model(encoder: Path, model: OnePassModel) -> None:
    start = weights_of(model)
    settings = dataclasses.replace(SETTINGS, epochs=1)
    metrics = iter([0.9, 0.1])
    train_cross_encoder(model, make_examples(encoder, model, 16), settings, lambda _m: next(metrics))
    assert all(torch.equal(start[name], value) for name, value in weights_of(model).items())


def test_frozen_parts_stay_as_they_were(encoder: Path, model: OnePassModel) -> None:
    start = weights_of(model)
    settings = dataclasses.replace(SETTINGS, frozen_layers=2, freeze_embeddings=True)
    train_cross_encoder(model, make_examples(encoder, model, 16), settings)
    moved = {name for name, value in weights_of(model).items() if not torch.equal(start[name], value)}
    assert any(name.startswith("layers.2.") for name in moved)
    assert not any("embedding" in name or name.startswith(("layers.0.", "layers.1.")) for name in moved)


def test_with_two_towers_the_email_side_stays_the_bi_encoder(encoder: Path) -> None:
    model = from_encoder(encoder, separate_candidate_tower=True)
    start = weights_of(model)
    train_cross_encoder(model, make_examples(encoder, model, 16), SETTINGS)
    moved = {name for name, value in weights_of(model).items() if not torch.equal(start[name], value)}
    assert any(name.startswith("candidate_layers.") for name in moved)
    assert not any(name.startswith(("layers.", "word_embeddings")) for name in moved)


def test_a_loss_that_is_no_number_is_an_error(encoder: Path, model: OnePassModel) -> None:
    with torch.no_grad():
        model.word_embeddings.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        train_cross_encoder(model, make_examples(encoder, model, 16), SETTINGS)


def test_scores_that_are_all_equal_are_an_error(encoder: Path, model: OnePassModel) -> None:
    encode = ExampleEncoder(encoder / "tokenizer.json", model.config).encode
    same = [encode(RankingExample("lost card", ("refund", "refund"), 0))] * 8
    with pytest.raises(ModelError, match="score the same"):
        train_cross_encoder(model, same, SETTINGS)


def test_nothing_to_train_on_is_an_error(model: OnePassModel) -> None:
    with pytest.raises(ModelError, match="got none"):
        train_cross_encoder(model, [], SETTINGS)


def test_soft_targets_pull_the_scores_to_their_shares(encoder: Path, model: OnePassModel) -> None:
    encode = ExampleEncoder(encoder / "tokenizer.json", model.config).encode
    example = encode(RankingExample("lost card", ("refund", "parcel", "order"), (0.7, 0.2, 0.1)))
    settings = dataclasses.replace(SETTINGS, epochs=60, dropout=0.0)
    train_cross_encoder(model, [example] * 8, settings)
    shares = torch.softmax(score_examples(model, [example])[0], dim=0)
    assert torch.allclose(shares, torch.tensor([0.7, 0.2, 0.1]), atol=0.02)


def test_bf16_learns_as_fp32_does(encoder: Path) -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        made = from_encoder(encoder)
        seen: list[Progress] = []
        settings = dataclasses.replace(SETTINGS, precision=precision, epochs=4, dropout=0.0)
        train_cross_encoder(made, make_examples(encoder, made, 80), settings, progress=seen.append)
        losses[precision] = seen[-1].loss
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.1)


def test_batches_hold_every_row_once_and_like_lengths_together() -> None:
    lengths = np.random.default_rng(1).integers(5, 200, 1000).tolist()
    batches = plan_batches(lengths, SETTINGS, epoch=0)
    assert sorted(row for rows in batches for row in rows) == list(range(1000))
    spread = np.mean([max(lengths[r] for r in rows) - min(lengths[r] for r in rows) for rows in batches])
    assert spread < 20
    assert batches == plan_batches(lengths, SETTINGS, epoch=0)
    assert batches != plan_batches(lengths, SETTINGS, epoch=1)


def test_scores_come_back_in_the_examples_order(encoder: Path, model: OnePassModel) -> None:
    examples = make_examples(encoder, model, 9)
    together = score_examples(model, examples, batch_size=4)
    for example, scores in zip(examples, together, strict=True):
        # bf16 rounds differently with other company in the batch.
        assert torch.allclose(scores, score_examples(model, [example])[0], atol=0.2)


@pytest.mark.parametrize("target", [2, -1, (0.5, 0.4), (1.0,)])
def test_targets_that_do_not_fit_are_refused(target: int | tuple[float, ...]) -> None:
    with pytest.raises(DataError):
        RankingExample("text", ("a", "b"), target)


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"learning_rate": 0.0}, {"dropout": 1.0}, {"layer_decay": 1.2}, {"batch_size": -1}],
)
def test_settings_that_train_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        TrainSettings(**wrong)  # type: ignore[arg-type]


def test_a_device_that_is_not_there_is_refused(encoder: Path, model: OnePassModel) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match="cuda"):
        train_cross_encoder(
            model, make_examples(encoder, model, 8), dataclasses.replace(SETTINGS, device="cuda")
        )
