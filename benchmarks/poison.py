"""A poisoned week on clinc150: what the gate makes of it, what it costs, what is found, and is it taken back?

    python -m benchmarks.poison --seed 0

Label vectors alone. `--first` labelled texts a label teach a champion; then `--later` more a label come, and
for three labels `--of-the-three`, of which `--wrong` carry the champion's likeliest wrong one. Beside it the
same run without a wrong word. Both learn from the training part; accuracy is that on the validation part.
"""

import argparse
import dataclasses
import json
import random
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.learning_desk import LABEL_VECTORS_ALONE, import_rows, learn, make_desk, read_rows
from mailroom.cycle.outcome import Outcome
from mailroom.records import Email, Prediction
from mailroom.workspace import Workspace
from mailroom.workspace.versions import Versions

SET = "clinc150"
POISONED_LABELS = 3
Row = dict[str, Any]


def draw(
    rows: Sequence[Row], first: int, later: int, poisoned_later: int, seed: int
) -> tuple[list[Row], list[Row], list[str]]:
    """The first texts of each label, the later ones, and the labels to poison, all drawn at random."""
    shuffled = random.Random(seed).sample(list(rows), len(rows))
    by_label: defaultdict[str, list[Row]] = defaultdict(list)
    for row in shuffled:
        by_label[row["label"]].append(row)
    labels = random.Random(seed).sample(sorted(by_label), POISONED_LABELS)
    counts = {label: poisoned_later if label in labels else later for label in sorted(by_label)}
    return (
        [row for label in counts for row in by_label[label][:first]],
        [row for label, count in counts.items() for row in by_label[label][first : first + count]],
        labels,
    )


def answers(root: Path, rows: Sequence[Row]) -> list[Prediction]:
    """What the workspace answers now."""
    with Workspace.open(root, read_only=True) as workspace:
        classify = workspace.classifier().classify
        return [classify(Email(row["id"], row["subject"], row["body"])) for row in rows]


def in_bytes(found: Sequence[Prediction]) -> bytes:
    """All of the answers but what differs from run to run."""
    left_out = {"id", "created_at", "latency_ms"}
    records = [{k: v for k, v in one.to_dict().items() if k not in left_out} for one in found]
    return json.dumps(records, sort_keys=True).encode()


def poisoned(root: Path, rows: Sequence[Row], labels: Sequence[str], wrong: float, seed: int) -> list[Row]:
    """The rows with a share of those labels' words turned into the champion's likeliest wrong label."""
    draw_wrong = random.Random(seed)
    chosen = [row for row in rows if row["label"] in labels and draw_wrong.random() < wrong]
    said = {
        row["id"]: next(c.label for c in answer.candidates if c.label != row["label"])
        for row, answer in zip(chosen, answers(root, chosen), strict=True)
    }
    return [{**row, "label": said.get(row["id"], row["label"])} for row in rows]


def accuracy(found: Sequence[Prediction], rows: Sequence[Row], labels: Sequence[str] | None = None) -> float:
    """The share of right answers, to the emails of some labels alone."""
    right = [
        answer.label == row["label"]
        for answer, row in zip(found, rows, strict=True)
        if labels is None or row["label"] in labels
    ]
    return sum(map(bool, right)) / len(right)


@dataclasses.dataclass
class Week:
    """A desk, and the week that came in: what people said, and the truth."""

    root: Path
    said: list[Row]
    outcome: Outcome | None = None

    def live(self) -> "Week":
        """Import the week and run a cycle."""
        import_rows(self.root, self.said, "ann")
        self.outcome = learn(self.root)
        return self


def doubted(week: Week, truth: dict[str, str]) -> str:
    """How many of the wrong words the cycle names, and how many right ones."""
    if week.outcome is None or week.outcome.folder is None:
        return "none"
    report = json.loads((Path(week.outcome.folder) / "report.json").read_text(encoding="utf-8"))
    named = {doubt["email_id"] for doubt in report["doubts"]}
    wrong = {row["id"] for row in week.said if truth[row["id"]] != row["label"]}
    return f"{len(named)} named, {len(named & wrong)} of the {len(wrong)} wrong ones among them"


def main() -> None:
    """Play both weeks and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--first", type=int, default=10, help="labelled texts of each label to begin with")
    parser.add_argument("--later", type=int, default=3, help="and in the poisoned week")
    parser.add_argument("--of-the-three", type=int, default=40, help="and of each poisoned label")
    parser.add_argument("--wrong", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        play(Path(folder), arguments)


def play(folder: Path, arguments: argparse.Namespace) -> None:
    """Both weeks in a folder."""
    shares = (arguments.first, arguments.later, arguments.of_the_three)
    first, later, labels = draw(read_rows(SET, "train"), *shares, arguments.seed)
    judged = read_rows(SET, "val")
    truth = {row["id"]: row["label"] for row in later}
    root = make_desk(SET, folder, LABEL_VECTORS_ALONE)
    import_rows(root, first)
    learn(root)
    before = answers(root, judged)
    control = Week(shutil.copytree(root, folder / "control"), later).live()
    week = Week(root, poisoned(root, later, labels, arguments.wrong, arguments.seed)).live()
    rows = [("before", before), ("the week, clean", answers(control.root, judged))]
    rows.append(("the week, poisoned", answers(root, judged)))
    if week.outcome is not None and week.outcome.promoted:
        with Workspace.open(root) as workspace:
            Versions(workspace).rollback("benchmark", "poisoned")
    back = in_bytes(answers(root, judged)) == in_bytes(before)
    changed = sum(truth[row["id"]] != row["label"] for row in week.said)
    print(f"{changed} wrong words among {len(later):,}, for {', '.join(labels)}; seed {arguments.seed}")
    print(f"{'':22} all labels   the three   each of them")
    for name, found in rows:
        each = "  ".join(f"{accuracy(found, judged, [label]):6.1%}" for label in labels)
        print(f"{name:22} {accuracy(found, judged):10.1%} {accuracy(found, judged, labels):11.1%}   {each}")
    print(f"gate: {week.outcome.outcome if week.outcome else ''}")
    print(f"look at these again: {doubted(week, truth)}")
    print(f"after a rollback the answers are {'the former ones, byte for byte' if back else 'OTHERS'}")


if __name__ == "__main__":
    main()
