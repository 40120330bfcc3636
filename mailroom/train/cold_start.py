"""Public label-matching data + the project's mailboxes → a cross-encoder for the first day.

    python -m mailroom.train.cold_start --data DIR --out DIR [--leave-out SET] [--seed N] [--json]
        [--examples N] [--epochs N] [--workers N] …

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

from mailroom.errors import DataError, MailroomError
from mailroom.models.sources import resolve_base_model
from mailroom.train.candidate_sets import CandidateSampler, EmbeddedSet, SamplingSettings, embed_set
from mailroom.train.cold_start_figures import Embedder, RerankFigures, judge, similarity_weight
from mailroom.train.cross_encoder import Progress, train_cross_encoder
from mailroom.train.drawn_examples import DrawnExamples
from mailroom.train.label_sets import MAILBOX_FILES, read_label_set, read_mailboxes
from mailroom.train.one_pass_weights import from_encoder, save_one_pass
from mailroom.train.train_settings import TrainSettings, pick_device


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
# Five times the public sets' labels. With them the mean gain was no larger than with the mailboxes alone.
MAILBOXES_WEIGHT = 10.0
# `--leave-out` takes a set's name, or this: the project's own mailboxes alone, which have seen none of them.
ALL_PUBLIC = "public"
# Beside the weights: `trained_on` (public sets), `seed` and `recipe`.
ORIGIN_FILE = "origin.json"

SAMPLING = SamplingSettings()
TRAINING = TrainSettings(
    epochs=1,
    batch_size=64,
    learning_rate=5e-5,
    # Twenty times that moved gates and scale within a few steps, and cost where labels are long.
    read_out_learning_rate=1e-3,
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

    examples: int = 40_000
    email_tokens: int = 64
    similarity_share: float = 0.6
    temperature: float = 1.0
    mailbox_files: tuple[str, ...] = MAILBOX_FILES
    sampling: SamplingSettings = SAMPLING
    training: TrainSettings = TRAINING


RECIPE = Recipe()


def build(
    data: Path,
    out: Path,
    leave_out: str | None = None,
    seed: int = 0,
    recipe: Recipe = RECIPE,
    base: str = "embedded",
    progress: Callable[[Progress], None] | None = None,
    workers: int = 0,
) -> RerankFigures | None:
    """Train the cold-start cross-encoder into the folder `out` (fp16); figures on the set left out, if any.

    `workers` processes draw the candidate sets ahead, which a GPU needs; what is drawn does not depend on
    them. A run that was killed goes on from `out`'s checkpoint. Raises DataError for sets that are missing
    and ModelError when training breaks down.
    """
    known = [*(public.name for public in PUBLIC_SETS), ALL_PUBLIC]
    if leave_out is not None and leave_out not in known:
        raise DataError(f"expected --leave-out to be one of {', '.join(known)}, got {leave_out!r}")
    base_directory = resolve_base_model(base)
    model = from_encoder(base_directory)
    device = pick_device(recipe.training.device)
    embedder = Embedder(from_encoder(base_directory).to(device), base_directory / "tokenizer.json")
    sets, weights = _training_sets(data, leave_out, embedder, recipe.mailbox_files)
    draw = CandidateSampler(sets, weights, recipe.examples, seed, recipe.sampling)
    short = dataclasses.replace(model.config, max_email_tokens=recipe.email_tokens)
    training = dataclasses.replace(recipe.training, seed=seed, checkpoint_every_steps=100)
    with DrawnExamples(draw, base_directory / "tokenizer.json", short, workers) as source:
        train_cross_encoder(model, source, training, checkpoint_dir=out / "checkpoint", progress=progress)
    figures = None
    if leave_out not in (None, ALL_PUBLIC):
        public = next(item for item in PUBLIC_SETS if item.name == leave_out)
        left_out = read_label_set(data / leave_out, "train", public.path_parts)
        rows = np.random.default_rng(seed).permutation(len(left_out.texts))[:1000].tolist()
        figures = judge(model, left_out.subset(rows), embedder, recipe.similarity_share)
    model.config = dataclasses.replace(
        model.config,
        similarity_weight=similarity_weight(model, recipe.similarity_share),
        temperature=recipe.temperature,
    )
    save_one_pass(model, out / "weights", base_directory, dtype=torch.float16)
    _write_origin(out / ORIGIN_FILE, leave_out, seed, recipe)
    return figures


def _write_origin(path: Path, leave_out: str | None, seed: int, recipe: Recipe) -> None:
    """Note beside the weights what they have seen, so that no figure comes from a set among that."""
    seen = [public.name for public in PUBLIC_SETS if leave_out not in (public.name, ALL_PUBLIC)]
    content = {"trained_on": seen, "seed": seed, "recipe": dataclasses.asdict(recipe)}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        figures = build(
            options.data,
            options.out,
            options.leave_out,
            options.seed,
            _recipe(options),
            base=options.base,
            progress=_show,
            workers=options.workers,
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


def _recipe(options: argparse.Namespace) -> Recipe:
    training = dataclasses.replace(
        TRAINING,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        read_out_learning_rate=options.read_out_learning_rate,
        dropout=options.dropout,
    )
    fewest = min(SAMPLING.min_candidates, options.candidates)
    sampling = dataclasses.replace(SAMPLING, min_candidates=fewest, max_candidates=options.candidates)
    return Recipe(options.examples, options.email_tokens, sampling=sampling, training=training)


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
    parser.add_argument(
        "--examples", type=int, default=RECIPE.examples, help="candidate sets drawn for each epoch"
    )
    parser.add_argument("--epochs", type=int, default=TRAINING.epochs)
    parser.add_argument("--batch-size", type=int, default=TRAINING.batch_size)
    parser.add_argument("--learning-rate", type=float, default=TRAINING.learning_rate)
    parser.add_argument(
        "--read-out-learning-rate",
        type=float,
        default=TRAINING.read_out_learning_rate,
        help="that of the gates and the scale",
    )
    parser.add_argument("--dropout", type=float, default=TRAINING.dropout)
    parser.add_argument("--email-tokens", type=int, default=RECIPE.email_tokens, help="read of each email")
    parser.add_argument(
        "--candidates", type=int, default=SAMPLING.max_candidates, help="at most so many in a set"
    )
    parser.add_argument(
        "--workers", type=int, default=0, help="processes that draw ahead of training (GPU: one a core)"
    )
    parser.add_argument("--base", default="embedded", help="bi-encoder to start from (default: embedded)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
