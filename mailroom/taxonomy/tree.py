"""The label tree: labels, their relatives, their wordings, and the hash that names a revision.

Holds what was read and checked elsewhere; knows no file format.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from mailroom.errors import TaxonomyError
from mailroom.records import OUTSIDE
from mailroom.taxonomy.names import clean_text, readable_name

PATH_SEPARATOR = " > "

_REVISION_CHARS = 12
_PATH_SPLIT = re.compile(r"\s*>\s*|\s+/\s+")


@dataclass(frozen=True, slots=True)
class Label:
    """One class of the tree; `path` holds the readable names from the root down to this label."""

    id: str
    name: str
    path: tuple[str, ...]
    description: str = ""
    examples: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    overlaps: tuple[str, ...] = ()
    assignable: bool = True
    parent: str | None = None
    line: int | None = field(default=None, compare=False)


# What people may say in place of a label; no tree holds it.
NO_LABEL = Label(OUTSIDE, "none of the labels", ("none of the labels",), assignable=False)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a taxonomy; `line` counts from 1 in the file it was read from."""

    severity: Literal["error", "warning"]
    line: int | None
    message: str


class Taxonomy:
    """All labels in tree order: a parent before its children, siblings as first mentioned.

    Expects labels that hold together (unique ids, known parents), as `load_taxonomy` makes them;
    `notes` are warnings about what loading had to mend.
    """

    def __init__(self, labels: Iterable[Label], notes: Iterable[Problem] = ()) -> None:
        self.labels = tuple(labels)
        self.assignable = tuple(label for label in self.labels if label.assignable)
        self.notes = tuple(notes)
        self._by_id = {label.id: label for label in self.labels}

    def __len__(self) -> int:
        return len(self.labels)

    def __contains__(self, label_id: object) -> bool:
        return label_id in self._by_id

    def __getitem__(self, label_id: str) -> Label:
        """The label with this id; TaxonomyError where there is none."""
        try:
            return self._by_id[label_id]
        except KeyError as exc:
            raise TaxonomyError(
                f"expected a label of taxonomy {self.revision}, got {label_id!r}; "
                "`mailroom taxonomy tree` shows them all"
            ) from exc

    def get(self, label_id: str) -> Label | None:
        """The label with this id, or None."""
        return self._by_id.get(label_id)

    def children(self, label_id: str) -> tuple[Label, ...]:
        """The labels right below this one, in file order."""
        return self._children.get(self[label_id].id, ())

    def siblings(self, label_id: str) -> tuple[Label, ...]:
        """The other assignable labels under the same parent."""
        parent = self[label_id].parent
        return tuple(
            label for label in self._children.get(parent, ()) if label.assignable and label.id != label_id
        )

    def ancestors(self, label_id: str) -> tuple[Label, ...]:
        """The labels above this one, the nearest first."""
        found, label = [], self[label_id]
        while label.parent is not None:
            label = self[label.parent]
            found.append(label)
        return tuple(found)

    def resolve(self, text: str) -> Label | None:
        """The label that a person means by an id, an alias, a path ("A > B") or a unique name.

        An exact id wins; otherwise case and separators do not matter. None where nothing or more
        than one label fits. The label need not be assignable.
        """
        exact = self._by_id.get(text) or self._by_id.get(clean_text(text))
        if exact is not None:
            return exact
        key = _lookup_key(text)
        for index in self._lookups:
            if key in index:
                return index[key]
        return None

    @cached_property
    def revision(self) -> str:
        """Hash of the content, 12 hex digits: the same for every file format and layout of one tree.

        Label order counts, since vectors and logged candidates refer to labels by position.
        """
        content = [
            [
                label.id,
                label.parent,
                label.name,
                label.description,
                label.examples,
                label.aliases,
                label.overlaps,
                label.assignable,
            ]
            for label in self.labels
        ]
        canonical = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:_REVISION_CHARS]

    @cached_property
    def _children(self) -> dict[str | None, tuple[Label, ...]]:
        children: dict[str | None, list[Label]] = {}
        for label in self.labels:
            children.setdefault(label.parent, []).append(label)
        return {parent: tuple(labels) for parent, labels in children.items()}

    @cached_property
    def _lookups(self) -> tuple[dict[str, Label | None], ...]:
        """One index for aliases, paths, names and ids in turn; None marks a key that fits several labels."""
        aliases: dict[str, Label | None] = {}
        paths: dict[str, Label | None] = {}
        names: dict[str, Label | None] = {}
        ids: dict[str, Label | None] = {}
        for label in self.labels:
            for alias in label.aliases:
                _enter(aliases, _lookup_key(alias), label)
            _enter(paths, _lookup_key(PATH_SEPARATOR.join(label.path)), label)
            _enter(names, _lookup_key(label.name), label)
            _enter(ids, _lookup_key(label.id), label)
        return aliases, paths, ids, names

    @cached_property
    def _endings(self) -> Counter[tuple[str, ...]]:
        """How many assignable labels end in each run of names, in lower case."""
        return Counter(
            ending
            for label in self.assignable
            for start in range(len(label.path))
            if (ending := _fold(label.path[start:]))
        )

    def shortest_unique_ending(self, label: Label) -> tuple[str, ...]:
        """The fewest names at the end of the path that no other assignable label ends in.

        The whole path where even that is shared.
        """
        for start in range(len(label.path) - 1, -1, -1):
            ending = label.path[start:]
            if self._endings[_fold(ending)] <= 1:
                return ending
        return label.path


def display_name(label: Label, taxonomy: Taxonomy) -> str:
    """The label's name, with as many parents before it as make it unique ("Billing > Change")."""
    return PATH_SEPARATOR.join(taxonomy.shortest_unique_ending(label))


def label_texts(label: Label) -> dict[str, str]:
    """The wordings in which a model may read a label, by the name of the wording.

    `name`, `path` ("A > B"), `name_description` and `path_description` ("B: what it is"); the last
    two are the plain name and path where there is no description.
    """
    path = PATH_SEPARATOR.join(label.path)
    tail = f": {label.description}" if label.description else ""
    return {
        "name": label.name,
        "path": path,
        "name_description": f"{label.name}{tail}",
        "path_description": f"{path}{tail}",
    }


def _fold(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.casefold() for name in names)


def _lookup_key(text: str) -> str:
    parts = _PATH_SPLIT.split(clean_text(text))
    return PATH_SEPARATOR.join(readable_name(part).casefold() for part in parts)


def _enter(index: dict[str, Label | None], key: str, label: Label) -> None:
    index[key] = label if index.get(key, label) is label else None
