"""Does masked-word training on unlabelled mail help retrieval? Before and after, on held-out training texts.

    python -m benchmarks.adaptation [SET …] [--weights 0 10 100 1000] [--texts 3000] [--epochs 1 3]

A fixed fifth of a set's training part judges; the rest are the unlabelled mail, and lend `--shots` labelled
texts a label to label vectors (mean of `--draws`). Prints one row an encoder, the untrained one first: top-1
and Recall@5 by the labels' names, the same with late interaction behind (weight 0.3), and by label vectors;
then how many hidden words are said, how like the start its vectors are, and the processor minutes. Reads
training parts only.
"""

import argparse
import dataclasses
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from benchmarks.full_data import pick_shots, read_set
from mailroom.models.prototypes import LabelledVectors, fit_prototypes
from mailroom.models.sources import resolve_base_model
from mailroom.records import Example
from mailroom.taxonomy import Taxonomy, display_name
from mailroom.train.adaptation import AdaptationSettings, adapt_encoder
from mailroom.train.label_texts import encode_label_texts, label_texts
from mailroom.train.loop import Progress
from mailroom.train.text_encoder import TextEncoder

SETS = ("20news", "cfpb")
TOKENS = 128
LATE_WEIGHT, RERANKED = 0.3, 20

Values = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Judged:
    """A set's labels, the examples that judge, and draws of labelled ones from the rest."""

    taxonomy: Taxonomy
    examples: Sequence[Example]
    shots: Sequence[Sequence[Example]]

    def figures(self, directory: Path) -> dict[str, float]:
        """Shares of right answers, 0…1, of the encoder in that folder."""
        encoder = TextEncoder(directory, TOKENS)
        ids = [label.id for label in self.taxonomy.assignable]
        texts = encode_label_texts(encoder, label_texts(self.taxonomy))
        vectors = encoder.encode([encoder.email_ids(one.text) for one in self.examples])
        names = vectors @ texts.T
        found = self._shares("names", names)
        late = _late(encoder, names, self.examples, self.taxonomy)
        found |= self._shares("late", late)
        drawn = []
        for shots in self.shots:
            known = encoder.encode([encoder.email_ids(one.text) for one in shots])
            targets = np.array([ids.index(one.label) for one in shots])
            weights = np.ones(len(shots), dtype=np.float32)
            learned = fit_prototypes(ids, texts, LabelledVectors(known, targets, weights))
            drawn.append(self._shares("shots", vectors @ learned.label_vectors(ids, texts).T))
        return found | {name: float(np.mean([one[name] for one in drawn])) for name in drawn[0]}

    def _shares(self, name: str, scores: Values) -> dict[str, float]:
        ids = [label.id for label in self.taxonomy.assignable]
        targets = np.array([ids.index(one.label) for one in self.examples])
        best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
        return {
            f"{name}_top_1": float((best[:, 0] == targets).mean()),
            f"{name}_recall_at_5": float((best == targets[:, None]).any(axis=1).mean()),
        }


@torch.no_grad()
def _late(encoder: TextEncoder, names: Values, examples: Sequence[Example], taxonomy: Taxonomy) -> Values:
    """The similarities (n, labels) with late interaction added for the nearest labels, the others out."""
    encoder.eval()

    def words(ids: tuple[int, ...]) -> torch.Tensor:
        return normalize(encoder.token_states([ids]).float(), dim=-1)[1:-1]

    labels = [words(encoder.label_ids(display_name(label, taxonomy))) for label in taxonomy.assignable]
    scores = np.full_like(names, -np.inf)
    for row, example in enumerate(examples):
        email = words(encoder.email_ids(example.text))
        for label in np.argsort(-names[row], kind="stable")[:RERANKED].tolist():
            match = 0.0
            if len(email) and len(labels[label]):
                match = float((labels[label] @ email.T).amax(dim=1).mean())
            scores[row, label] = names[row, label] + LATE_WEIGHT * match
    return scores


def rows(name: str, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The figures of the untrained encoder and of each setting."""
    taxonomy, train, held_out = read_set(name, "val")
    shots = [pick_shots(train, arguments.shots, seed) for seed in range(arguments.draws)]
    judged = Judged(taxonomy, held_out[: arguments.judged], shots)
    source = resolve_base_model("embedded")
    yield {"set": name, "judged": len(judged.examples), "setting": "untrained", **judged.figures(source)}
    order = np.random.default_rng(0).permutation(len(train))[: arguments.texts]
    emails = list(dict.fromkeys(train[row].text for row in order.tolist()))
    labels = [text for label in label_texts(taxonomy) for group in label.groups for text in group]
    defaults = AdaptationSettings()
    for epochs, weight in itertools.product(arguments.epochs, arguments.weights):
        training = dataclasses.replace(
            defaults.training, epochs=epochs, threads=arguments.threads, learning_rate=arguments.rate
        )
        settings = dataclasses.replace(
            defaults, training=training, geometry_weight=weight, max_tokens=arguments.tokens
        )
        used = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            result = adapt_encoder(source, Path(folder), emails, labels, settings, progress=_show)
            minutes = (time.process_time() - used) / 60
            yield {
                "set": name,
                "setting": f"weight {weight:g}, {epochs} epochs",
                "steps": result.training.steps,
                **judged.figures(result.directory),
                "words_said": result.words_said,
                "likeness": result.likeness,
                "cpu_minutes": round(minutes, 1),
            }


def _show(progress: Progress) -> None:
    if progress.step % 20 == 0:
        left = f"{progress.seconds_left / 60:.0f} min left"
        print(f"step {progress.step}/{progress.total_steps} loss {progress.loss:.2f} {left}", file=sys.stderr)


def _short(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def main() -> None:
    """Print one line of JSON an encoder."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    for name in arguments.sets or SETS:
        for row in rows(name, arguments):
            shown = {
                key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()
            }
            print(json.dumps(shown), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"default: {' '.join(SETS)}")
    parser.add_argument("--weights", type=float, nargs="+", default=[10.0, 100.0])
    parser.add_argument("--rate", type=float, default=5e-5)
    parser.add_argument("--tokens", type=int, default=TOKENS, help="read of a text in training")
    parser.add_argument("--texts", type=int, default=3000)
    parser.add_argument("--epochs", type=int, nargs="+", default=[1])
    parser.add_argument("--judged", type=int, default=1000)
    parser.add_argument("--shots", type=int, default=10)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
