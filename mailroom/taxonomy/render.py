"""Taxonomy → the YAML that people edit, and the tree that they look at."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from mailroom.taxonomy.tree import Label, Taxonomy

if TYPE_CHECKING:
    from rich.tree import Tree

_HEADER = """\
# The label tree. Every email gets exactly one assignable label.
# For each label: id (stable, it stands in the log), name, description (one sentence that tells it from
# its neighbours), examples, aliases, overlaps (ids of competing labels), assignable, children.
"""
_LINE_WIDTH = 100


def to_yaml(taxonomy: Taxonomy) -> str:
    """The taxonomy as YAML for people; reading it again gives the same revision."""
    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    body = yaml.dump(
        {"labels": [_entry(label, taxonomy) for label in taxonomy.labels if label.parent is None]},
        Dumper=dumper,
        sort_keys=False,
        allow_unicode=True,
        width=_LINE_WIDTH,
    )
    return f"{_HEADER}{body}"


def _entry(label: Label, taxonomy: Taxonomy) -> dict[str, Any]:
    children = taxonomy.children(label.id)
    entry: dict[str, Any] = {"id": label.id, "name": label.name}
    if label.description:
        entry["description"] = label.description
    for key, texts in (
        ("examples", label.examples),
        ("aliases", label.aliases),
        ("overlaps", label.overlaps),
    ):
        if texts:
            entry[key] = list(texts)
    if label.assignable == bool(children):
        entry["assignable"] = label.assignable
    if children:
        entry["children"] = [_entry(child, taxonomy) for child in children]
    return entry


def render_tree(taxonomy: Taxonomy, counts: Mapping[str, int] | None = None) -> "Tree":
    """The tree for a terminal; `counts` (by id) are shown behind the labels, summed up for inner ones."""
    from rich.tree import Tree

    tree = Tree(f"{len(taxonomy.assignable)} labels, revision {taxonomy.revision}")
    branches: dict[str, Tree] = {}
    for label in taxonomy.labels:
        above = tree if label.parent is None else branches[label.parent]
        branches[label.id] = above.add(_line(label, taxonomy, counts))
    return tree


def _line(label: Label, taxonomy: Taxonomy, counts: Mapping[str, int] | None) -> Any:
    from rich.text import Text

    line = Text(label.name, style="" if label.assignable else "bold")
    if label.assignable and label.id != label.name:
        line.append(f"  {label.id}", style="dim")
    if counts is not None:
        line.append(f"  {_total(label, taxonomy, counts):,}", style="cyan")
    return line


def _total(label: Label, taxonomy: Taxonomy, counts: Mapping[str, int]) -> int:
    below = sum(_total(child, taxonomy, counts) for child in taxonomy.children(label.id))
    return counts.get(label.id, 0) + below
