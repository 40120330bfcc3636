"""CLINC150 and its out-of-scope texts: how well do the answers' own figures tell foreign mail?

    python -m benchmarks.outside --part val
    python -m benchmarks.outside --part val --workspace desk

Without a workspace one is made from label names alone. `val` holds 3,000 texts against the 200 of oos_val and
oos_train; choose anything by it. `test` (4,500 against 1,000) is for the figure that is published.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.label_trees import prepare
from mailroom.evaluate.outside import FALSE_ALARMS, foreignness, outside_figures
from mailroom.records import Candidate, Email, Prediction
from mailroom.workspace import Workspace, create_workspace

DATA = Path(os.environ.get("MAILROOM_DATA", Path(__file__).parents[2] / "shared" / "data")) / "clinc150"
PARTS = {"val": (("val",), ("oos_val", "oos_train")), "test": (("test",), ("oos_test",))}
Scores = NDArray[np.float64]


def energy(temperature: float) -> Callable[[Prediction], float]:
    """The score that mailroom uses, at another temperature."""
    return lambda answer: foreignness(similarities(answer.candidates), temperature)


def similarities(candidates: tuple[Candidate, ...]) -> list[float]:
    """Cosines, highest first."""
    return sorted((candidate.similarity for candidate in candidates), reverse=True)


def entropy(answer: Prediction) -> float:
    """Of the candidates' probabilities."""
    shares = np.array([candidate.probability for candidate in answer.candidates])
    return float(-(shares * np.log(np.maximum(shares, 1e-12))).sum())


def lead(answer: Prediction) -> float:
    """Of the best cosine over the mean of the others, negated."""
    best, *others = similarities(answer.candidates)
    return float(np.mean(others)) - best


# Higher is more foreign.
SCORES: dict[str, Callable[[Prediction], float]] = {
    "margin": lambda answer: -answer.margin,
    "highest probability": lambda answer: -answer.probability,
    "entropy": entropy,
    "lead of the best cosine": lead,
    "highest probability × cosine": lambda answer: -answer.probability * similarities(answer.candidates)[0],
    "highest cosine": lambda answer: -similarities(answer.candidates)[0],
    "energy, T = 0.02": energy(0.02),
    "energy, T = 0.05": energy(0.05),
    "energy, T = 0.1": energy(0.1),
}


def answers(workspace: Workspace, names: tuple[str, ...]) -> list[Prediction]:
    """What the workspace answers to the texts of some parts."""
    classifier = workspace.classifier()
    lines = [line for name in names for line in (DATA / f"{name}.jsonl").read_text("utf-8").splitlines()]
    rows = [json.loads(line) for line in lines]
    return [classifier.classify(Email(row["id"], row["subject"], row["body"])) for row in rows]


def measure(root: Path, part: str) -> None:
    """Print one row a score."""
    inside, outside = PARTS[part]
    with Workspace.open(root, read_only=True) as workspace:
        known, foreign = answers(workspace, inside), answers(workspace, outside)
    print(f"{len(known):,} known, {len(foreign):,} foreign; version {known[0].model}, {known[0].decided_by}")
    print(f"{'score':30} AUROC  found at {FALSE_ALARMS:.0%} false alarms")
    for name, score in SCORES.items():
        inner, outer = (np.array([score(answer) for answer in found]) for found in (known, foreign))
        figures = outside_figures(inner, outer)
        print(f"{name:30} {figures.auroc:.4f} {figures.found:6.1%}")


def main() -> None:
    """Measure a workspace, or one that is made from label names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--part", choices=tuple(PARTS), default="val")
    parser.add_argument("--workspace", type=Path, help="a workspace with CLINC150's labels")
    arguments = parser.parse_args()
    if arguments.workspace:
        measure(arguments.workspace, arguments.part)
        return
    with tempfile.TemporaryDirectory() as folder:
        taxonomy, _ = prepare("clinc150", "train", 1, Path(folder))
        root = Path(folder) / "desk"
        create_workspace(root, taxonomy, "embedded", "none", lambda _: None).database.close()
        measure(root, arguments.part)


if __name__ == "__main__":
    main()
