"""The retrieval path (text → ids → vector → compare with label vectors) against bare ONNX Runtime.

Both run on the same texts in turns within one run: times move between machines and runs, ratios hardly.

    python benchmarks/encode.py [--jsonl FILE] [--bi-encoder NAME] [--texts N] [--rounds N] [--json]
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from mailroom.classify.retrieve import Retriever
from mailroom.models.bi_encoder import BiEncoder
from mailroom.models.encoder_config import GRAPH_NAMES
from mailroom.models.export import export_bi_encoder
from mailroom.models.runtime import Precision, open_session
from mailroom.models.sources import resolve_base_model

TOP_K = 20
LABELS = 50
DATA = Path(os.environ.get("MAILROOM_DATA", Path(__file__).parents[2] / "shared" / "data"))

Task = Callable[[int], object]


def main() -> None:
    """Export (or reuse) a bi-encoder, time every path, print a table or JSON."""
    arguments = _arguments()
    texts = _texts(arguments.jsonl, arguments.texts)
    with tempfile.TemporaryDirectory() as scratch:
        directory = arguments.exported or Path(scratch) / "bi_encoder"
        if arguments.exported is None:
            export_bi_encoder(resolve_base_model(arguments.bi_encoder), directory)
        results = [_measure(directory, precision, texts, arguments) for precision in arguments.precisions]
    if arguments.json:
        json.dump({"texts": len(texts), "rounds": arguments.rounds, "results": results}, sys.stdout, indent=2)
        print()
    else:
        _print_table(results)


def _measure(
    directory: Path, precision: Precision, texts: Sequence[str], arguments: argparse.Namespace
) -> dict[str, Any]:
    encoder = BiEncoder.load(directory, precision)
    bare = open_session(directory / GRAPH_NAMES[precision])
    ids = [encoder.tokenize_query(text) for text in texts]
    few, many = (_retriever(count, encoder.dimension) for count in (LABELS, arguments.labels))
    tasks: dict[str, Task] = {
        "bare": lambda i: bare.run(None, {"input_ids": ids[i][np.newaxis]}),
        "retrieve": lambda i: few.top_k(encoder.encode_query(texts[i])),
        "retrieve_many": lambda i: many.top_k(encoder.encode_query(texts[i])),
    }
    seconds: dict[str, list[float]] = {f"{name}_{threads}": [] for threads in (1, 2) for name in tasks}
    for task in tasks.values():
        _run(task, min(8, len(texts)), 1)
    for _ in range(arguments.rounds):
        for threads in (1, 2):
            for name, task in tasks.items():
                seconds[f"{name}_{threads}"].append(_run(task, len(texts), threads))
    return _summary(precision, seconds, ids, texts, arguments.labels)


def _summary(
    precision: str, seconds: dict[str, list[float]], ids: Sequence[Any], texts: Sequence[str], labels: int
) -> dict[str, Any]:
    def ratio(name: str, other: str) -> float:
        # Round by round, so that a slow moment of the machine falls on both.
        return statistics.median(a / b for a, b in zip(seconds[name], seconds[other], strict=True))

    per_text = {
        name: statistics.median(values) / len(texts) * 1000
        for name, values in seconds.items()
        if name[-1] == "1"
    }
    return {
        "precision": precision,
        "tokens_mean": statistics.fmean(len(row) for row in ids),
        "characters_mean": statistics.fmean(map(len, texts)),
        "bare_ms": per_text["bare_1"],
        "retrieve_ms": per_text["retrieve_1"],
        "overhead_percent": (ratio("retrieve_1", "bare_1") - 1) * 100,
        "overhead_two_threads_percent": (ratio("retrieve_2", "bare_2") - 1) * 100,
        "two_threads_speedup": ratio("retrieve_1", "retrieve_2"),
        "bare_two_threads_speedup": ratio("bare_1", "bare_2"),
        "labels_many": labels,
        "many_labels_percent": (ratio("retrieve_many_1", "retrieve_1") - 1) * 100,
    }


def _run(task: Task, count: int, threads: int) -> float:
    start = time.perf_counter()
    if threads == 1:
        for index in range(count):
            task(index)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(task, range(count)))
    return time.perf_counter() - start


def _retriever(labels: int, dimension: int) -> Retriever:
    """Labels in random directions: what a comparison costs does not depend on what they mean."""
    vectors = np.random.default_rng(0).normal(size=(labels, dimension)).astype(np.float32)
    return Retriever(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), TOP_K)


def _texts(path: Path, count: int) -> list[str]:
    if not path.is_file():
        return _generated_texts(count)
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    chosen = random.Random(0).sample(rows, min(count, len(rows)))
    return [f"{row.get('subject', '')}\n{row['body']}".strip() for row in chosen]


def _generated_texts(count: int) -> list[str]:
    """Texts as long as mail is, where there is no corpus: 5 to 600 words."""
    words = ["where", "is", "my", "parcel", "invoice", "refund", "account", "please", "thanks", "meeting"]
    rng = random.Random(0)
    return [" ".join(rng.choices(words, k=int(5 * 120 ** rng.random()))) for _ in range(count)]


def _print_table(results: Sequence[dict[str, Any]]) -> None:
    rows = [
        ("mean tokens a text", "tokens_mean", "{:.0f}"),
        ("bare ONNX Runtime, ms a text", "bare_ms", "{:.2f}"),
        (f"retrieval path, {LABELS} labels, ms a text", "retrieve_ms", "{:.2f}"),
        ("  slower than bare", "overhead_percent", "{:+.1f} %"),
        ("  slower than bare, two threads", "overhead_two_threads_percent", "{:+.1f} %"),
        ("two threads against one", "two_threads_speedup", "{:.2f} ×"),
        ("  bare ONNX Runtime", "bare_two_threads_speedup", "{:.2f} ×"),
        (f"{results[0]['labels_many']} labels instead of {LABELS}", "many_labels_percent", "{:+.1f} %"),
    ]
    print(f"{'':44}" + "".join(f"{result['precision']:>12}" for result in results))
    for title, key, form in rows:
        print(f"{title:44}" + "".join(f"{form.format(result[key]):>12}" for result in results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jsonl", type=Path, default=DATA / "20news" / "train.jsonl", help="texts to encode")
    parser.add_argument("--bi-encoder", default="embedded", help="base model to export")
    parser.add_argument("--exported", type=Path, help="an exported bi-encoder, instead of exporting one")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "int8"], choices=["fp32", "int8"])
    parser.add_argument("--texts", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--labels", type=int, default=5000, help="the larger number of label vectors")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
