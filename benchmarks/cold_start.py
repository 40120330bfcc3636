"""What a cold-start cross-encoder changes on sets that it has not seen: top-1, Recall@5, calibration error.

    python benchmarks/cold_start.py WEIGHTS SET [SET …] [--part train] [--limit 1000] [--described] [--json]

Point WEIGHTS at weights that have not seen the SETs. `--shares` lists shares of the bi-encoder's cosine;
the stored one comes first. Choose on training parts; read test parts once, at the end.
"""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from mailroom.classify.temperature import fit_temperature
from mailroom.evaluate.metrics import expected_calibration_error
from mailroom.models.sources import resolve_base_model
from mailroom.taxonomy import readable_name
from mailroom.train.candidate_sets import Vectors
from mailroom.train.cold_start import PUBLIC_SETS, Embedder, Reranking, rerank_set
from mailroom.train.label_sets import LabelSet, Wording, read_label_set
from mailroom.train.one_pass_model import OnePassModel
from mailroom.train.one_pass_weights import from_encoder, load_one_pass

DESCRIPTIONS = Path(__file__).with_name("descriptions.yaml")
DATA = Path(os.environ.get("MAILROOM_DATA", Path(__file__).parents[2] / "shared" / "data"))


def main() -> None:
    """Judge the weights on every set and print a table or JSON."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    base = resolve_base_model("embedded")
    model = load_one_pass(arguments.weights)
    embedder = Embedder(from_encoder(base), base / "tokenizer.json")
    rows = [_judge(model, embedder, name, arguments) for name in arguments.sets]
    if arguments.json:
        json.dump(rows, sys.stdout, indent=2)
        print()
        return
    columns = list(rows[0])
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(str(row[column]) for column in columns) + " |")


def _judge(
    model: OnePassModel, embedder: Embedder, name: str, arguments: argparse.Namespace
) -> dict[str, Any]:
    parts = {public.name: public.path_parts for public in PUBLIC_SETS}
    labels = read_label_set(DATA / name, arguments.part, parts.get(name), described=arguments.described)
    if arguments.described and not labels.has_descriptions:
        labels = dataclasses.replace(labels, descriptions=_own_descriptions(labels))
    chosen = np.random.default_rng(0).permutation(len(labels.texts))[: arguments.limit].tolist()
    wording: Wording = "name_description" if labels.has_descriptions else "name"
    found = rerank_set(model, labels.subset(chosen), embedder, wording)
    scale = float(model.log_scale.detach().exp())
    stored = found.blended(model.config.similarity_weight)
    row: dict[str, Any] = {
        "set": name,
        "emails": len(chosen),
        "labels": len(labels.paths),
        "retrieval": _percent(float(found.hits[:, 0].mean())),
        "recall@5": _percent(float(found.hits[:, :5].any(axis=1).mean())),
        "recall@20": _percent(float(found.hits.any(axis=1).mean())),
        "reranked": _percent(found.top1(stored)),
        "reranked recall@5": _percent(_recall_at_5(found, stored)),
        "ece": round(_calibration_error(found, stored / model.config.temperature), 3),
        "fitted temperature": round(_temperature(found, stored), 2),
    }
    for share in arguments.shares:
        row[f"share {share:g}"] = _percent(found.top1(found.blended(share / (1 - share) * scale)))
    return row


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


def _temperature(found: Reranking, ranked_by: Vectors) -> float:
    return fit_temperature(list(ranked_by), [int(row.argmax()) if row.any() else None for row in found.hits])


def _calibration_error(found: Reranking, logits: Vectors) -> float:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    best = shares.argmax(axis=1)[:, None]
    correct = np.take_along_axis(found.hits, best, axis=1)[:, 0]
    return expected_calibration_error(shares.max(axis=1).tolist(), correct.tolist())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--part", default="train")
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument(
        "--described", action="store_true", help="use the project's descriptions of the labels"
    )
    parser.add_argument("--shares", type=float, nargs="*", default=[0, 0.25, 0.5, 0.6, 0.75])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
