"""CLINC150 and its out-of-scope texts: how well do the answers' own figures tell foreign mail?

    python -m benchmarks.outside --part val [--learned]
    python -m benchmarks.outside --part val --workspace desk

Without a workspace one is made from label names alone; `--learned` imports the 15,000 training texts into it
and runs one cycle: label vectors learn, a threshold is fitted, and the last lines say what its mark does.
`val` holds 3,000 texts against the 200 of oos_val and oos_train; choose anything by it. `test` (4,500 against
1,000) is for the figure that is published.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning_desk import LABEL_VECTORS_ALONE, import_rows, learn, make_desk, read_rows
from mailroom.classify.marks import foreignness
from mailroom.evaluate.outside import FALSE_ALARMS, outside_figures
from mailroom.records import REVIEW_REASONS, Candidate, Email, Prediction, ReviewReason
from mailroom.workspace import Workspace

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
    rows = read_rows("clinc150", *names)
    return [classifier.classify(Email(row["id"], row["subject"], row["body"])) for row in rows]


def measure(root: Path, part: str) -> None:
    """Print one row a score."""
    inside, outside = PARTS[part]
    with Workspace.open(root, read_only=True) as workspace:
        known, foreign = answers(workspace, inside), answers(workspace, outside)
        above = workspace.version.outside_above
    print(f"{len(known):,} known, {len(foreign):,} foreign; version {known[0].model}, {known[0].decided_by}")
    print(f"{'score':30} AUROC  found at {FALSE_ALARMS:.0%} false alarms")
    for name, score in SCORES.items():
        inner, outer = (np.array([score(answer) for answer in found]) for found in (known, foreign))
        figures = outside_figures(inner, outer)
        print(f"{name:30} {figures.auroc:.4f} {figures.found:6.1%}")
    if above is not None:
        for reason in REVIEW_REASONS:
            shares = [_marked(found, reason) for found in (known, foreign)]
            print(f"marked {reason:23} {shares[0]:6.1%} known {shares[1]:6.1%} foreign")
        marked = [np.mean([answer.needs_review for answer in found]) for found in (known, foreign)]
        print(f"marked for review at all       {marked[0]:6.1%} known {marked[1]:6.1%} foreign")


def _marked(found: list[Prediction], reason: ReviewReason) -> float:
    return float(np.mean([reason in answer.review_reasons for answer in found]))


def main() -> None:
    """Measure a workspace, or one that is made from label names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--part", choices=tuple(PARTS), default="val")
    parser.add_argument("--learned", action="store_true", help="from the training part, label vectors alone")
    parser.add_argument("--workspace", type=Path, help="a workspace with CLINC150's labels")
    arguments = parser.parse_args()
    if arguments.workspace:
        measure(arguments.workspace, arguments.part)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = make_desk("clinc150", Path(folder), LABEL_VECTORS_ALONE)
        if arguments.learned:
            import_rows(root, read_rows("clinc150", "train"))
            learn(root)
        measure(root, arguments.part)


if __name__ == "__main__":
    main()
