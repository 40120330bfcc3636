"""`mailroom learn` killed thirty times, in every one of its steps: does it go on, and does it matter?

    python -m benchmarks.kills --seed 0

A desk with CLINC150 labels and `--texts` labelled texts of each of `--labels` labels, on which label vectors
and an encoder learn. One run is left alone and timed. The other is killed (SIGKILL) again and again: as often
in each step, at a moment of it that is drawn at random; kills that a step ended too soon for fall into later
ones. After each kill the desk must answer as before, byte
for byte; in the end both are compared on the validation part.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.learning_desk import import_rows, make_desk, read_rows
from benchmarks.poison import answers, in_bytes
from mailroom.store.cycles import CycleLog
from mailroom.workspace import Workspace

SET = "clinc150"
# What a line of progress begins with.
SAID_BY = "mailroom: "
# A step that takes so long can be hit.
_LONG_S = 1.0
Row = dict[str, Any]


@dataclass(frozen=True)
class Killed:
    """One kill: the step that it hit, and how long that had been under way."""

    step: str
    after_s: float


def start(root: Path) -> "subprocess.Popen[str]":
    """`mailroom learn` in a process of its own, whose steps are read from stderr."""
    command = [sys.executable, "-m", "mailroom", "-w", str(root), "learn", "--budget", "40m"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def steps(process: "subprocess.Popen[str]") -> Iterator[str]:
    """The names of the steps as they begin, without what belongs to a moment alone."""
    if process.stderr is None:
        raise SystemExit("expected the output of the process")
    for line in process.stderr:
        said = line.removeprefix(SAID_BY).strip()
        if (
            line.startswith(SAID_BY)
            and "skipped" not in said
            # Notes at the end, one of which begins with how many labels are doubtful.
            and not (said.startswith(("took", "went on", "`")) or said[:1].isdigit())
        ):
            yield said.partition(":")[0]


def undisturbed(root: Path) -> dict[str, float]:
    """Run a cycle to its end; the seconds of each step, in their order."""
    process = start(root)
    began: dict[str, float] = {}
    for step in steps(process):
        began.setdefault(step, time.monotonic())
    if process.wait() != 0:
        raise SystemExit(f"expected the undisturbed run to promote, got exit code {process.returncode}")
    ends = [*list(began.values())[1:], time.monotonic()]
    return {step: end - began[step] for step, end in zip(began, ends, strict=True)}


def disturbed(
    root: Path, seconds: dict[str, float], kills: int, seed: int, texts: Sequence[Row], champion: bytes
) -> list[Killed]:
    """Run the same cycle with so many kills, spread evenly over its steps; all of them, in order."""
    draw = random.Random(seed)
    planned = Counter(list(seconds)[place % len(seconds)] for place in range(kills))
    found: list[Killed] = []
    while True:
        process = start(root)
        killed = _kill_once(process, planned, seconds, draw)
        if killed is None:
            if process.wait() != 0:
                raise SystemExit(f"expected the last run to promote, got exit code {process.returncode}")
            return found
        found.append(killed)
        _check(root, texts, champion)
        print(
            f"kill {len(found):2}: {killed.step}, {killed.after_s:.1f} s into it", file=sys.stderr, flush=True
        )


def _kill_once(
    process: "subprocess.Popen[str]", planned: Counter[str], seconds: dict[str, float], draw: random.Random
) -> Killed | None:
    """Kill the process in the first step that has a kill left; None where it ends before."""
    for step in steps(process):
        _catch_up(planned, step, seconds)
        if planned[step] <= 0:
            continue
        planned[step] -= 1
        after = draw.uniform(0, max(0.1, 0.9 * seconds[step]))
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            return Killed(step, after)
        return None
    return None


def _catch_up(planned: Counter[str], step: str, seconds: dict[str, float]) -> None:
    """Move kills that earlier steps were over too soon for to this one, if it is long enough to be hit."""
    if seconds.get(step, 0.0) < _LONG_S:
        return
    for earlier in list(seconds)[: list(seconds).index(step)]:
        planned[step] += planned.pop(earlier, 0)


def _check(root: Path, texts: Sequence[Row], champion: bytes) -> None:
    """The champion answers as before, unless its successor has been promoted by now."""
    with Workspace.open(root) as workspace:
        newest = CycleLog(workspace.database).history(1)[0]
        is_promoted = workspace.promotions.current() == newest.model
    if not is_promoted and in_bytes(answers(root, texts)) != champion:
        raise SystemExit("expected the champion's answers after a kill, got others")


def main() -> None:
    """Run both cycles and print where the kills fell and what the two came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--labels", type=int, default=25)
    parser.add_argument("--texts", type=int, default=30, help="labelled texts of each of them")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows = random.Random(arguments.seed).sample(read_rows(SET, "train"), k=15_000)
    labels = sorted({row["label"] for row in rows})[: arguments.labels]
    taught = [row for label in labels for row in [r for r in rows if r["label"] == label][: arguments.texts]]
    judged = [row for row in read_rows(SET, "val") if row["label"] in labels]
    with tempfile.TemporaryDirectory() as folder:
        root = make_desk(SET, Path(folder), {"threads": 1})
        import_rows(root, taught)
        champion = in_bytes(answers(root, judged[:50]))
        alone = shutil.copytree(root, Path(folder) / "alone")
        began = time.monotonic()
        seconds = undisturbed(alone)
        print(
            f"undisturbed: {time.monotonic() - began:.0f} s; " + _shown(seconds), file=sys.stderr, flush=True
        )
        found = disturbed(root, seconds, arguments.kills, arguments.seed, judged[:50], champion)
        right = [
            np.array([a.label == row["label"] for a, row in zip(answers(one, judged), judged, strict=True)])
            for one in (alone, root)
        ]
    counts = Counter(kill.step for kill in found)
    print(f"{len(found)} kills, each gone on from; the champion answered byte for byte until it was replaced")
    for step in seconds:
        print(f"  {step:32} {counts[step]:2} kills, {seconds[step]:6.1f} s undisturbed")
    changed = int((right[0] != right[1]).sum())
    print(
        f"top-1 on {len(judged)} validation texts: undisturbed {right[0].mean():.1%}, "
        f"killed {right[1].mean():.1%}; {changed} answers are right in one alone"
    )


def _shown(seconds: dict[str, float]) -> str:
    return ", ".join(f"{step} {value:.1f}" for step, value in seconds.items())


if __name__ == "__main__":
    main()
