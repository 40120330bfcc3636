"""Label → the texts that the models read for it.

A label is described in several ways: its name, its place in the tree, a sentence, examples. Retrieval
averages the vectors of these wordings; on the training parts of five label trees the average of name and
path beats either of them (docs/experiments.md). A cross-encoder reads one text: `competitor_text`.
"""

from mailroom.taxonomy import PATH_SEPARATOR, Label, Taxonomy, display_name


def wordings(label: Label, taxonomy: Taxonomy) -> tuple[str, ...]:
    """Every text that stands for this label in retrieval, without repetitions, name first."""
    texts = (
        display_name(label, taxonomy),
        PATH_SEPARATOR.join(label.path),
        label.description,
        *label.aliases,
        *label.examples,
    )
    return tuple(dict.fromkeys(text for text in texts if text.strip()))


def competitor_text(label: Label, taxonomy: Taxonomy) -> str:
    """The one text a cross-encoder reads for this label: its name, and what belongs there if said."""
    name = display_name(label, taxonomy)
    return f"{name}: {label.description}" if label.description else name
