"""The full decision, text → retrieved → reranked → decided: emails a second, latency at random arrivals.

    python -m benchmarks.two_stage --workspace DESK [--jsonl FILE] [--tokens 160] [--rate 8] [--seconds 30]
                                   [--rerank-above-share SHARE] [--apart]

Arrivals are open-loop: each email has its moment, drawn before the run (exponential gaps, seed 0), and its
latency counts from that moment, so that waiting behind others is not left out. `cpu_ms` is what the cores
spend on one email: on a machine with other work it is the one to compare.
"""

import argparse
import json
import os
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mailroom.classify.classifier import Classifier
from mailroom.models.bi_encoder import BiEncoder
from mailroom.models.registry import CROSS_ENCODER, ModelVersion
from mailroom.records import Email
from mailroom.workspace import Workspace

DATA = Path(os.environ.get("MAILROOM_DATA", Path(__file__).parents[2] / "shared" / "data"))
WARM_UP = 20


def texts_of_length(path: Path, encoder: BiEncoder, tokens: int, wanted: int) -> list[str]:
    """The first `wanted` texts of a JSONL file that have at least `tokens` tokens, cut to that many."""
    found: list[str] = []
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            text = f"{row.get('subject', '')}\n{row.get('body', '')}".strip()
            words = text.split()
            if len(encoder.tokenize_query(text)) < tokens:
                continue
            found.append(_cut(words, encoder, tokens))
            if len(found) == wanted:
                return found
    raise SystemExit(f"{path}: expected {wanted} texts of {tokens} tokens, found {len(found)}")


def _cut(words: Sequence[str], encoder: BiEncoder, tokens: int) -> str:
    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        fits = len(encoder.tokenize_query(" ".join(words[:middle]))) <= tokens
        low, high = (middle, high) if fits else (low, middle - 1)
    return " ".join(words[:low])


def cpu_ms(classifier: Classifier, emails: Sequence[Email]) -> float:
    """Median CPU time of one email, alone."""
    spent = []
    for email in emails:
        before = time.process_time()
        classifier.classify(email)
        spent.append((time.process_time() - before) * 1000)
    return round(float(np.median(spent)), 1)


def throughput(classifier: Classifier, emails: Sequence[Email], threads: int) -> float:
    """Emails a second with `threads` of them side by side."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(classifier.classify, emails[:WARM_UP]))
        started = time.perf_counter()
        list(pool.map(classifier.classify, emails))
        return len(emails) / (time.perf_counter() - started)


def open_loop(
    classifier: Classifier, emails: Sequence[Email], threads: int, rate: float, seconds: float
) -> list[float]:
    """Milliseconds from each email's moment of arrival to its answer."""
    generator = random.Random(0)
    moments: list[float] = []
    moment = 0.0
    while (moment := moment + generator.expovariate(rate)) < seconds:
        moments.append(moment)
    latencies: list[float] = []
    lock = threading.Lock()
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()

        def answer(email: Email, due: float) -> None:
            classifier.classify(email)
            with lock:
                latencies.append((time.perf_counter() - started - due) * 1000)

        for number, due in enumerate(moments):
            time.sleep(max(0.0, started + due - time.perf_counter()))
            pool.submit(answer, emails[number % len(emails)], due)
    return latencies


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures of one workspace."""
    with Workspace.open(arguments.workspace) as workspace:
        share = arguments.rerank_above_share
        if share is not None:
            decided = replace(workspace.settings.classify, rerank_above_share=share)
            workspace.settings = replace(workspace.settings, classify=decided)
        if arguments.apart:
            workspace.version = _reading_apart(workspace.version)
        classifier = workspace.classifier()
        version, rerank = workspace.version, workspace.precision(CROSS_ENCODER)
        encoder = workspace.version.load_bi_encoder(workspace.precision())
        labels = len(workspace.taxonomy.assignable)
        precision = workspace.precision()
        settings = workspace.settings.classify
    texts = texts_of_length(arguments.jsonl, encoder, arguments.tokens, arguments.emails)
    emails = [Email(str(number), "", text) for number, text in enumerate(texts)]
    steps = [classifier.classify(email).latency_ms for email in emails]
    waits = open_loop(classifier, emails, arguments.threads, arguments.rate, arguments.seconds)
    return {
        "decided_by": classifier.decided_by,
        "precision": {"bi_encoder": precision, "cross_encoder": rerank},
        "shared_reading": version.shares_reading(precision, rerank),
        "rerank_above_share": settings.rerank_above_share,
        "labels": labels,
        "tokens": arguments.tokens,
        "alone_ms": {step: round(float(np.median([item[step] for item in steps])), 2) for step in steps[0]},
        "cpu_ms": cpu_ms(classifier, emails),
        "emails_per_second": {
            threads: round(throughput(classifier, emails, threads), 1) for threads in (1, arguments.threads)
        },
        "arrivals_per_second": arguments.rate,
        "arrived": len(waits),
        "latency_ms": {f"p{share}": round(float(np.percentile(waits, share)), 1) for share in (50, 95, 99)},
    }


def _reading_apart(version: ModelVersion) -> ModelVersion:
    return replace(version, manifest=replace(version.manifest, shared_reading={}))


def main() -> None:
    """Measure and print JSON, indented for people."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--jsonl", type=Path, default=DATA / "20news" / "train.jsonl")
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--emails", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rate", type=float, default=8.0, help="arrivals a second")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rerank-above-share", type=float, help="instead of the workspace's setting")
    parser.add_argument("--apart", action="store_true", help="let each encoder read the email for itself")
    print(json.dumps(measure(parser.parse_args()), indent=2))


if __name__ == "__main__":
    main()
