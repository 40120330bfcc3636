"""A few words → the assignable labels that a person may mean, the likeliest first."""

from mailroom.taxonomy.tree import Label, Taxonomy


def search(taxonomy: Taxonomy, text: str, limit: int) -> list[Label]:
    """The labels in which every word occurs, at most `limit`.

    A label that the text names outright comes first, then those with the words in their own name, in their
    path, id or other names, and last in their description; within these the order of the tree.
    """
    words = text.casefold().split()
    if not words:
        return []
    named = taxonomy.resolve(text)
    ranked = [
        (0 if label is named else rank, place, label)
        for place, label in enumerate(taxonomy.assignable)
        if (rank := _rank(label, words)) is not None or label is named
    ]
    return [label for _, _, label in sorted(ranked, key=lambda found: found[:2])[:limit]]


def _rank(label: Label, words: list[str]) -> int | None:
    wider = label.name
    for rank, more in enumerate(
        ("", " ".join((*label.path, label.id, *label.aliases)), label.description), 1
    ):
        wider = f"{wider} {more}".casefold()
        if all(word in wider for word in words):
            return rank
    return None
