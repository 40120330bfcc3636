"""What each part of a learning cycle is worth: the same cycle without it, one row each, on clinc150.

    python -m benchmarks.ablations [--labels 20 --texts 25 --mail 60] [--rows all "without silver" …]

A desk with CLINC150's 150 label names; of `--labels` of them, so many labelled texts and so much logged,
unlabelled mail; one cycle, by default with both encoders trained. Every row starts from the same desk; the
part that it lacks is switched off by its setting, or in the code. Judged on the labels' validation texts by
what answers in the end, the gate open, and beside it by all that was tried.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.learning_desk import (
    LABEL_VECTORS_ALONE,
    change_settings,
    import_rows,
    learn,
    make_desk,
    read_rows,
)
from benchmarks.poison import answers
from mailroom.curate import hard_negatives
from mailroom.cycle import run as cycle_run
from mailroom.cycle.second_stage import SecondStage
from mailroom.models import unlabelled
from mailroom.models.prototypes import fit_prototypes
from mailroom.records import Email
from mailroom.store.cycles import CycleLog
from mailroom.store.prediction_log import LogEntry
from mailroom.train import cross_fit, rerank_sets
from mailroom.workspace import Workspace

SET = "clinc150"
Row = dict[str, Any]
Off = Callable[[], AbstractContextManager[Any]]


@contextmanager
def without_siblings() -> Iterator[None]:
    """Neither among hard negatives nor in candidate sets."""
    made = rerank_sets.RerankSettings
    no_negatives: Any = patch.object(hard_negatives._Source, "_shuffled", lambda *_: [])
    with no_negatives, patch.object(rerank_sets, "RerankSettings", lambda **given: made(siblings=0, **given)):
        yield


def without_distillation() -> AbstractContextManager[Any]:
    """The encoder keeps what it was trained to."""
    return patch.object(SecondStage, "distil", lambda *_: {"skipped": "switched off"})


def in_sample() -> AbstractContextManager[Any]:
    """Candidates by label vectors that learned from the very emails."""

    def proposals(labels: Any, texts: Any, emails: Any, _: Any, top_k: int) -> cross_fit.Proposals:
        learned = fit_prototypes(labels, texts, emails)
        return cross_fit.Proposals.nearest(emails.vectors @ learned.label_vectors(labels, texts).T, top_k)

    return patch.object(cross_fit, "cross_fit_prototypes", proposals)


# Settings that a row changes, and what it switches off in the code.
ROWS: dict[str, tuple[dict[str, object], Off]] = {
    "all": ({}, nullcontext),
    "without silver": ({"silver_pool_emails": 0}, nullcontext),
    "without unlabelled mail": ({}, lambda: patch.object(unlabelled, "WEIGHTS", (0.0,))),
    "without words": (
        {},
        lambda: patch.object(cycle_run, "words_step", lambda *_, **__: {"setups": [], "heads": {}}),
    ),
    "without averaging": ({"encoder_runs": 1}, nullcontext),
    "without hard negatives": ({"hard_negatives": 0}, nullcontext),
    "without siblings": ({}, without_siblings),
    "without distillation": ({}, without_distillation),
    "in-sample candidates": ({}, in_sample),
}


def prepare(folder: Path, arguments: argparse.Namespace) -> tuple[Path, list[Row]]:
    """The desk that all rows start from, and the texts that judge."""
    rows = random.Random(arguments.seed).sample(read_rows(SET, "train"), k=15_000)
    labels = random.Random(arguments.seed).sample(sorted({row["label"] for row in rows}), arguments.labels)
    own = {label: [row for row in rows if row["label"] == label] for label in labels}
    settings: dict[str, object] = {"threads": 1, "tolerance": 1.0}
    if arguments.encoders == "none":
        settings |= LABEL_VECTORS_ALONE
    else:
        # A cross-encoder takes 100 validation emails, more than so little gold has by default.
        settings |= {"train_from_gold": 1, "validation_share": 0.3}
        settings |= {"train_cross_encoder": json.dumps(arguments.encoders)}
    root = make_desk(SET, folder, settings)
    import_rows(root, [row for label in labels for row in own[label][: arguments.texts]])
    stop = arguments.texts + arguments.mail
    log_mail(root, [row for label in labels for row in own[label][arguments.texts : stop]])
    return root, [row for row in read_rows(SET, "val") if row["label"] in labels]


def log_mail(root: Path, rows: Sequence[Row]) -> None:
    """Answer unlabelled mail into the log."""
    emails = [Email(row["id"], row["subject"], row["body"]) for row in rows]
    with Workspace.open(root) as workspace:
        workspace.register_taxonomy()
        classify = workspace.classifier().classify
        workspace.log.append([LogEntry(classify(email), email, "benchmark") for email in emails])


def play(root: Path, name: str, judged: Sequence[Row], arguments: argparse.Namespace) -> Row:
    """One row: a copy of the desk without one part, one cycle, and what answers then."""
    settings, off = ROWS[name]
    desk = Path(shutil.copytree(root, root.parent / name.replace(" ", "-")))
    change_settings(desk, settings)
    used = time.process_time()
    with off():
        learn(desk, arguments.budget, arguments.seed)
    used = time.process_time() - used
    found = answers(desk, judged)
    right = np.array([answer.label == row["label"] for answer, row in zip(found, judged, strict=True)])
    near = [
        row["label"] in [c.label for c in answer.candidates[:5]]
        for answer, row in zip(found, judged, strict=True)
    ]
    with Workspace.open(desk, read_only=True) as workspace:
        steps = CycleLog(workspace.database).history(1)[0].steps
    tried = {one["setup"]["name"]: round(100 * one["top_1"], 1) for one in steps["choose"]["tried"]}
    skipped = {step: kept["skipped"] for step, kept in steps.items() if "skipped" in kept}
    shutil.rmtree(desk)
    return {
        "row": name,
        "top_1": round(100 * float(right.mean()), 1),
        "recall_at_5": round(100 * float(np.mean(near)), 1),
        "answers_by": steps["choose"]["setup"]["name"],
        "silver": steps["curate"]["silver"],
        "cpu_minutes": round(used / 60, 1),
        "tried_on_validation_gold": tried,
        "skipped": skipped,
    }


def main() -> None:
    """Play the rows and print one JSON record each, then a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--labels", type=int, default=20)
    parser.add_argument("--texts", type=int, default=25, help="labelled texts of each of them")
    parser.add_argument("--mail", type=int, default=60, help="and logged ones that nobody labelled")
    parser.add_argument(
        "--encoders",
        choices=("none", "never", "always"),
        default="always",
        help="train none, the bi-encoder alone (never a cross-encoder), or both",
    )
    parser.add_argument("--budget", type=float, default=1800.0, help="seconds of a cycle at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="ROW")
    arguments = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        root, judged = prepare(Path(folder), arguments)
        for name in arguments.rows:
            found.append(play(root, name, judged, arguments))
            print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    print(f"{len(judged)} validation texts of {arguments.labels} labels among 150")
    print("| | top-1 | Recall@5 | answers by | silver | CPU minutes |\n|---|---|---|---|---|---|")
    for one in found:
        cells = (one[key] for key in ("row", "top_1", "recall_at_5", "answers_by", "silver", "cpu_minutes"))
        print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main()
