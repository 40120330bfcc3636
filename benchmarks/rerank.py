"""Reranking one email: a pairwise cross-encoder against the one-pass kind, in one run on the same texts.

Five ways over the same encoder weights: sentence-transformers' `CrossEncoder` (torch), the same model in
ONNX Runtime fp32 and int8, one-pass fp32 and int8. Weights do not change how long a run takes, so the
pairwise head is random. Each way runs in a process of its own, one after the other: in one process torch's
threads and ONNX Runtime's get in each other's way, and torch was measured three times too slow. CPU time
stands beside the time that passed: on a machine with other work it is the one to compare.

    python benchmarks/rerank.py [--tokens 32 160 256] [--candidates 5 20 64] [--rounds N] [--json]
    python benchmarks/rerank.py --label-words 28 45        # labels as long as names with descriptions
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from mailroom.models.cross_encoder import load_cross_encoder
from mailroom.models.export import export_cross_encoder
from mailroom.models.export_one_pass import export_one_pass
from mailroom.models.sources import resolve_base_model

Scorer = Callable[[str, Sequence[str]], object]
Size = tuple[int, int]
Times = tuple[float, float]
WAYS = ("sentence-transformers", "pairwise fp32", "pairwise int8", "one-pass fp32", "one-pass int8")
# Words that are one token each, so that a text of n words has n tokens and its two special ones.
WORDS = [
    "account", "address", "answer", "balance", "bank", "bill", "book", "branch", "card", "change",
    "charge", "claim", "close", "code", "contract", "cost", "credit", "customer", "date", "delay",
    "delivery", "device", "door", "error", "fee", "file", "form", "garden", "help", "house", "invoice",
    "key", "letter", "light", "loan", "mail", "money", "month", "name", "number", "office", "open",
    "order", "paper", "password", "pay",
]  # fmt: skip


def main() -> None:
    """Make the models, time every way on every size, print a table or JSON."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as scratch:
        _make_models(Path(scratch), arguments.bi_encoder)
        times = {way: _in_fresh_process(_time_way, Path(scratch), way, arguments) for way in WAYS}
        cells = [_cell(times, size) for size in _sizes(arguments)]
        memory = {way: _in_fresh_process(_peak_memory, Path(scratch), way, arguments) for way in WAYS}
    if arguments.json:
        json.dump(
            {"threads": arguments.threads, "cells": cells, "peak_memory_mb": memory}, sys.stdout, indent=2
        )
        print()
    else:
        _print_tables(cells, memory)


def _make_models(scratch: Path, base_name: str) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    from mailroom.train.one_pass_weights import from_encoder, save_one_pass

    base = resolve_base_model(base_name)
    torch.manual_seed(0)
    pairwise = CrossEncoder(str(base), num_labels=1, device="cpu", max_length=512)
    pairwise.save_pretrained(str(scratch / "pairwise"))
    export_cross_encoder(scratch / "pairwise", scratch / "pairwise-exported")
    save_one_pass(from_encoder(base), scratch / "one-pass", base)
    export_one_pass(scratch / "one-pass", scratch / "one-pass-exported")


def _load(scratch: Path, way: str, threads: int) -> Scorer:
    if way == "sentence-transformers":
        import torch
        from sentence_transformers import CrossEncoder

        torch.set_num_threads(threads)
        model = CrossEncoder(str(scratch / "pairwise"), device="cpu", max_length=512)
        return lambda text, labels: model.predict(
            [(text, label) for label in labels], batch_size=64, show_progress_bar=False
        )
    kind, precision = way.split()
    return load_cross_encoder(scratch / f"{kind}-exported", precision, threads).score  # type: ignore[arg-type]


def _sizes(arguments: argparse.Namespace) -> list[Size]:
    return [(tokens, candidates) for tokens in arguments.tokens for candidates in arguments.candidates]


def _in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _time_way(scratch: Path, way: str, arguments: argparse.Namespace) -> dict[Size, list[Times]]:
    """Milliseconds of every email, by size: what passed, and what the cores spent."""
    scorer = _load(scratch, way, arguments.threads)
    times: dict[Size, list[Times]] = {}
    for size in _sizes(arguments):
        texts, labels = _sample(*size, arguments.rounds, arguments.label_words)
        scorer(texts[0], labels)
        times[size] = []
        for text in texts:
            begun, spent = time.perf_counter(), time.process_time()
            scorer(text, labels)
            passed = time.perf_counter() - begun
            times[size].append((passed * 1000, (time.process_time() - spent) * 1000))
    return times


def _cell(times: dict[str, dict[Size, list[Times]]], size: Size) -> dict[str, Any]:
    ways = {way: _summary(by_size[size]) for way, by_size in times.items()}
    for summary in ways.values():
        summary["speedup"] = ways[WAYS[0]]["median_ms"] / summary["median_ms"]
        summary["cpu_speedup"] = ways[WAYS[0]]["cpu_ms"] / summary["cpu_ms"]
    return {"tokens": size[0], "candidates": size[1], "ways": ways}


def _summary(times: Sequence[Times]) -> dict[str, float]:
    values = [passed for passed, _ in times]
    median = statistics.median(values)
    return {
        "median_ms": median,
        "cpu_ms": statistics.median(spent for _, spent in times),
        "p99_ms": float(np.percentile(values, 99)),
        "emails_per_second": 1000 / median,
    }


def _sample(
    tokens: int, candidates: int, count: int, label_words: Sequence[int]
) -> tuple[list[str], list[str]]:
    """Emails of exactly `tokens` tokens; labels of so many words, least and most, each a token."""
    generator = random.Random(tokens * 1000 + candidates)
    texts = [" ".join(generator.choices(WORDS, k=tokens - 2)) for _ in range(count)]
    labels = [
        " ".join(generator.choices(WORDS, k=generator.randint(*label_words))) for _ in range(candidates)
    ]
    return texts, labels


def _peak_memory(scratch: Path, way: str, arguments: argparse.Namespace) -> float:
    """Peak resident memory in MB of this process after scoring 20 candidates for emails of 256 tokens."""
    scorer = _load(scratch, way, arguments.threads)
    texts, labels = _sample(256, 20, 3, arguments.label_words)
    for text in texts:
        scorer(text, labels)
    # Not getrusage: its peak is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def _print_tables(cells: Sequence[dict[str, Any]], memory: dict[str, float]) -> None:
    print("| tokens | K | way | median ms | p99 ms | emails/s | CPU ms | times faster | times less CPU |")
    print("|---|---|---|---|---|---|---|---|---|")
    for cell in cells:
        for way, summary in cell["ways"].items():
            print(
                f"| {cell['tokens']} | {cell['candidates']} | {way} | {summary['median_ms']:.1f} "
                f"| {summary['p99_ms']:.1f} | {summary['emails_per_second']:.1f} | {summary['cpu_ms']:.1f} "
                f"| {summary['speedup']:.1f} | {summary['cpu_speedup']:.1f} |"
            )
    print("\n| way | peak memory MB |\n|---|---|")
    for way, megabytes in memory.items():
        print(f"| {way} | {megabytes:.0f} |")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bi-encoder", default="embedded", help="encoder whose weights all ways share")
    parser.add_argument("--tokens", type=int, nargs="+", default=[32, 160, 256])
    parser.add_argument("--candidates", type=int, nargs="+", default=[5, 20, 64])
    parser.add_argument("--label-words", type=int, nargs=2, default=[3, 7], metavar=("LEAST", "MOST"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
