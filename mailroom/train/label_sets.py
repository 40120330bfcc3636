"""Label trees with texts on disk → LabelSet: what a cold-start cross-encoder is trained and judged on.

Reads folders with `taxonomy.json` and `.jsonl` parts, and the mailboxes that come with the project. Knows
no model.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from mailroom.errors import DataError
from mailroom.taxonomy import PATH_SEPARATOR
from mailroom.taxonomy.names import readable_name

Wording = Literal["name", "path", "id", "name_description", "description", "alias", "alias_path"]
WORDINGS: tuple[Wording, ...] = get_args(Wording)
# Beyond this an email's tokens exceed what a model reads.
MAX_TEXT_CHARS = 2500
MAILBOX_FILES = tuple(f"mailboxes_{letter}.yaml" for letter in "abcdef")
DESCRIPTIONS_FILE = "descriptions.yaml"


@dataclass(frozen=True)
class LabelSet:
    """A label tree, and texts with the index of their label.

    `descriptions` has "" and `aliases` (other names for the same) () where there are none.
    """

    name: str
    paths: tuple[tuple[str, ...], ...]
    texts: tuple[str, ...]
    targets: tuple[int, ...]
    descriptions: tuple[str, ...] = field(default=())
    aliases: tuple[tuple[str, ...], ...] = field(default=())

    def __post_init__(self) -> None:
        """Refuse a set that does not hold together; DataError says where."""
        if len(self.texts) != len(self.targets):
            raise DataError(f"{self.name}: {len(self.texts)} texts but {len(self.targets)} labels for them")
        for what, values in (("descriptions", self.descriptions), ("aliases", self.aliases)):
            if values and len(values) != len(self.paths):
                raise DataError(f"{self.name}: {len(values)} {what} for {len(self.paths)} labels")
        if not self.paths or any(not 0 <= target < len(self.paths) for target in self.targets):
            raise DataError(f"{self.name}: a text has a label that the label tree does not hold")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Each label's last name; the whole path where several labels share it."""
        endings = Counter(path[-1].casefold() for path in self.paths)
        return tuple(
            PATH_SEPARATOR.join(path) if endings[path[-1].casefold()] > 1 else path[-1] for path in self.paths
        )

    @property
    def has_descriptions(self) -> bool:
        """Whether any label is described."""
        return any(self.descriptions)

    def wordings(self, kind: Wording) -> tuple[str, ...]:
        """Every label's text in one wording; the name stands in for what is missing."""
        if kind == "name":
            return self.names
        if kind in ("alias", "alias_path"):
            return self._other_names(kind == "alias_path")
        if kind == "path":
            return tuple(PATH_SEPARATOR.join(path) for path in self.paths)
        if kind == "id":
            return tuple(
                "_".join(name.casefold().replace(PATH_SEPARATOR, " ").split()) for name in self.names
            )
        descriptions = self.descriptions or ("",) * len(self.paths)
        pairs = zip(self.names, descriptions, strict=True)
        if kind == "description":
            return tuple(description or name for name, description in pairs)
        return tuple(f"{name}: {description}" if description else name for name, description in pairs)

    def _other_names(self, with_path: bool) -> tuple[str, ...]:
        """The first alias, or the last one behind the path of its group, where no other label has it too."""
        aliases = self.aliases or ((),) * len(self.paths)
        others = [
            PATH_SEPARATOR.join((*path[:-1], (known or path)[-1])) if with_path else (known or (name,))[0]
            for path, known, name in zip(self.paths, aliases, self.names, strict=True)
        ]
        counts = Counter(other.casefold() for other in others)
        return tuple(
            name if counts[other.casefold()] > 1 else other
            for other, name in zip(others, self.names, strict=True)
        )

    def of_label(self) -> list[list[int]]:
        """The positions of each label's texts."""
        rows: list[list[int]] = [[] for _ in self.paths]
        for row, target in enumerate(self.targets):
            rows[target].append(row)
        return rows

    def subset(self, rows: Sequence[int]) -> "LabelSet":
        """The same tree with only these texts."""
        texts, targets = (tuple(values[row] for row in rows) for values in (self.texts, self.targets))
        return dataclasses.replace(self, texts=texts, targets=targets)  # type: ignore[arg-type]


def read_label_set(
    directory: Path, part: str, path_parts: Sequence[int] | None = None, described: bool = False
) -> LabelSet:
    """One part (`train`, `val`, `test`) of the set in `directory`.

    `path_parts` picks elements of each path and merges labels that then agree. `described` adds the
    project's descriptions for that set. Raises DataError for files that are missing or do not fit.
    """
    content = _read_json(directory / "taxonomy.json")
    rows = _read_rows(directory / f"{part}.jsonl")
    try:
        by_id = {label["id"]: _cut(label["path"], path_parts) for label in content["labels"]}
        raw_paths = sorted(set(by_id.values()))
        position = {path: index for index, path in enumerate(raw_paths)}
        targets = tuple(position[by_id[row["label"]]] for row in rows)
        texts = tuple(f"{row['subject']}\n{row['body']}".strip()[:MAX_TEXT_CHARS] for row in rows)
    except (KeyError, TypeError) as exc:
        raise DataError(
            f"{directory}: expected labels with id and path, and rows with subject, body and a known label"
        ) from exc
    paths = tuple(tuple(readable_name(name) for name in path) for path in raw_paths)
    descriptions = _descriptions(directory.name, raw_paths) if described else ()
    return LabelSet(directory.name, paths, texts, targets, descriptions)


def read_mailboxes(files: Sequence[str] = MAILBOX_FILES) -> list[LabelSet]:
    """The made-up mailboxes that come with the project, one set each, with descriptions and aliases."""
    sets = []
    for file in files:
        for mailbox, labels in _read_project_yaml(file).items():
            pairs = [(text, index) for index, label in enumerate(labels.values()) for text in label["mails"]]
            sets.append(
                LabelSet(
                    name=mailbox,
                    paths=tuple(tuple(path.split(PATH_SEPARATOR)) for path in labels),
                    texts=tuple(text for text, _ in pairs),
                    targets=tuple(index for _, index in pairs),
                    descriptions=tuple(label["is"] for label in labels.values()),
                    aliases=tuple(tuple(label.get("also", ())) for label in labels.values()),
                )
            )
    return sets


def _descriptions(name: str, paths: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    described: Mapping[str, str] = _read_project_yaml(DESCRIPTIONS_FILE).get(name, {})
    return tuple(described.get(path[-1], "") for path in paths)


def _cut(path: Sequence[str], parts: Sequence[int] | None) -> tuple[str, ...]:
    return tuple(path) if parts is None else tuple(path[part] for part in parts if part < len(path))


def _read_project_yaml(name: str) -> dict[str, Any]:
    text = resources.files("mailroom.train").joinpath("data", name).read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    return dict(content)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise DataError(f"{path}: expected a JSON label tree; name the folder that holds the sets") from exc


def _read_rows(path: Path) -> list[Any]:
    try:
        with path.open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError) as exc:
        raise DataError(f"{path}: expected one JSON object a line") from exc
