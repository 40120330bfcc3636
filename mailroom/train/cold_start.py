"""Public label-matching data + the project's mailboxes → a cross-encoder for the first day.

    python -m mailroom.train.cold_start --data DIR --out DIR [--leave-out SET] [--seed N] [--json]

Reads only training parts. Weights that have seen a set prove nothing on it: `--leave-out` builds without
one, and reports how they rerank that set. What was tried stands in docs/experiments-cross-encoder.md.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mailroom.classify.temperature import fit_temperature
from mailroom.errors import DataError, MailroomError
from mailroom.models.one_pass_config import OnePassConfig
from mailroom.models.sources import resolve_base_model
from mailroom.train.candidate_sets import CandidateSampler, EmbeddedSet, SamplingSettings, Vectors, embed_set
from mailroom.train.cross_encoder import ExampleSource, Progress, score_examples, train_cross_encoder
from mailroom.train.label_sets import (
    MAILBOX_FILES,
    WORDINGS,
    LabelSet,
    Wording,
    read_label_set,
    read_mailboxes,
)
from mailroom.train.one_pass_model import OnePassModel
from mailroom.train.one_pass_weights import from_encoder, save_one_pass
from mailroom.train.ranking_batches import ExampleEncoder, RankingExample
from mailroom.train.train_settings import TrainSettings


@dataclass(frozen=True, slots=True)
class PublicSet:
    """A set that may be trained on; `path_parts` cuts paths that are too fine, `weight` is its share."""

    name: str
    weight: float
    path_parts: tuple[int, ...] | None = None


# Licences: CC BY 3.0, CDLA-Sharing 1.0 (results are free of it), public domain.
PUBLIC_SETS = (
    PublicSet("clinc150", 3.0),
    PublicSet("bitext", 1.5),
    # Full paths have five rows each; product and issue have sixteen.
    PublicSet("cfpb", 1.5, (0, 2)),
)
# Five times the public sets' labels. Unmeasured: what was measured used the mailboxes alone.
MAILBOXES_WEIGHT = 10.0
# `--leave-out` takes a set's name, or this: the project's own mailboxes alone, which have seen none of them.
ALL_PUBLIC = "public"
TOP_K = 20


SAMPLING = SamplingSettings()
TRAINING = TrainSettings(
    epochs=2,
    learning_rate=5e-5,
    read_out_learning_rate=2e-2,
    frozen_layers=2,
    freeze_embeddings=True,
    dropout=0.1,
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the weights besides the data and the seed.

    `examples` candidate sets are drawn anew for each epoch; `email_tokens` is what is read of an email in
    training; `similarity_share` is the share of the bi-encoder's cosine in the final ranking, and
    `temperature` what the sum is divided by for probabilities; both were chosen on sets left out.
    """

    examples: int = 3000
    email_tokens: int = 64
    similarity_share: float = 0.6
    temperature: float = 1.0
    mailbox_files: tuple[str, ...] = MAILBOX_FILES
    sampling: SamplingSettings = SAMPLING
    training: TrainSettings = TRAINING


@dataclass(frozen=True, slots=True)
class RerankFigures:
    """What reranking changed on one set: shares of emails; the temperature fits the blended scores."""

    name: str
    emails: int
    labels: int
    retrieval_top1: float
    recall_at_20: float
    cross_encoder_top1: float
    blended_top1: float
    temperature: float


def build(
    data: Path,
    out: Path,
    leave_out: str | None = None,
    seed: int = 0,
    recipe: Recipe | None = None,
    base: str = "embedded",
    progress: Callable[[Progress], None] | None = None,
) -> RerankFigures | None:
    """Train the cold-start cross-encoder into the folder `out` (fp16); figures on the set left out, if any.

    A run that was killed goes on from `out`'s checkpoint. Raises DataError for sets that are missing and
    ModelError when training breaks down.
    """
    recipe = recipe or Recipe()
    known = [*(public.name for public in PUBLIC_SETS), ALL_PUBLIC]
    if leave_out is not None and leave_out not in known:
        raise DataError(f"expected --leave-out to be one of {', '.join(known)}, got {leave_out!r}")
    base_directory = resolve_base_model(base)
    model = from_encoder(base_directory)
    embedder = Embedder(from_encoder(base_directory), base_directory / "tokenizer.json")
    sets, weights = _training_sets(data, leave_out, embedder, recipe.mailbox_files)
    source = _source(sets, weights, base_directory, model.config, recipe, seed)
    training = dataclasses.replace(recipe.training, seed=seed, checkpoint_every_steps=100)
    train_cross_encoder(model, source, training, checkpoint_dir=out / "checkpoint", progress=progress)
    figures = None
    if leave_out not in (None, ALL_PUBLIC):
        public = next(item for item in PUBLIC_SETS if item.name == leave_out)
        left_out = read_label_set(data / leave_out, "train", public.path_parts)
        rows = np.random.default_rng(seed).permutation(len(left_out.texts))[:1000].tolist()
        figures = judge(model, left_out.subset(rows), embedder, recipe.similarity_share)
    model.config = dataclasses.replace(
        model.config,
        similarity_weight=_similarity_weight(model, recipe.similarity_share),
        temperature=recipe.temperature,
    )
    save_one_pass(model, out / "weights", base_directory, dtype=torch.float16)
    return figures


class Embedder:
    """The bi-encoder as the email side of an untrained one-pass model reads texts; gives unit vectors."""

    def __init__(self, model: OnePassModel, tokenizer_path: Path) -> None:
        self._model = model.eval()
        self.encode = ExampleEncoder(tokenizer_path, model.config)

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Vectors (n, d) of length 1."""
        ids = [self.encode.email_ids(text) for text in texts]
        vectors = np.zeros((len(texts), self._model.config.hidden_size), dtype=np.float32)
        order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
        for start in range(0, len(order), 16):
            rows = order[start : start + 16]
            lengths = torch.tensor([len(ids[row]) for row in rows])
            padded = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
            for place, row in enumerate(rows):
                padded[place, : len(ids[row])] = torch.tensor(ids[row])
            pooled = self._model.encode_email(padded, lengths).pooled
            vectors[rows] = torch.nn.functional.normalize(pooled, dim=-1).numpy()
        return vectors


@dataclass(frozen=True)
class Reranking:
    """The retrieved candidates of a set's texts, best first: hits, cosines and scores, each (texts, K)."""

    hits: NDArray[np.bool_]
    similarities: Vectors
    scores: Vectors

    def blended(self, similarity_weight: float) -> Vectors:
        """What candidates are ranked by, (texts, K)."""
        return np.asarray(self.scores + similarity_weight * self.similarities, dtype=np.float32)

    def top1(self, ranked_by: Vectors) -> float:
        """The share of texts whose best candidate is right."""
        best = ranked_by.argmax(axis=1)[:, None]
        return float(np.take_along_axis(self.hits, best, axis=1).mean())


def rerank_set(
    model: OnePassModel, labels: LabelSet, embedder: Embedder, wording: Wording = "name"
) -> Reranking:
    """Retrieve and score the candidates of every text of a set that the model was not trained on.

    Retrieval averages the unit vectors of name and path, and of both forms with a description where there
    are any; the cross-encoder reads one wording.
    """
    kinds = WORDINGS if labels.has_descriptions else ("name", "path")
    vectors = sum(embedder(labels.wordings(kind)) for kind in kinds if kind != "id")
    unit = np.asarray(vectors) / np.linalg.norm(np.asarray(vectors), axis=1, keepdims=True)
    similarities = embedder(labels.texts) @ unit.T
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :TOP_K]
    texts = labels.wordings(wording)
    examples = [
        embedder.encode.encode(RankingExample(text, tuple(texts[label] for label in row), 0))
        for text, row in zip(labels.texts, order, strict=True)
    ]
    return Reranking(
        hits=order == np.array(labels.targets)[:, None],
        similarities=np.take_along_axis(similarities, order, axis=1),
        scores=np.stack([row.numpy() for row in score_examples(model, examples)]),
    )


def judge(
    model: OnePassModel, labels: LabelSet, embedder: Embedder, similarity_share: float
) -> RerankFigures:
    """What reranking by name changes on a set that the model was not trained on."""
    found = rerank_set(model, labels, embedder)
    blended = found.blended(_similarity_weight(model, similarity_share))
    answers = [int(row.argmax()) if row.any() else None for row in found.hits]
    return RerankFigures(
        name=labels.name,
        emails=len(labels.texts),
        labels=len(labels.paths),
        retrieval_top1=float(found.hits[:, 0].mean()),
        recall_at_20=float(found.hits.any(axis=1).mean()),
        cross_encoder_top1=found.top1(found.scores),
        blended_top1=found.top1(blended),
        temperature=fit_temperature(list(blended), answers),
    )


def _similarity_weight(model: OnePassModel, share: float) -> float:
    """What the cosine is multiplied with so that it has that share beside the cosine within the score."""
    return share / (1 - share) * float(model.log_scale.detach().exp())


def _training_sets(
    data: Path, leave_out: str | None, embedder: Embedder, mailbox_files: Sequence[str]
) -> tuple[list[EmbeddedSet], list[float]]:
    sets, weights = [], []
    for public in PUBLIC_SETS:
        if leave_out not in (public.name, ALL_PUBLIC):
            labels = read_label_set(data / public.name, "train", public.path_parts, described=True)
            sets.append(embed_set(labels, embedder))
            weights.append(public.weight)
    mailboxes = read_mailboxes(mailbox_files)
    total = sum(len(mailbox.paths) for mailbox in mailboxes)
    for mailbox in mailboxes:
        sets.append(embed_set(mailbox, embedder))
        weights.append(MAILBOXES_WEIGHT * len(mailbox.paths) / total)
    return sets, weights


def _source(
    sets: Sequence[EmbeddedSet],
    weights: Sequence[float],
    base: Path,
    config: OnePassConfig,
    recipe: Recipe,
    seed: int,
) -> ExampleSource:
    draw = CandidateSampler(sets, weights, recipe.examples, seed, recipe.sampling)
    short = dataclasses.replace(config, max_email_tokens=recipe.email_tokens)
    encoder = ExampleEncoder(base / "tokenizer.json", short)
    return lambda epoch: [encoder.encode(example) for example in draw(epoch)]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        figures = build(
            options.data, options.out, options.leave_out, options.seed, base=options.base, progress=_show
        )
    except MailroomError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    print(file=sys.stderr)
    content = {"weights": str(options.out / "weights"), "left_out": figures and dataclasses.asdict(figures)}
    if options.json:
        print(json.dumps(content, indent=2))
    else:
        print(f"weights in {options.out / 'weights'}")
        if figures is not None:
            print("\n".join(f"{name}: {value}" for name, value in dataclasses.asdict(figures).items()))
    return 0


def _show(progress: Progress) -> None:
    minutes, seconds = divmod(round(progress.seconds_left), 60)
    line = f"step {progress.step} of {progress.total_steps}, loss {progress.loss:.3f}"
    print(f"\r{line}, {minutes}:{seconds:02} left   ", end="", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mailroom.train.cold_start", description="Build the cross-encoder for the first day."
    )
    names = ", ".join(public.name for public in PUBLIC_SETS)
    parser.add_argument("--data", type=Path, required=True, help=f"folder that holds the sets {names}")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and checkpoint")
    parser.add_argument(
        "--leave-out",
        metavar="SET",
        help=f"build without one of {names}, and judge on it; or without all: {ALL_PUBLIC}",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--base", default="embedded", help="bi-encoder to start from (default: embedded)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
