"""Nodes or CSV rows → drafts of labels in a tree, with every problem of form noted.

A file is either nested (labels with `children`) or flat (labels with a `path`). Types, keys and
depth are settled here; whether the labels hold together is judged in `build`.
"""

import csv
import difflib
import io
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mailroom.taxonomy.names import clean_text, readable_name, slug
from mailroom.taxonomy.nodes import Fields, Items, Node, Text
from mailroom.taxonomy.tree import PATH_SEPARATOR

MAX_LEVELS = 32

KEYS = ("id", "name", "description", "examples", "aliases", "overlaps", "assignable", "children")
_FLAT_KEYS = (*KEYS[:-1], "path")
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_CSV_DELIMITERS = ",;\t|"
_YAML_MARKS = frozenset("#:{}[]")

Note = Callable[[int | None, str], None]


@dataclass(slots=True)
class Draft:
    """A label as it was written, before it is checked against the others."""

    line: int | None
    id: str = ""
    name: str = ""
    description: str = ""
    examples: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    overlaps: tuple[str, ...] = ()
    assignable: bool | None = None
    children: "list[Draft]" = field(default_factory=list)


class DraftReader:
    """Turns the nodes of one file into drafts; `strict` makes unknown keys a problem."""

    def __init__(self, note: Note, strict: bool) -> None:
        self._note = note
        self._strict = strict

    def read(self, root: Node | None) -> list[Draft]:
        """The labels at the top of the tree, with all others below them."""
        if isinstance(root, Fields):
            root = self._labels_of(root)
        if root is None or (isinstance(root, Text) and root.is_null):
            self._note(None, "expected a list of labels, got an empty file")
            return []
        if not isinstance(root, Items):
            self._note(
                root.line,
                "expected a list of labels, `labels:` with a list below it, "
                "or a table whose header has `id` or `path`",
            )
            return []
        if any(isinstance(node, Fields) and _value(node, "path") for node in root.values):
            return self._flat(root)
        return self._nested(root, 1)

    def _labels_of(self, root: Fields) -> Node | None:
        fields = self._fields(root, ("labels",), "top level")
        if "labels" not in fields and not (self._strict and root.entries):
            self._note(root.line, "expected `labels` with a list of labels, got none")
        return fields.get("labels", Items(root.line, []))

    def _nested(self, items: Items, level: int) -> list[Draft]:
        if level > MAX_LEVELS:
            self._note(items.line, f"expected at most {MAX_LEVELS} levels of labels, got more")
            return []
        return [draft for node in items.values if (draft := self._nested_label(node, level))]

    def _nested_label(self, node: Node, level: int) -> Draft | None:
        if isinstance(node, Text):
            node = Fields(node.line, [(Text(node.line, "name"), node)])
        if isinstance(node, Items):
            self._note(node.line, "expected a label (a name, or keys such as `name:`), got a list")
            return None
        fields = self._fields(node, KEYS, "label")
        draft = self._draft(node.line, fields)
        self._name(draft, fields)
        children = fields.get("children")
        if isinstance(children, Items):
            draft.children = self._nested(children, level + 1)
        elif children is not None and not (isinstance(children, Text) and children.is_null):
            self._note(children.line, "children: expected a list of labels")
        return draft

    def _name(self, draft: Draft, fields: dict[str, Node]) -> None:
        if "name" in fields and not draft.name:
            self._note(fields["name"].line, "name: expected at least one word, got an empty name")
        elif not draft.name and not draft.id:
            self._note(draft.line, "expected a label with a `name` or an `id`, got neither")
        draft.name = draft.name or readable_name(draft.id)
        draft.id = draft.id or slug(draft.name)
        if draft.name and not draft.id:
            self._note(draft.line, f"name {draft.name!r} has no letter to make an id of; give it an `id`")

    def _flat(self, items: Items) -> list[Draft]:
        forest = Forest()
        for node in items.values:
            if not isinstance(node, Fields):
                self._note(node.line, "expected a label with `id` and `path`")
                continue
            fields = self._fields(node, _FLAT_KEYS, "label")
            self.flat_label(forest, node.line, fields)
        return forest.finish()

    def flat_label(self, forest: "Forest", line: int | None, fields: dict[str, Node]) -> None:
        """Enter one label that names its place by a path; without a path it stands at the top."""
        draft = self._draft(line, fields)
        path = self._texts(fields.get("path"), "path")
        if "path" in fields and (not path or "" in path):
            self._note(line, "path: expected a list of names, got an empty one")
            return
        if len(path) > MAX_LEVELS:
            self._note(line, f"path: expected at most {MAX_LEVELS} levels, got {len(path)}")
            return
        path = path or (draft.id or draft.name,)
        if not path[0]:
            self._note(line, "expected a label with an `id` or a `path`, got neither")
            return
        draft.name = draft.name or readable_name(path[-1])
        draft.id = draft.id or PATH_SEPARATOR.join(path)
        if draft.assignable is None:
            draft.assignable = True
        forest.enter(path, draft)

    def _draft(self, line: int | None, fields: dict[str, Node]) -> Draft:
        return Draft(
            line=line,
            id=self._text(fields.get("id"), "id"),
            name=self._text(fields.get("name"), "name"),
            description=self._text(fields.get("description"), "description"),
            examples=self._distinct(fields.get("examples"), "examples"),
            aliases=self._distinct(fields.get("aliases"), "aliases"),
            overlaps=self._distinct(fields.get("overlaps"), "overlaps"),
            assignable=self._flag(fields.get("assignable")),
        )

    def _fields(self, node: Fields, known: tuple[str, ...], where: str) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for key, value in node.entries:
            if key.value not in known:
                if self._strict:
                    self._note(key.line, f"unknown key {key.value!r} in a {where}{_hint(key.value, known)}")
            elif key.value in found:
                self._note(key.line, f"key {key.value!r} stands here twice in one {where}")
            else:
                found[key.value] = value
        return found

    def _text(self, node: Node | None, key: str) -> str:
        if node is None:
            return ""
        if isinstance(node, Text):
            return "" if node.is_null else clean_text(node.value)
        self._note(node.line, f"{key}: expected a text, got a {_kind(node)}")
        return ""

    def _texts(self, node: Node | None, key: str) -> tuple[str, ...]:
        if node is None or (isinstance(node, Text) and node.is_null):
            return ()
        if isinstance(node, Fields):
            self._note(node.line, f"{key}: expected a list of texts, got a mapping")
            return ()
        values = node.values if isinstance(node, Items) else [node]
        return tuple(self._text(value, key) for value in values)

    def _distinct(self, node: Node | None, key: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(text for text in self._texts(node, key) if text))

    def _flag(self, node: Node | None) -> bool | None:
        text = self._text(node, "assignable").casefold()
        if not text or node is None:
            return None
        if text not in _TRUE | _FALSE:
            self._note(node.line, f"assignable: expected true or false, got {text[:40]!r}")
        return text in _TRUE


class Forest:
    """Labels that were entered by path; inner nodes that no row describes are made from the names."""

    def __init__(self) -> None:
        self.roots: list[Draft] = []
        self._at: dict[tuple[str, ...], Draft] = {}
        self._implied: set[tuple[str, ...]] = set()

    def enter(self, path: tuple[str, ...], draft: Draft) -> None:
        """Put the draft at its path; a second one with the same path becomes a twin beside the first."""
        if path in self._implied:
            self._implied.discard(path)
            children, place = self._at[path].children, self._at[path]
            for name in Draft.__slots__:
                setattr(place, name, getattr(draft, name))
            place.children = children
            return
        self._list_above(path).append(draft)
        self._at.setdefault(path, draft)

    def _list_above(self, path: tuple[str, ...]) -> list[Draft]:
        siblings = self.roots
        for depth in range(1, len(path)):
            prefix = path[:depth]
            if prefix not in self._at:
                name = readable_name(prefix[-1])
                self._at[prefix] = Draft(None, id=PATH_SEPARATOR.join(prefix), name=name, assignable=False)
                self._implied.add(prefix)
                siblings.append(self._at[prefix])
            siblings = self._at[prefix].children
        return siblings

    def finish(self) -> list[Draft]:
        """The tree; implied inner nodes get another id where a described label took theirs."""
        taken = {draft.id for draft in walk(self.roots)}
        described = {self._at[path].id for path in self._at if path not in self._implied}
        for path in sorted(self._implied):
            node = self._at[path]
            if node.id in described:
                numbers = (f"{node.id} ({n})" for n in itertools.count(2))
                node.id = next(free for free in numbers if free not in taken)
                taken.add(node.id)
        return self.roots


def walk(drafts: Iterable[Draft]) -> Iterable[Draft]:
    """All drafts, parents before their children."""
    for draft in drafts:
        yield draft
        yield from walk(draft.children)


def csv_header(text: str) -> str | None:
    """The delimiter of a text whose first line is the header of a label table, else None."""
    first = text.lstrip("\ufeff\r\n").split("\n", 1)[0]
    for delimiter in _CSV_DELIMITERS:
        cells = [cell.strip(" \r\"'").casefold() for cell in first.split(delimiter)]
        if {"id", "path", "name"} & set(cells) and not any(_YAML_MARKS & set(cell) for cell in cells):
            return delimiter
    return None


def read_csv(text: str, delimiter: str, reader: DraftReader, note: Note) -> list[Draft]:
    """The labels in a table with a header; cells of several texts divide them by `|` or line breaks."""
    rows = csv.reader(io.StringIO(text.lstrip("\ufeff\r\n"), newline=""), delimiter=delimiter, strict=True)
    forest = Forest()
    table: list[tuple[int, dict[str, str]]] = []
    try:
        header = [cell.strip().casefold() for cell in next(rows)]
        for cells in rows:
            if len(cells) > len(header) and any(cells[len(header) :]):
                note(rows.line_num, f"expected {len(header)} cells as in the header, got {len(cells)}")
            elif any(cell.strip() for cell in cells):
                table.append((rows.line_num, dict(zip(header, map(str.strip, cells), strict=False))))
    except csv.Error as exc:
        note(rows.line_num, f"expected a table with {delimiter!r} between cells, got: {exc}")
    divider = _path_divider(row.get("path", "") for _, row in table)
    for line, row in table:
        reader.flat_label(forest, line, _row_fields(line, row, divider, delimiter))
    return forest.finish()


def _row_fields(line: int, row: dict[str, str], divider: str, delimiter: str) -> dict[str, Node]:
    fields: dict[str, Node] = {}
    for key, cell in row.items():
        if key not in _FLAT_KEYS or not cell:
            continue
        if key == "path":
            fields[key] = Items(line, [Text(line, part.strip()) for part in cell.split(divider)])
        elif key in ("examples", "aliases", "overlaps"):
            inner = "\n" if delimiter == "|" else "|"
            texts = cell.replace("\n", inner).split(inner)
            fields[key] = Items(line, [Text(line, part) for part in texts])
        else:
            fields[key] = Text(line, cell)
    return fields


def _path_divider(paths: Iterable[str]) -> str:
    written = list(paths)
    return next((mark for mark in (">", " / ", "/") if any(mark in path for path in written)), ">")


def _value(node: Fields, key: str) -> Node | None:
    return next((value for name, value in node.entries if name.value == key), None)


def _kind(node: Node) -> str:
    return "list" if isinstance(node, Items) else "mapping" if isinstance(node, Fields) else "text"


def _hint(key: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(key, known, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
