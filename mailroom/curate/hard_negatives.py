"""Examples → the same examples with wrong labels worth learning from, the most instructive first.

First what a person corrected on this very email, then in turns: candidates that the model ranked above the
truth (or next to it, where the truth came first), what people corrected on other emails of the label,
siblings, declared overlaps, and the nearest labels in embedding space. Never the label itself, an ancestor,
or a label that cannot be given.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from mailroom.errors import DataError
from mailroom.records import Example
from mailroom.taxonomy import Taxonomy

KINDS = ("corrected", "logged", "confused", "sibling", "overlap", "nearest")

# Label vectors that are compared at once: 5,000 labels against 512 take 10 MB.
_ROWS = 512


@dataclass(frozen=True, slots=True)
class HardNegatives:
    """Examples with negatives, in the order given, and how many negatives there are of each of KINDS."""

    examples: tuple[Example, ...]
    kinds: Mapping[str, int]

    def shares(self) -> dict[str, float]:
        """The share of each kind in all negatives, 0…1; all 0 where there is none."""
        total = sum(self.kinds.values())
        return {kind: self.kinds[kind] / total if total else 0.0 for kind in KINDS}


def add_hard_negatives(
    examples: Sequence[Example],
    taxonomy: Taxonomy,
    label_vectors: NDArray[np.float32],
    count: int,
    seed: int = 0,
) -> HardNegatives:
    """Give each example `count` negatives at most; those it has come first, and stay even beyond `count`.

    `label_vectors` (assignable labels, d) are unit vectors in the order of `taxonomy.assignable`. Labels of
    examples must be assignable: DataError otherwise.
    """
    source = _Source(taxonomy, label_vectors, examples, count, seed)
    kinds: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
    found = []
    for example in examples:
        negatives = source.negatives(example)
        kinds.update(negatives.values())
        found.append(replace(example, negatives=tuple(negatives)))
    return HardNegatives(tuple(found), dict(kinds))


class _Source:
    """Where negatives come from, label by label; computed once for all examples."""

    def __init__(
        self,
        taxonomy: Taxonomy,
        label_vectors: NDArray[np.float32],
        examples: Sequence[Example],
        count: int,
        seed: int,
    ) -> None:
        ids = [label.id for label in taxonomy.assignable]
        if label_vectors.ndim != 2 or len(label_vectors) != len(ids):
            raise DataError(
                f"expected a vector for each of {len(ids)} assignable labels, got shape {label_vectors.shape}"
            )
        self._taxonomy, self._count, self._seed = taxonomy, count, seed
        self._assignable = frozenset(ids)
        self._nearest = _nearest(ids, label_vectors, count, taxonomy)
        self._overlaps = _overlaps(taxonomy)
        self._confused = _confusions(examples)

    def negatives(self, example: Example) -> dict[str, str]:
        """Negative → its kind, best first."""
        label = example.label
        if label not in self._assignable:
            raise DataError(
                f"expected examples of assignable labels, got {label!r}; set aside what was retired first"
            )
        never = {label, *(ancestor.id for ancestor in self._taxonomy.ancestors(label))}
        chosen = {negative: "corrected" for negative in example.negatives if self._allowed(negative, never)}
        siblings = [sibling.id for sibling in self._taxonomy.siblings(label)]
        in_turns = zip_longest(
            _with_kind("logged", _logged(example)),
            _with_kind("confused", self._confused.get(label, ())),
            _with_kind("sibling", self._shuffled(siblings, example.email_id)),
            _with_kind("overlap", self._overlaps.get(label, ())),
            _with_kind("nearest", self._nearest.get(label, ())),
        )
        for turn in in_turns:
            for negative, kind in filter(None, turn):
                if len(chosen) >= self._count:
                    return chosen
                if self._allowed(negative, never):
                    chosen.setdefault(negative, kind)
        return chosen

    def _allowed(self, label: str, never: set[str]) -> bool:
        return label in self._assignable and label not in never

    def _shuffled(self, labels: Iterable[str], email_id: str) -> list[str]:
        """An order of its own for every email, so that all siblings get their turn."""
        prefix = f"sibling\0{self._seed}\0{email_id}\0"
        return sorted(
            labels,
            key=lambda label: hashlib.sha256((prefix + label).encode("utf-8", "surrogatepass")).digest(),
        )


def _with_kind(kind: str, labels: Iterable[str]) -> Iterator[tuple[str, str]]:
    return ((label, kind) for label in labels)


def _logged(example: Example) -> list[str]:
    """Candidates above the truth, then those below it, both in the model's own order."""
    return [candidate.label for candidate in example.candidates if candidate.label != example.label]


def _confusions(examples: Iterable[Example]) -> dict[str, list[str]]:
    """For each label the wrong answers that people corrected, the most frequent first."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for example in examples:
        counts[example.label].update(example.negatives)
    return {label: sorted(found, key=lambda wrong: (-found[wrong], wrong)) for label, found in counts.items()}


def _overlaps(taxonomy: Taxonomy) -> dict[str, list[str]]:
    """Declared overlaps; declaring one on either side is enough."""
    found: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for label in taxonomy.labels:
        for other in label.overlaps:
            found[label.id][other] = None
            found[other][label.id] = None
    return {label: list(others) for label, others in found.items()}


def _nearest(
    ids: Sequence[str], vectors: NDArray[np.float32], count: int, taxonomy: Taxonomy
) -> dict[str, list[str]]:
    """For each label the closest others, enough to leave `count` when its ancestors are passed over."""
    deepest = max((len(label.path) for label in taxonomy.assignable), default=0)
    wanted = min(len(ids), count + deepest + 1)
    found: dict[str, list[str]] = {}
    for start in range(0, len(ids), _ROWS):
        similarities = vectors[start : start + _ROWS] @ vectors.T
        order = np.argsort(-similarities, axis=1, kind="stable")[:, :wanted]
        for row, closest in enumerate(order.tolist(), start):
            found[ids[row]] = [ids[place] for place in closest if place != row]
    return found
