"""What a cold-start cross-encoder changes on sets that it has not seen: top-1, Recall@5, calibration error.

    python benchmarks/cold_start.py WEIGHTS SET [SET …] [--part train] [--limit 1000] [--described] [--json]
    python benchmarks/cold_start.py --runs DIR [--part train] [--limit 1000] [--described] [--late 0.3]
                                    [--json]

The first form judges one folder of weights; point it at weights that have not seen the SETs. The second
judges all that `python -m mailroom.train.cold_start --out DIR/NAME` built into folders of DIR, each on the
sets that it was not trained on, and says whether the bar is passed. `--shares` lists shares of the
bi-encoder's cosine; the stored one comes first. `--late 0.3` also ranks with late interaction between the
untrained encoder's tokens, which counts so much beside its cosine. Choose on training parts; read test parts
once, at the end.
"""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from benchmarks.token_reading import Reader, max_sim
from mailroom.classify.temperature import fit_temperature
from mailroom.evaluate.metrics import expected_calibration_error
from mailroom.models.sources import resolve_base_model
from mailroom.taxonomy import readable_name
from mailroom.train.candidate_sets import Vectors
from mailroom.train.cold_start import ORIGIN_FILE, PUBLIC_SETS
from mailroom.train.cold_start_figures import Embedder, Reranking, rerank_set
from mailroom.train.label_sets import LabelSet, Wording, read_label_set
from mailroom.train.one_pass_model import OnePassModel
from mailroom.train.one_pass_weights import from_encoder, load_one_pass

DESCRIPTIONS = Path(__file__).with_name("descriptions.yaml")
DATA = Path(os.environ.get("MAILROOM_DATA", Path(__file__).parents[2] / "shared" / "data"))
# The last two are never trained on.
JUDGED = (*(public.name for public in PUBLIC_SETS), "20news", "multilang_tickets")
# Points of top-1 over retrieval, on average of the judged sets, each of which must gain.
BAR = 3.0
# Of all-MiniLM-L6-v2.
LAST_LAYER = 6


@dataclasses.dataclass(frozen=True, slots=True)
class Judged:
    """One set reranked by one run's weights; `logits` (texts, K) are what the stored share ranks by.

    `late` (texts, K) is late interaction where it was asked for.
    """

    name: str
    seed: int
    labels: int
    found: Reranking
    scale: float
    similarity_weight: float
    logits: Vectors
    temperature: float
    late: Vectors | None


def main() -> None:
    """Judge the weights on every set and print a table or JSON."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    base = resolve_base_model("embedded")
    embedder = Embedder(from_encoder(base), base / "tokenizer.json")
    if arguments.runs is not None:
        plan = unseen(arguments.runs)
    else:
        plan = [(name, 0, arguments.weights) for name in arguments.sets]
    judged = [_judge(weights, seed, embedder, name, arguments) for name, seed, weights in plan]
    rows = [_row(item, _without_own(judged, item), arguments) for item in judged]
    if arguments.json:
        json.dump(rows, sys.stdout, indent=2)
        print()
        return
    columns = list(rows[0])
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(str(row[column]) for column in columns) + " |")
    if arguments.runs is not None:
        print(f"\n{verdict(rows)}")


def unseen(runs: Path) -> list[tuple[str, int, Path]]:
    """Per judged set and seed, the weights trained on the most sets, but not on that one."""
    origins = {path.parent: json.loads(path.read_text("utf-8")) for path in runs.glob(f"*/{ORIGIN_FILE}")}
    if not origins:
        sys.exit(f"error: expected folders with {ORIGIN_FILE} in {runs}, as mailroom.train.cold_start writes")
    plan = []
    for name in JUDGED:
        for seed in sorted({origin["seed"] for origin in origins.values()}):
            fit = {
                folder: len(origin["trained_on"])
                for folder, origin in origins.items()
                if origin["seed"] == seed and name not in origin["trained_on"]
            }
            if not fit:
                sys.exit(f"error: no run with seed {seed} in {runs} has left out {name}; build one")
            plan.append((name, seed, max(fit, key=lambda folder: (fit[folder], str(folder))) / "weights"))
    return plan


def _judge(weights: Path, seed: int, embedder: Embedder, name: str, arguments: argparse.Namespace) -> Judged:
    model: OnePassModel = load_one_pass(weights)
    parts = {public.name: public.path_parts for public in PUBLIC_SETS}
    labels = read_label_set(DATA / name, arguments.part, parts.get(name), described=arguments.described)
    if arguments.described and not labels.has_descriptions:
        labels = dataclasses.replace(labels, descriptions=_own_descriptions(labels))
    chosen = np.random.default_rng(0).permutation(len(labels.texts))[: arguments.limit].tolist()
    wording: Wording = "name_description" if labels.has_descriptions else "name"
    labels = labels.subset(chosen)
    found = rerank_set(model, labels, embedder, wording)
    weight, scale = model.config.similarity_weight, float(model.log_scale.detach().exp())
    late = _late(labels, wording, found.candidates) if arguments.late else None
    temperature, logits = model.config.temperature, found.blended(weight)
    return Judged(name, seed, len(labels.paths), found, scale, weight, logits, temperature, late)


def _late(labels: LabelSet, wording: Wording, candidates: NDArray[np.intp]) -> Vectors:
    """Late interaction (texts, K) with the text of each candidate that the cross-encoder reads."""
    reader = Reader([LAST_LAYER])
    words = [reader(reader.encode.label_ids(text))[1][0] for text in labels.wordings(wording)]
    rows = [
        max_sim(reader(reader.encode.email_ids(text))[1][0], [words[label] for label in row])
        for text, row in zip(labels.texts, candidates.tolist(), strict=True)
    ]
    return np.stack(rows)


def _row(item: Judged, others: Sequence[Judged], arguments: argparse.Namespace) -> dict[str, Any]:
    found = item.found
    row: dict[str, Any] = {
        "set": item.name,
        "seed": item.seed,
        "emails": len(found.hits),
        "labels": item.labels,
        "retrieval": _percent(float(found.hits[:, 0].mean())),
        "recall@5": _percent(float(found.hits[:, :5].any(axis=1).mean())),
        "recall@20": _percent(float(found.hits.any(axis=1).mean())),
        "reranked": _percent(found.top1(item.logits)),
        "reranked recall@5": _percent(_recall_at_5(found, item.logits)),
        "ece": round(_calibration_error(found, item.logits / item.temperature), 3),
        "fitted temperature": round(_temperature([item]), 2),
    }
    if others:
        row["ece, temperature of the others"] = round(
            _calibration_error(found, item.logits / _temperature(others)), 3
        )
    if item.late is not None:
        # Retrieval's cosine alone, and the whole sum: in the unit of the cosine both get the same share.
        row["retrieval + late"] = _percent(found.top1(found.similarities + arguments.late * item.late))
        weight = arguments.late * item.similarity_weight
        row["reranked + late"] = _percent(found.top1(item.logits + weight * item.late))
    for share in arguments.shares:
        row[f"share {share:g}"] = _percent(found.top1(found.blended(share / (1 - share) * item.scale)))
    return row


def verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """Gains of the stored share over retrieval by set, mean of the seeds, and whether they pass the bar."""
    gains = {
        name: float(np.mean([row["reranked"] - row["retrieval"] for row in rows if row["set"] == name]))
        for name in JUDGED
    }
    mean = float(np.mean(list(gains.values())))
    passed = min(gains.values()) > 0 and mean >= BAR
    each = ", ".join(f"{name} {gain:+.1f}" for name, gain in gains.items())
    return (
        f"{each}; mean {mean:+.1f}: {'passes' if passed else 'misses'} the bar (each above 0, mean {BAR:g})"
    )


def _without_own(judged: Sequence[Judged], item: Judged) -> list[Judged]:
    """The same seed's other sets: what a temperature may be fitted on that is to be judged on this one."""
    return [other for other in judged if other.seed == item.seed and other.name != item.name]


def _own_descriptions(labels: LabelSet) -> tuple[str, ...]:
    """Descriptions of a judged set's labels: those of its path's elements, joined."""
    known = yaml.safe_load(DESCRIPTIONS.read_text(encoding="utf-8"))[labels.name]
    by_element = {readable_name(element): text for element, text in known.items()}
    return tuple("; ".join(by_element[part] for part in path if part in by_element) for path in labels.paths)


def _percent(share: float) -> float:
    return round(100 * share, 1)


def _recall_at_5(found: Reranking, ranked_by: Vectors) -> float:
    best = np.argsort(-ranked_by, axis=1, kind="stable")[:, :5]
    return float(np.take_along_axis(found.hits, best, axis=1).any(axis=1).mean())


def _temperature(items: Sequence[Judged]) -> float:
    rows = [row for item in items for row in item.logits]
    hits = [hit for item in items for hit in item.found.hits]
    return fit_temperature(rows, [int(hit.argmax()) if hit.any() else None for hit in hits])


def _calibration_error(found: Reranking, logits: Vectors) -> float:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    best = shares.argmax(axis=1)[:, None]
    correct = np.take_along_axis(found.hits, best, axis=1)[:, 0]
    return expected_calibration_error(shares.max(axis=1).tolist(), correct.tolist())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", type=Path, nargs="?")
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--runs", type=Path, help="judge every run in this folder on what it has not seen")
    parser.add_argument("--part", default="train")
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument(
        "--described", action="store_true", help="use the project's descriptions of the labels"
    )
    parser.add_argument("--shares", type=float, nargs="*", default=[0, 0.25, 0.5, 0.6, 0.75])
    parser.add_argument(
        "--late",
        type=float,
        default=0.0,
        metavar="WEIGHT",
        help="late interaction's weight beside the cosine",
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if (options.runs is None) == (not options.sets):
        parser.error("name either WEIGHTS and one SET or more, or --runs DIR")
    return options


if __name__ == "__main__":
    main()
