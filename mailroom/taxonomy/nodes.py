"""YAML and JSON text → plain nodes that remember their line.

Every scalar stays the text that a person wrote: a label named `No` or `2024-01-01` is no boolean and
no date. Knows nothing of labels. Aliases are refused, so nothing can be cyclic or grow by expansion.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

MAX_NESTING = 72

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_LABELS_LIST = re.compile(r'"labels"\s*:\s*\[')
_JSON_BLANKS = re.compile(r"[\s,]*")


class NodeError(Exception):
    """The text is no YAML or JSON that can be used; `line` counts from 1."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass(slots=True)
class Text:
    """A scalar; `is_null` where it was left empty or written as null."""

    line: int | None
    value: str
    is_null: bool = False


@dataclass(slots=True)
class Items:
    """A list."""

    line: int | None
    values: "list[Node]"


@dataclass(slots=True)
class Fields:
    """A mapping, in order, with every key that was written, duplicates too."""

    line: int | None
    entries: "list[tuple[Text, Node]]"


Node = Text | Items | Fields


def parse_yaml(text: str) -> Node | None:
    """The single document in a YAML text, None where it is empty; NodeError where it is unusable."""
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _compose(yaml.parse(text, Loader=loader))
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None) or getattr(exc, "context_mark", None)
        what = getattr(exc, "problem", None) or "a character that YAML does not allow"
        line = mark.line + 1 if mark is not None else None
        raise NodeError(line, f"expected YAML, got: {what}") from exc


def _compose(events: Iterator[Any]) -> Node | None:
    root: Node | None = None
    stack: list[Items | Fields] = []
    keys: list[Text | None] = []
    for event in events:
        if isinstance(event, yaml.ScalarEvent):
            value = event.value
            node: Node = Text(_line(event), value, not event.style and value in _NULLS)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Items(_line(event), [])
        elif isinstance(event, yaml.MappingStartEvent):
            node = Fields(_line(event), [])
        elif isinstance(event, yaml.CollectionEndEvent):
            stack.pop()
            keys.pop()
            continue
        else:
            _refuse(event, root)
            continue
        if stack:
            _attach(stack[-1], keys, node)
        else:
            root = node
        if not isinstance(node, Text):
            if len(stack) >= MAX_NESTING:
                raise NodeError(node.line, f"expected at most {MAX_NESTING} levels of nesting, got more")
            stack.append(node)
            keys.append(None)
    return root


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _refuse(event: Any, root: Node | None) -> None:
    if isinstance(event, yaml.AliasEvent):
        raise NodeError(_line(event), f"aliases (*{event.anchor}) are not read here; write the value out")
    if isinstance(event, yaml.DocumentStartEvent) and root is not None:
        raise NodeError(_line(event), "expected one YAML document, got a second one")


def _attach(container: Items | Fields, keys: list[Text | None], node: Node) -> None:
    if isinstance(container, Items):
        container.values.append(node)
        return
    key = keys[-1]
    if key is not None:
        container.entries.append((key, node))
        keys[-1] = None
    elif isinstance(node, Text):
        keys[-1] = node
    else:
        raise NodeError(node.line, "expected a word as key, got a list or a mapping")


def parse_json(text: str) -> Node:
    """The value in a JSON text; labels in a list know their line. NodeError where it is unusable."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as exc:
        raise NodeError(exc.lineno, f"expected JSON, got: {exc.msg} (column {exc.colno})") from exc
    except RecursionError as exc:
        raise NodeError(None, f"expected at most {MAX_NESTING} levels of nesting, got more") from exc
    except ValueError as exc:
        raise NodeError(None, f"expected JSON, got: {exc}") from exc
    labels = data.get("labels") if isinstance(data, dict) else data
    if not isinstance(labels, list):
        return _json_node(data, 1)
    lines = _element_lines(text, labels)
    items = Items(1, [_json_node(value, line) for value, line in zip(labels, lines, strict=True)])
    if labels is data:
        return items
    return Fields(1, [(Text(1, k), items if k == "labels" else _json_node(v, 1)) for k, v in data.items()])


def _element_lines(text: str, labels: list[Any]) -> list[int | None]:
    """The line of each label in the list: read again one by one, since json keeps no positions."""
    match = _LABELS_LIST.search(text)
    position = match.end() if match else text.find("[") + 1
    decoder, lines, line, counted = json.JSONDecoder(), [], 1, 0
    unknown: list[int | None] = [None] * len(labels)
    for expected in labels:
        position = _JSON_BLANKS.match(text, position).end()  # type: ignore[union-attr]
        try:
            value, end = decoder.raw_decode(text, position)
        except ValueError:
            return unknown
        # Another list of that name came first: better no line than a wrong one.
        if value != expected:
            return unknown
        line += text.count("\n", counted, position)
        counted, position = position, end
        lines.append(line)
    return list(lines)


def _json_node(value: Any, line: int | None, depth: int = 0) -> Node:
    if depth > MAX_NESTING:
        raise NodeError(line, f"expected at most {MAX_NESTING} levels of nesting, got more")
    if isinstance(value, dict):
        return Fields(line, [(Text(line, k), _json_node(v, line, depth + 1)) for k, v in value.items()])
    if isinstance(value, list):
        return Items(line, [_json_node(item, line, depth + 1) for item in value])
    if value is None:
        return Text(line, "", is_null=True)
    return Text(line, value if isinstance(value, str) else json.dumps(value))
