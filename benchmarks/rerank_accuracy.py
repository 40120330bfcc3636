"""Training a pairwise and a one-pass cross-encoder on the same candidate sets from the same encoder.

Candidates are the untrained bi-encoder's nearest labels, so they are out of sample. Both kinds see the same
examples in the same batches with the same listwise loss; printed are seconds an epoch and top-1 on texts
held back from the training part.

    python benchmarks/rerank_accuracy.py [--sets clinc150 20news] [--train N] [--epochs N] [--device cuda]
"""

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mailroom.models.sources import resolve_base_model
from mailroom.train.candidate_sets import Vectors
from mailroom.train.cold_start_figures import Embedder
from mailroom.train.cross_encoder import top1_evaluator, train_cross_encoder
from mailroom.train.label_sets import LabelSet, read_label_set
from mailroom.train.losses import listwise_cross_entropy
from mailroom.train.one_pass_weights import from_encoder
from mailroom.train.ranking_batches import EncodedExample, ExampleEncoder, RankingExample, plan_batches
from mailroom.train.train_settings import TrainSettings, pick_device, pick_precision

DATA = Path(os.environ.get("MAILROOM_DATA", Path(__file__).parents[2] / "shared" / "data"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """One kind on one set: seconds of training an epoch, top-1 before and after, on held-back texts."""

    dataset: str
    kind: str
    seconds_an_epoch: float
    top1_before: float
    top1_after: float


def main() -> None:
    """Train both kinds on every set and print a table or JSON."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    outcomes = [outcome for name in arguments.sets for outcome in _compare(name, arguments)]
    if arguments.json:
        json.dump([dataclasses.asdict(outcome) for outcome in outcomes], sys.stdout, indent=2)
        print()
        return
    print("| set | kind | seconds an epoch | top-1 before | top-1 after |\n|---|---|---|---|---|")
    for item in outcomes:
        print(
            f"| {item.dataset} | {item.kind} | {item.seconds_an_epoch:.0f} | {100 * item.top1_before:.1f} "
            f"| {100 * item.top1_after:.1f} |"
        )


def _compare(name: str, arguments: argparse.Namespace) -> list[Outcome]:
    base = resolve_base_model("embedded")
    model = from_encoder(base, max_email_tokens=arguments.email_tokens)
    labels = read_label_set(DATA / name, "train")
    rows = np.random.default_rng(0).permutation(len(labels.texts))
    shown = labels.subset(rows[: arguments.train + arguments.validation].tolist())
    encoder = ExampleEncoder(base / "tokenizer.json", model.config)
    examples = _examples(shown, Embedder(from_encoder(base), base / "tokenizer.json"), encoder, arguments)
    train = [example for example in examples[: arguments.train] if example is not None]
    held_back = examples[arguments.train :]
    settings = TrainSettings(
        epochs=arguments.epochs,
        batch_size=8,
        learning_rate=arguments.learning_rate,
        dropout=0.0,
        # As a cycle trains them; the pairwise kind is trained whole, as its users do.
        freeze_embeddings=True,
        device=arguments.device,
        threads=arguments.threads,
    )
    one_pass = _train_one_pass(name, model, train, held_back, settings)
    return [one_pass, _train_pairwise(name, base, train, held_back, settings)]


def _examples(
    labels: LabelSet, embed: Embedder, encoder: ExampleEncoder, arguments: argparse.Namespace
) -> list[EncodedExample | None]:
    """Candidate sets in the texts' order; None where the right label is not among the candidates."""
    names = labels.wordings("name")
    similarities: Vectors = embed(labels.texts) @ embed(names).T
    examples: list[EncodedExample | None] = []
    for text, target, row in zip(labels.texts, labels.targets, similarities, strict=True):
        nearest = np.argsort(-row, kind="stable")[: arguments.candidates].tolist()
        if target not in nearest:
            examples.append(None)
            continue
        candidates = tuple(names[label] for label in nearest)
        examples.append(encoder.encode(RankingExample(text, candidates, nearest.index(target))))
    return examples


def _train_one_pass(
    name: str,
    model: Any,
    train: Sequence[EncodedExample],
    held_back: Sequence[EncodedExample | None],
    settings: TrainSettings,
) -> Outcome:
    known = [example for example in held_back if example is not None]
    share = len(known) / len(held_back)
    evaluate = top1_evaluator(known)
    before = evaluate(model)
    begun = time.perf_counter()
    train_cross_encoder(model, train, settings)
    seconds = (time.perf_counter() - begun) / settings.epochs
    return Outcome(name, "one-pass", seconds, before * share, evaluate(model) * share)


def _train_pairwise(
    name: str,
    base: Path,
    train: Sequence[EncodedExample],
    held_back: Sequence[EncodedExample | None],
    settings: TrainSettings,
) -> Outcome:
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(settings.seed)
    device = pick_device(settings.device)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1).to(device)
    known = [example for example in held_back if example is not None]
    share = len(known) / len(held_back)
    before = _pairwise_top1(model, known)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, fused=True)
    total = settings.epochs * -(-len(train) // settings.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=total + 1)
    begun = time.perf_counter()
    model.train()
    for epoch in range(settings.epochs):
        for rows in plan_batches([example.tokens for example in train], settings, epoch):
            batch = [train[row] for row in rows]
            optimizer.zero_grad()
            targets = torch.tensor([example.target for example in batch], device=device)
            listwise_cross_entropy(_pairwise_scores(model, batch), targets).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_gradient_norm)
            optimizer.step()
            schedule.step()
    seconds = (time.perf_counter() - begun) / settings.epochs
    return Outcome(name, "pairwise", seconds, before * share, _pairwise_top1(model, known) * share)


def _pairwise_scores(model: Any, batch: Sequence[EncodedExample]) -> torch.Tensor:
    """(B, K) logits of `[CLS] email [SEP] label [SEP]`, −inf where an example has fewer candidates."""
    pairs = [(example.email, candidate[1:]) for example in batch for candidate in example.candidates]
    width = max(len(email) + len(label) for email, label in pairs)
    ids = torch.zeros(len(pairs), width, dtype=torch.long)
    types, mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, (email, label) in enumerate(pairs):
        length = len(email) + len(label)
        ids[row, :length] = torch.tensor(email + label)
        types[row, len(email) : length] = 1
        mask[row, :length] = 1
    device = model.device
    enabled = pick_precision("auto", device) == "bf16"
    inputs = {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}
    with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
        logits = model(**{name: tensor.to(device) for name, tensor in inputs.items()}).logits[:, 0].float()
    rows = logits.split([len(example.candidates) for example in batch])
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=float("-inf"))


@torch.no_grad()
def _pairwise_top1(model: Any, examples: Sequence[EncodedExample]) -> float:
    model.eval()
    hits = [int(_pairwise_scores(model, [example]).argmax()) == example.target for example in examples]
    return sum(hits) / len(hits)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=["clinc150", "20news"])
    parser.add_argument("--train", type=int, default=1000)
    parser.add_argument("--validation", type=int, default=400)
    parser.add_argument("--candidates", type=int, default=10)
    parser.add_argument("--email-tokens", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto: the GPU where there is one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
