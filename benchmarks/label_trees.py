"""Cold start on public label trees: `init` from label names alone, then `evaluate`, fp32 beside int8.

    python benchmarks/label_trees.py --part test
    python benchmarks/label_trees.py --part train --limit 2000 --sets clinc150 cfpb

Reads $MAILROOM_DATA (default ../shared/data), a folder a set with taxonomy.json and PART.jsonl. Choose
anything by the train part only; the test part is for the figure that is published.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("MAILROOM_DATA", Path(__file__).parents[2] / "shared" / "data"))
SETS = ("clinc150", "20news", "bitext", "cfpb", "multilang_tickets")
# Where a set's own leaves are finer than its size bears, the path is cut to these levels.
CUT = {"cfpb": (0, 2)}
SEED = 0


def prepare(name: str, part: str, limit: int | None, folder: Path) -> tuple[Path, Path]:
    """Write taxonomy.json and gold.jsonl of one set into `folder`; labels keep names and places only."""
    labels = json.loads((DATA / name / "taxonomy.json").read_text(encoding="utf-8"))["labels"]
    rows = [
        json.loads(line) for line in (DATA / name / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    if limit is not None and limit < len(rows):
        rows = random.Random(SEED).sample(rows, limit)
    if name in CUT:
        labels, rows = cut(labels, rows, CUT[name])
    taxonomy, gold = folder / "taxonomy.json", folder / "gold.jsonl"
    taxonomy.write_text(json.dumps({"labels": [{"id": x["id"], "path": x["path"]} for x in labels]}))
    gold.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return taxonomy, gold


def cut(
    labels: list[dict[str, Any]], rows: list[dict[str, Any]], levels: tuple[int, ...]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Labels and rows with paths reduced to `levels`, the label being the joined path."""

    def short(path: list[str]) -> list[str]:
        return [path[level] for level in levels]

    paths = sorted({tuple(short(label["path"])) for label in labels})
    return (
        [{"id": " > ".join(path), "path": list(path)} for path in paths],
        [{**row, "label": " > ".join(short(row["path"])), "path": short(row["path"])} for row in rows],
    )


def mailroom(*arguments: str) -> str:
    """Run one command of this checkout and return what it printed."""
    command = [sys.executable, "-m", "mailroom", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def measure(
    name: str, part: str, limit: int | None, cross_encoder: str, folder: Path
) -> list[dict[str, Any]]:
    """The evaluation of one set in fp32 and in int8."""
    taxonomy, gold = prepare(name, part, limit, folder)
    workspace = folder / "desk"
    mailroom("init", str(workspace), "--taxonomy", str(taxonomy), "--cross-encoder", cross_encoder)
    settings = workspace / "mailroom.toml"
    written = settings.read_text(encoding="utf-8")
    results = []
    for precision in ("fp32", "int8"):
        settings.write_text(re.sub(r'precision = ".*"', f'precision = "{precision}"', written))
        record = json.loads(mailroom("--workspace", str(workspace), "evaluate", str(gold), "--json"))
        results.append({"set": name, "part": part, "precision": precision, **record})
    return results


def main() -> None:
    """Measure the chosen sets and print a table, or JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--part", choices=("train", "val", "test"), default="train")
    parser.add_argument("--limit", type=int, help="rows of a set at most, sampled with seed 0")
    parser.add_argument("--sets", nargs="+", default=SETS, metavar="SET")
    parser.add_argument("--cross-encoder", default="none", help="as `init` takes it; none is retrieval alone")
    parser.add_argument("--json", action="store_true", help="one JSON record a set and precision")
    arguments = parser.parse_args()
    if not arguments.json:
        print(f"{'set':18} {'rows':>6} {'prec.':5}  top-1   R@3   R@5  R@10  R@20    ECE  emails/s")
    for name in arguments.sets:
        with tempfile.TemporaryDirectory() as folder:
            options = (arguments.part, arguments.limit, arguments.cross_encoder)
            for record in measure(name, *options, Path(folder)):
                print(json.dumps(record) if arguments.json else row(record), flush=True)


def row(record: dict[str, Any]) -> str:
    """One line of the table."""
    recalls = "  ".join(f"{record[f'recall_at_{k}']:5.1%}" for k in (1, 3, 5, 10, 20))
    return (
        f"{record['set']:18} {record['emails']:6} {record['precision']:5}  {recalls}"
        f"  {record['expected_calibration_error']:.3f}  {record['emails_per_second']:8.1f}"
    )


if __name__ == "__main__":
    main()
