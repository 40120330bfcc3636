"""Examples + what retrieval proposed for them → candidate sets that a cross-encoder learns from.

Logged candidates come first: they were retrieved before the label was known. Elsewhere the caller gives
cross-fitted proposals. Corrections' wrong labels, siblings and the nearest competitors are put in; the
right label always is, an ancestor of it never.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mailroom.classify.wordings import competitor_text
from mailroom.errors import ConfigError, DataError
from mailroom.models.prototypes import Vectors
from mailroom.records import Example
from mailroom.taxonomy import Taxonomy
from mailroom.train.cross_fit import Proposals
from mailroom.train.ranking_batches import RankingExample


@dataclass(frozen=True, slots=True)
class RerankSettings:
    """How a candidate set is put together: its size, and how many places are kept for relatives.

    `siblings` are drawn anew for each email; `competitors` are the labels nearest to the right one.
    """

    candidates: int = 20
    siblings: int = 2
    competitors: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse sizes in which nothing can compete; ConfigError names the setting."""
        if self.candidates < 2:
            raise ConfigError(f"candidates must be at least 2, got {self.candidates!r}")
        if self.siblings < 0 or self.competitors < 0:
            raise ConfigError("siblings and competitors must be at least 0")


@dataclass(frozen=True, slots=True)
class CandidateSet:
    """One example with its candidates by id; `labels[0]` is the right one."""

    example: Example
    labels: tuple[str, ...]

    def to_ranking(self, texts: Mapping[str, str]) -> RankingExample:
        """The set as the cross-encoder reads it; `texts` holds the text of every label."""
        return RankingExample(
            self.example.text, tuple(texts[label] for label in self.labels), 0, self.example.weight
        )


def competitor_texts(taxonomy: Taxonomy) -> dict[str, str]:
    """The text of every assignable label that a cross-encoder reads."""
    return {label.id: competitor_text(label, taxonomy) for label in taxonomy.assignable}


def candidate_sets(
    examples: Sequence[Example],
    proposals: Proposals | None,
    taxonomy: Taxonomy,
    label_vectors: Vectors,
    settings: RerankSettings,
) -> list[CandidateSet]:
    """A candidate set for every example whose label is assignable, in their order.

    `proposals` has a row for each example and counts labels as `taxonomy.assignable` does; it may be None
    where every example has logged candidates. `label_vectors` (labels, d) say which labels are near each
    other. DataError where an example has no candidates from either side.
    """
    if proposals is not None and len(proposals.labels) != len(examples):
        raise DataError(f"expected proposals for {len(examples)} examples, got {len(proposals.labels)}")
    ids = [label.id for label in taxonomy.assignable]
    nearest = _nearest_labels(ids, label_vectors)
    generator = np.random.default_rng(settings.seed)
    sets = []
    for row, example in enumerate(examples):
        if example.label not in nearest:
            continue
        proposed = [candidate.label for candidate in example.candidates]
        if not proposed and proposals is not None:
            proposed = [ids[place] for place in proposals.labels[row].tolist()]
        if not proposed:
            raise DataError("an example has no logged candidates, and no proposals were given for it")
        siblings = [label.id for label in taxonomy.siblings(example.label)]
        drawn = [siblings[place] for place in generator.permutation(len(siblings))[: settings.siblings]]
        kept = [*example.negatives, *drawn, *nearest[example.label][: settings.competitors]]
        sets.append(CandidateSet(example, _put_together(example.label, kept, proposed, taxonomy, settings)))
    return sets


def replayed(fresh: Sequence[Example], old: Sequence[Example], share: float, seed: int) -> list[Example]:
    """The fresh examples, and of the old as many as make up `share` (0…1) of all, balanced over labels.

    Without old ones a model forgets what it is not shown. All of them are taken where they are few.
    """
    if not 0 <= share < 1:
        raise ConfigError(f"the share of replayed examples must be at least 0 and below 1, got {share!r}")
    wanted = round(share / (1 - share) * len(fresh))
    by_label: dict[str, list[Example]] = {}
    for place in np.random.default_rng(seed).permutation(len(old)).tolist():
        by_label.setdefault(old[place].label, []).append(old[place])
    picked: list[Example] = []
    for depth in range(max(map(len, by_label.values()), default=0)):
        picked += [found[depth] for found in by_label.values() if depth < len(found)]
    return [*fresh, *picked[:wanted]]


def _put_together(
    right: str, kept: Sequence[str], proposed: Sequence[str], taxonomy: Taxonomy, settings: RerankSettings
) -> tuple[str, ...]:
    """The right label, those that must be in, then the proposed ones, best first."""
    barred = {label.id for label in taxonomy.ancestors(right)}
    found = {right: None}
    for label in (*kept, *proposed):
        known = taxonomy.get(label)
        if known is not None and known.assignable and label not in barred:
            found.setdefault(label)
        if len(found) == settings.candidates:
            break
    return tuple(found)


def _nearest_labels(ids: Sequence[str], vectors: Vectors) -> dict[str, list[str]]:
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    similarities = (vectors / lengths) @ (vectors / lengths).T
    np.fill_diagonal(similarities, -np.inf)
    order = np.argsort(-similarities, axis=1, kind="stable")[:, : max(0, len(ids) - 1)]
    return {label: [ids[place] for place in row] for label, row in zip(ids, order.tolist(), strict=True)}
