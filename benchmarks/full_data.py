"""Learning from a set's labelled texts in one run: top-1 and Recall@5 beside plain baselines.

    python -m benchmarks.full_data --set clinc150 [--part val] [--shots 10] [--baselines | --untrained]

Trains a bi-encoder with its label vectors on the training part (or on `--shots` of each label) with the
default settings and judges it on `--part`. Where a set has no val.jsonl, `--part val` is a fifth of training
data. "+ words" adds the lexical head to the cosines: beside the trained encoder it counts as much as
held-back training texts say, beside the untrained one as cross-fitting says. Baselines: TF-IDF (words and
pairs) with a linear SVM, and a logistic regression on the untrained encoder's vectors, on the same texts.
Choose anything by val; test is for the figure that is published.
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
from mailroom.models.lexical import Lexical
from mailroom.models.lexical_learn import Lessons, learn_lexical
from mailroom.models.lexical_weight import Judged, weight_beside
from mailroom.models.prototypes import LabelledVectors, fit_prototypes
from mailroom.models.sources import resolve_base_model
from mailroom.records import Email, Example
from mailroom.taxonomy import Taxonomy, load_taxonomy
from mailroom.train.bi_encoder import train_bi_encoder
from mailroom.train.bi_encoder_settings import BiEncoderSettings, epochs_for
from mailroom.train.cross_fit import folds_of
from mailroom.train.label_texts import LabelTexts, encode_label_texts, label_texts
from mailroom.train.loop import Progress
from mailroom.train.text_encoder import TextEncoder

# What serving reads of an email.
SERVED_TOKENS = 256
VALIDATION_SHARE = 0.05
WORD_FOLDS = 3


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
    settings = dataclasses.replace(defaults, training=training, runs=arguments.runs)
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
        vectors, held = (
            encoder.encode([encoder.email_ids(example.text) for example in part])
            for part in (judged, validation)
        )
    ids = [label.id for label in labels]
    nearest = result.prototypes.label_vectors(ids, texts)
    scores = vectors @ nearest.T
    found = {"bi-encoder": shares(scores, ids, judged)}
    begun = time.perf_counter()
    head = head_of(labels, kept, Untrained(labels), arguments.seed)
    if head is not None and validation:
        head = head.weighing(weight_of(head, ids, validation, held @ nearest.T))
    if head is not None:
        found["bi-encoder + words"] = shares(scores + added(head, ids, judged), ids, judged)
        found["bi-encoder + words"] |= {"weight": head.weight}
    return {
        **found,
        "words_minutes": round((time.perf_counter() - begun) / 60, 1),
        "minutes": round(minutes, 1),
        "cpu_minutes": round(cpu_minutes, 1),
        "epochs": training.epochs,
        "runs": result.runs,
        "stopped_early": result.training.stopped_early,
    }


class Untrained:
    """The untrained encoder, which reads each text once."""

    def __init__(self, labels: Sequence[LabelTexts]) -> None:
        self._encoder = TextEncoder(resolve_base_model("embedded"), SERVED_TOKENS)
        self.texts = encode_label_texts(self._encoder, labels)
        self._ids = {label.id: row for row, label in enumerate(labels)}

    def vectors(self, examples: Sequence[Example]) -> NDArray[np.float32]:
        """Unit vectors (n, d) of the examples' texts."""
        return self._encoder.encode([self._encoder.email_ids(example.text) for example in examples])

    def labelled(self, examples: Sequence[Example]) -> LabelledVectors:
        """The examples as label vectors learn them."""
        targets = np.array([self._ids[example.label] for example in examples], dtype=np.intp)
        return LabelledVectors(self.vectors(examples), targets, np.ones(len(targets), dtype=np.float32))


def head_of(
    labels: Sequence[LabelTexts],
    train: Sequence[Example],
    encoder: Untrained,
    seed: int,
    emails: LabelledVectors | None = None,
) -> Lexical | None:
    """The lexical head of these examples, weighed beside the untrained encoder's label vectors."""
    return learn_lexical(
        Lessons(
            [label.id for label in labels],
            encoder.texts,
            emails or encoder.labelled(train),
            [example.text for example in train],
            folds_of(train, WORD_FOLDS, seed),
            seed,
        )
    )


def added(head: Lexical, ids: Sequence[str], examples: Sequence[Example]) -> NDArray[np.float32]:
    """What words add to the cosines of each example (n, labels)."""
    words = head.for_labels(ids)
    return np.stack([words.score(example.text) for example in examples])


def weight_of(
    head: Lexical, ids: Sequence[str], examples: Sequence[Example], cosines: NDArray[np.float32]
) -> float:
    """How much the head counts beside these cosines (n, labels), by examples that neither learned."""
    words = head.for_labels(ids).raw_scores([example.text for example in examples])
    targets = np.array([list(ids).index(example.label) for example in examples], dtype=np.intp)
    return weight_beside(Judged(cosines, words, targets, np.ones(len(targets), np.float32)), head.neutral)


def untrained(
    labels: Sequence[LabelTexts], train: Sequence[Example], judged: Sequence[Example], seed: int
) -> dict[str, Any]:
    """The untrained encoder: label texts, prototypes, these with words, and a logistic regression."""
    from sklearn.linear_model import LogisticRegression

    encoder = Untrained(labels)
    texts, emails, asked = encoder.texts, encoder.labelled(train), encoder.vectors(judged)
    ids = [label.id for label in labels]
    learned = fit_prototypes(ids, texts, emails)
    regression = LogisticRegression(C=10, max_iter=300).fit(emails.vectors, emails.targets)
    cosines = asked @ learned.label_vectors(ids, texts).T
    found: dict[str, Any] = {
        "label texts": shares(asked @ texts.T, ids, judged),
        "prototypes": shares(cosines, ids, judged),
    }
    begun = time.process_time()
    head = head_of(labels, train, encoder, seed, emails)
    if head is not None:
        seconds = time.process_time() - begun
        found["prototypes + words"] = shares(cosines + added(head, ids, judged), ids, judged)
        found["prototypes + words"] |= {"weight": head.weight, "cpu_seconds": round(seconds)}
    names = [ids[row] for row in regression.classes_]
    found["logistic regression"] = shares(regression.decision_function(asked), names, judged)
    return found


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
        record |= lexical(train, judged) | untrained(label_texts(taxonomy), train, judged, arguments.seed)
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
    parser.add_argument("--runs", type=int, default=3, help="trainings whose weights are averaged")
    parser.add_argument("--budget", type=float, help="seconds of training at most")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--baselines", action="store_true", help="the plain baselines and prototypes as well")
    parser.add_argument("--untrained", action="store_true", help="these alone, without training the encoder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
