"""What a cycle works on and keeps its results in: the workspace's parts, and the cycle's own folder."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailroom.config import Settings
from mailroom.models.registry import ModelVersion
from mailroom.models.runtime import Precision
from mailroom.store.database import Database
from mailroom.taxonomy import Taxonomy

# What a step leaves for the next ones; gone when the cycle has ended.
_WORK = "work"


@dataclass(frozen=True, slots=True)
class Desk:
    """A workspace as learning needs it; `precisions` are those in which the champion's encoders serve."""

    models: Path
    settings: Settings
    taxonomy: Taxonomy
    database: Database
    champion: ModelVersion
    precisions: Mapping[str, Precision]
    threads: int

    @property
    def label_ids(self) -> list[str]:
        """The labels that can be given, in the taxonomy's order, which is that of all label vectors."""
        return [label.id for label in self.taxonomy.assignable]

    def are_siblings(self, one: str, other: str) -> bool:
        """Whether two labels stand under the same parent."""
        first, second = self.taxonomy.get(one), self.taxonomy.get(other)
        return first is not None and second is not None and one != other and first.parent == second.parent


@dataclass(frozen=True, slots=True)
class CycleFolder:
    """`cycles/<id>/`: reports that stay, and `work/`, which the steps share until the cycle ends."""

    root: Path

    @property
    def work(self) -> Path:
        """The folder of what one step leaves for another."""
        path = self.root / _WORK
        path.mkdir(parents=True, exist_ok=True)
        return path

    def write_json(self, name: str, content: Any) -> Path:
        """Keep a report; it appears whole or not at all."""
        return self.write_text(name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def write_text(self, name: str, text: str) -> Path:
        """Keep a text; it appears whole or not at all."""
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / name
        fresh = path.with_name(f".{name}.writing")
        fresh.write_text(text, encoding="utf-8", errors="backslashreplace")
        fresh.replace(path)
        return path

    def clear_work(self) -> None:
        """Remove what the steps left for each other."""
        shutil.rmtree(self.root / _WORK, ignore_errors=True)
