"""Learning from a set's labelled texts in one run: top-1 and Recall@5 beside two plain baselines.

    python -m benchmarks.full_data --set clinc150 [--part val] [--shots 10] [--baselines | --untrained]

Trains a bi-encoder with its label vectors on the training part (or on `--shots` of each label) with the
default settings and judges it on `--part`. Where a set has no val.jsonl, `--part val` is a fifth of training
data. Baselines: TF-IDF (words and pairs) with a linear SVM, and a logistic regression on the untrained
encoder's vectors, on the same texts. Choose anything by val; test is for the figure that is published.
"""

import argparse
import dataclasses
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.label_trees import CUT, DATA, cut
from mailroom.models.prototypes import LabelledVectors, fit_prototypes
from mailroom.models.sources import resolve_base_model
from mailroom.records import Email, Example
from mailroom.taxonomy import Taxonomy, load_taxonomy
from mailroom.train.bi_encoder import train_bi_encoder
from mailroom.train.bi_encoder_settings import BiEncoderSettings, epochs_for
from mailroom.train.label_texts import LabelTexts, encode_label_texts, label_texts
from mailroom.train.loop import Progress
from mailroom.train.text_encoder import TextEncoder

# What serving reads of an email.
SERVED_TOKENS = 256
VALIDATION_SHARE = 0.05


def read_set(name: str, part: str) -> tuple[Taxonomy, list[Example], list[Example]]:
    """The taxonomy, the training examples and those of `part`, which never overlap."""
    labels = json.loads((DATA / name / "taxonomy.json").read_text(encoding="utf-8"))["labels"]
    train = _rows(name, "train")
    if part == "val" and not (DATA / name / "val.jsonl").exists():
        order = np.random.default_rng(0).permutation(len(train)).tolist()
        judged = [train[row] for row in order[: len(train) // 5]]
        train = [train[row] for row in order[len(train) // 5 :]]
    else:
        judged = _rows(name, part)
    if name in CUT:
        _, train = cut(labels, train, CUT[name])
        labels, judged = cut(labels, judged, CUT[name])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "taxonomy.json"
        path.write_text(json.dumps({"labels": [{"id": x["id"], "path": x["path"]} for x in labels]}))
        taxonomy = load_taxonomy(path)
    return taxonomy, _examples(train), _examples(judged)


def pick_shots(examples: Sequence[Example], shots: int, seed: int) -> list[Example]:
    """At most `shots` examples of each label, drawn at random."""
    taken: dict[str, int] = {}
    picked = []
    for row in np.random.default_rng(seed).permutation(len(examples)).tolist():
        label = examples[row].label
        taken[label] = taken.get(label, 0) + 1
        if taken[label] <= shots:
            picked.append(examples[row])
    return picked


def learn(
    taxonomy: Taxonomy, train: list[Example], judged: list[Example], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Train with the default settings and judge."""
    held_back = 0 if arguments.shots else round(len(train) * VALIDATION_SHARE)
    order = np.random.default_rng(arguments.seed).permutation(len(train)).tolist()
    validation, kept = ([train[row] for row in rows] for rows in (order[:held_back], order[held_back:]))
    defaults = BiEncoderSettings()
    training = dataclasses.replace(
        defaults.training, epochs=arguments.epochs or epochs_for(len(kept)), seed=arguments.seed
    )
    settings = dataclasses.replace(defaults, training=training)
    labels = label_texts(taxonomy)
    begun, used = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        result = train_bi_encoder(
            resolve_base_model("embedded"),
            Path(folder) / "encoder",
            kept,
            validation,
            labels,
            settings,
            progress=_show,
            budget_s=arguments.budget,
        )
        minutes = (time.perf_counter() - begun) / 60
        cpu_minutes = (time.process_time() - used) / 60
        encoder = TextEncoder(result.directory, SERVED_TOKENS)
        texts = encode_label_texts(encoder, labels)
        vectors = encoder.encode([encoder.email_ids(example.text) for example in judged])
    ids = [label.id for label in labels]
    scores = vectors @ result.prototypes.label_vectors(ids, texts).T
    return {
        "bi-encoder": shares(scores, ids, judged),
        "minutes": round(minutes, 1),
        "cpu_minutes": round(cpu_minutes, 1),
        "epochs": training.epochs,
        "stopped_early": result.training.stopped_early,
    }


def untrained(
    labels: Sequence[LabelTexts], train: Sequence[Example], judged: Sequence[Example]
) -> dict[str, Any]:
    """The untrained encoder: label texts alone, prototypes, and a logistic regression on its vectors."""
    from sklearn.linear_model import LogisticRegression

    encoder = TextEncoder(resolve_base_model("embedded"), SERVED_TOKENS)
    texts = encode_label_texts(encoder, labels)
    known, asked = (
        encoder.encode([encoder.email_ids(example.text) for example in part]) for part in (train, judged)
    )
    ids = [label.id for label in labels]
    place = {label: row for row, label in enumerate(ids)}
    targets = np.array([place[example.label] for example in train])
    weights = np.ones(len(targets), dtype=np.float32)
    learned = fit_prototypes(ids, texts, LabelledVectors(known, targets, weights))
    regression = LogisticRegression(C=10, max_iter=300).fit(known, targets)
    found = {
        "label texts": shares(asked @ texts.T, ids, judged),
        "prototypes": shares(asked @ learned.label_vectors(ids, texts).T, ids, judged),
    }
    names = [ids[row] for row in regression.classes_]
    return {**found, "logistic regression": shares(regression.decision_function(asked), names, judged)}


def lexical(train: Sequence[Example], judged: Sequence[Example]) -> dict[str, Any]:
    """TF-IDF of words and pairs of words with a linear SVM."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    tfidf = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=1 if len(train) < 2000 else 2)
    classifier = LinearSVC().fit(
        tfidf.fit_transform([example.text for example in train]), [example.label for example in train]
    )
    scores = classifier.decision_function(tfidf.transform([example.text for example in judged]))
    return {"TF-IDF + linear SVM": shares(scores, list(classifier.classes_), judged)}


def shares(scores: NDArray[Any], labels: Sequence[str], judged: Sequence[Example]) -> dict[str, float]:
    """Per cent of the judged texts with the right label first, and among the first five."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    hits = np.array(
        [[labels[place] == example.label for place in row] for row, example in zip(best, judged, strict=True)]
    )
    top1, recall = hits[:, 0].mean(), hits.any(axis=1).mean()
    return {"top_1": round(100 * float(top1), 2), "recall_at_5": round(100 * float(recall), 2)}


def main() -> None:
    """Measure one set and print one JSON record."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    taxonomy, train, judged = read_set(arguments.set, arguments.part)
    if arguments.shots:
        train = pick_shots(train, arguments.shots, arguments.seed)
    record = {"set": arguments.set, "part": arguments.part, "shots": arguments.shots, "seed": arguments.seed}
    record |= {"train": len(train), "judged": len(judged), "threads": arguments.threads}
    if not arguments.untrained:
        record |= learn(taxonomy, train, judged, arguments)
        print(json.dumps(record), file=sys.stderr, flush=True)
    if arguments.baselines or arguments.untrained:
        record |= lexical(train, judged) | untrained(label_texts(taxonomy), train, judged)
    record["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(record))


def _rows(name: str, part: str) -> list[dict[str, Any]]:
    content = (DATA / name / f"{part}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in content.splitlines()]


def _examples(rows: Sequence[dict[str, Any]]) -> list[Example]:
    return [
        Example(row["id"], Email(row["id"], row["subject"], row["body"]).text, row["label"], "gold", "import")
        for row in rows
    ]


def _show(progress: Progress) -> None:
    if progress.step % 20 == 0 or progress.step == progress.total_steps:
        line = f"step {progress.step} of {progress.total_steps}, loss {progress.loss:.3f}, "
        print(f"{line}{progress.seconds_left:.0f} s left", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--set", required=True, metavar="SET")
    parser.add_argument("--part", choices=("val", "test"), default="val")
    parser.add_argument("--shots", type=int, default=0, help="examples of each label; 0 is all there are")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=0, help="0: by the number of examples")
    parser.add_argument("--budget", type=float, help="seconds of training at most")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--baselines", action="store_true", help="the plain baselines and prototypes as well")
    parser.add_argument("--untrained", action="store_true", help="these alone, without training the encoder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
