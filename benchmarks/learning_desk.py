"""Desks for measuring the learning loop: made from a set's label names, with labelled mail imported."""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.label_trees import DATA, prepare
from mailroom.cycle.outcome import Outcome
from mailroom.cycle.run import Options
from mailroom.workspace import Workspace, create_workspace
from mailroom.workspace.feedback_import import FeedbackImport
from mailroom.workspace.learning import learn_workspace

# More gold than any set has: the encoders stay as they are.
LABEL_VECTORS_ALONE = {"train_from_gold": 10_000_000}


def make_desk(name: str, folder: Path, settings: Mapping[str, object] | None = None) -> Path:
    """A workspace with the set's label names and no cross-encoder; `settings` by the last part of a name."""
    taxonomy, _ = prepare(name, "train", 1, folder)
    root = folder / "desk"
    create_workspace(root, taxonomy, "embedded", "none", lambda _: None).database.close()
    change_settings(root, settings or {})
    return root


def change_settings(root: Path, settings: Mapping[str, object]) -> None:
    """Change values of mailroom.toml by the last part of their names."""
    path = root / "mailroom.toml"
    text = path.read_text(encoding="utf-8")
    for name, value in settings.items():
        text, changed = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", text)
        if changed != 1:
            raise SystemExit(f"{path}: expected one setting {name}, found {changed}")
    path.write_text(text, encoding="utf-8")


def read_rows(name: str, *parts: str) -> list[dict[str, Any]]:
    """The rows of some parts of a set."""
    paths = [DATA / name / f"{part}.jsonl" for part in parts]
    return [json.loads(line) for path in paths for line in path.read_text("utf-8").splitlines()]


def import_rows(root: Path, rows: Iterable[Mapping[str, Any]], reviewer: str = "history") -> int:
    """Import labelled mail as people's words; how many were taken."""
    path = root.parent / "import.jsonl"
    path.write_text("".join(json.dumps(dict(row)) + "\n" for row in rows), encoding="utf-8")
    with Workspace.open(root) as workspace:
        workspace.register_taxonomy()
        return FeedbackImport(workspace, reviewer).run(path).added


def learn(root: Path, budget_s: float = 600.0, seed: int = 0) -> Outcome:
    """One cycle; its summary goes to stderr."""
    with Workspace.open(root) as workspace:
        outcome = learn_workspace(workspace, Options("benchmark", budget_s, seed), lambda *_: None)
    print(outcome.summary, file=sys.stderr, flush=True)
    return outcome
