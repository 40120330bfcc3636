"""A taxonomy → what training must know of each label: its texts, and which labels are no negatives for it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mailroom.classify.retrieve import mean_directions
from mailroom.classify.wordings import wordings
from mailroom.taxonomy import Taxonomy
from mailroom.train.text_encoder import TextEncoder


@dataclass(frozen=True, slots=True)
class LabelTexts:
    """One assignable label: groups of texts, each weighing the same, and labels above it by id.

    An email of this label is no counter-example of a label in `ancestors`.
    """

    id: str
    groups: tuple[tuple[str, ...], ...]
    ancestors: frozenset[str] = frozenset()


def label_texts(taxonomy: Taxonomy) -> tuple[LabelTexts, ...]:
    """The assignable labels in the taxonomy's order."""
    return tuple(
        LabelTexts(
            label.id,
            wordings(label, taxonomy),
            frozenset(above.id for above in taxonomy.ancestors(label.id) if above.assignable),
        )
        for label in taxonomy.assignable
    )


def encode_label_texts(encoder: TextEncoder, labels: Sequence[LabelTexts]) -> NDArray[np.float32]:
    """Unit vectors (labels, d): the mean of each label's groups, each the mean of its texts."""
    rows = [encoder.label_ids(text) for label in labels for group in label.groups for text in group]
    groups = mean_directions(encoder.encode(rows), [len(group) for label in labels for group in label.groups])
    return mean_directions(groups, [len(label.groups) for label in labels])
