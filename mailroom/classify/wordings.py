"""Label → the texts that the models read for it.

A label is described in several ways: its name, its place in the tree, a sentence, examples. Retrieval
averages the vectors of these: on the training parts of five label trees the average beats each wording by
itself (docs/experiments.md). A cross-encoder reads one text: `competitor_text`.
"""

from mailroom.taxonomy import PATH_SEPARATOR, Label, Taxonomy, display_name


def wordings(label: Label, taxonomy: Taxonomy) -> tuple[tuple[str, ...], ...]:
    """Groups of texts that stand for this label in retrieval, name first; each group counts the same.

    Examples are one group and aliases another, so that many of them do not drown the rest.
    """
    groups = (
        (display_name(label, taxonomy),),
        (PATH_SEPARATOR.join(label.path),),
        (label.description,),
        (competitor_text(label, taxonomy),),
        label.examples,
        label.aliases,
    )
    written = (tuple(text for text in group if text.strip()) for group in groups)
    return tuple(dict.fromkeys(group for group in written if group))


def competitor_text(label: Label, taxonomy: Taxonomy) -> str:
    """The one text a cross-encoder reads for this label: its name, and what belongs there if said."""
    name = display_name(label, taxonomy)
    return f"{name}: {label.description}" if label.description else name
