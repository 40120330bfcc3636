"""The label tree: read from YAML, JSON or CSV, checked, named by the hash of its content, and drawn."""

from mailroom.taxonomy.check import check, find_indistinguishable
from mailroom.taxonomy.load import format_problem, load_taxonomy
from mailroom.taxonomy.names import readable_name
from mailroom.taxonomy.render import render_tree, to_yaml
from mailroom.taxonomy.search import search
from mailroom.taxonomy.tree import (
    NO_LABEL,
    PATH_SEPARATOR,
    Label,
    Problem,
    Taxonomy,
    display_name,
    label_texts,
)

__all__ = [
    "NO_LABEL",
    "PATH_SEPARATOR",
    "Label",
    "Problem",
    "Taxonomy",
    "check",
    "display_name",
    "find_indistinguishable",
    "format_problem",
    "label_texts",
    "load_taxonomy",
    "readable_name",
    "render_tree",
    "search",
    "to_yaml",
]
