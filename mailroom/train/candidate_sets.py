"""Label sets → candidate sets that look like a new customer's taxonomy: hard, and worded in many ways.

An example is a text, some labels of its tree (and sometimes of another), all in one wording, of which the
bi-encoder's nearest are the candidates. The bi-encoder has never been trained on the texts, so it is as
wrong about them as it will be at a customer's.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mailroom.errors import DataError
from mailroom.train.label_sets import WORDINGS, LabelSet, Wording
from mailroom.train.ranking_batches import RankingExample

Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]

GREETINGS = ("Hi,", "Hello,", "Dear team,", "Good morning,", "Dear Sir or Madam,", "To whom it may concern,")
CLOSINGS = ("Thanks", "Thank you", "Best regards", "Kind regards", "Many thanks in advance", "Sincerely")
SENDERS = ("Anna", "J. Miller", "Tom", "Priya", "Karim", "M. Rossi", "Lena Weber", "Sam", "Wei", "D. Novak")
# A longer text is a letter already.
SHORT_TEXT_CHARS = 400
# Examples that share one random generator: large enough for its start to cost nothing.
CHUNK = 500


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How candidate sets are drawn; shares are probabilities, `wording_shares` in the order of WORDINGS."""

    min_labels: int = 4
    max_labels: int = 150
    min_candidates: int = 4
    max_candidates: int = 8
    sibling_share: float = 0.5
    foreign_share: float = 0.25
    max_foreign_labels: int = 40
    same_meaning_cosine: float = 0.5
    letter_share: float = 0.4
    description_as_text_share: float = 0.08
    wording_shares: tuple[float, ...] = (0.35, 0.2, 0.05, 0.15, 0.05, 0.12, 0.08)
    label_power: float = 0.5

    def __post_init__(self) -> None:
        """Refuse sets that leave nothing to choose; DataError says what is expected."""
        if not 2 <= self.min_candidates <= self.max_candidates:
            raise DataError(
                "a candidate set needs at least 2 labels, and min_candidates no more than max_candidates; "
                f"got {self.min_candidates} to {self.max_candidates}"
            )


@dataclass(frozen=True)
class EmbeddedSet:
    """A label set with unit vectors of its texts (n, d) and of its labels in every wording (labels, d)."""

    labels: LabelSet
    texts: Vectors
    wordings: dict[Wording, Vectors]


def embed_set(labels: LabelSet, embed: Embed) -> EmbeddedSet:
    """Embed a set's texts and labels; `embed` gives unit vectors."""
    wordings = {kind: embed(labels.wordings(kind)) for kind in WORDINGS}
    return EmbeddedSet(labels, embed(labels.texts), wordings)


class CandidateSampler:
    """Draws `count` examples an epoch from several sets, the same ones for a seed and an epoch."""

    def __init__(
        self,
        sets: Sequence[EmbeddedSet],
        weights: Sequence[float],
        count: int,
        seed: int,
        settings: SamplingSettings,
    ) -> None:
        """`weights` (one a set, any sum) says how often each set is drawn from. DataError for empty sets."""
        if not sets or any(not item.labels.texts or len(item.labels.paths) < 2 for item in sets):
            raise DataError("every set to sample from needs texts and at least two labels")
        self._sets, self._count, self._seed, self._settings = tuple(sets), count, seed, settings
        self._set_odds = _odds(np.asarray(weights, dtype=np.float64))
        self._rows = [item.labels.of_label() for item in sets]
        self._label_odds = [_odds(_label_shares(rows, settings.label_power)) for rows in self._rows]
        self._wording_odds = [_odds(_wording_shares(item.labels, settings.wording_shares)) for item in sets]
        self._descriptions = [frozenset(item.labels.descriptions) for item in sets]
        # Labels of all sets are numbered one set after the other: where each starts, and where the last ends.
        self._starts = np.cumsum([0, *(len(item.labels.paths) for item in sets)]).tolist()
        self._vectors = {kind: np.concatenate([item.wordings[kind] for item in sets]) for kind in WORDINGS}
        self._texts = {
            kind: [text for item in sets for text in item.labels.wordings(kind)] for kind in WORDINGS
        }

    @property
    def chunks(self) -> int:
        """How many parts an epoch is drawn in."""
        return math.ceil(self._count / CHUNK)

    def __call__(self, epoch: int) -> list[RankingExample]:
        """That epoch's examples."""
        return [example for number in range(self.chunks) for example in self.chunk(epoch, number)]

    def chunk(self, epoch: int, number: int) -> list[RankingExample]:
        """One part (0…chunks − 1) of an epoch's examples, the same whoever draws the others."""
        generator = np.random.default_rng([self._seed, epoch, number])
        return [self._draw(generator) for _ in range(min(CHUNK, self._count - number * CHUNK))]

    def _draw(self, generator: np.random.Generator) -> RankingExample:
        number = _pick(self._set_odds, generator)
        target = _pick(self._label_odds[number], generator)
        kind = WORDINGS[_pick(self._wording_odds[number], generator)]
        text, vector = self._text(number, target, generator)
        if text in self._descriptions[number]:
            kind = ("name", "path")[int(generator.integers(2))]
        pool = [self._starts[number] + target, *self._competitors(number, target, generator)]
        candidates = self._nearest(pool, vector, kind, generator)
        order = generator.permutation(len(candidates)).tolist()
        shown = tuple(candidates[place] for place in order)
        if len(text) <= SHORT_TEXT_CHARS and generator.random() < self._settings.letter_share:
            text = as_letter(text, generator)
        return RankingExample(text, shown, order.index(0))

    def _text(self, number: int, target: int, generator: np.random.Generator) -> tuple[str, Vectors]:
        """A text of the label, sometimes the label's own description, and its vector."""
        chosen = self._sets[number]
        description = chosen.labels.descriptions[target] if chosen.labels.descriptions else ""
        if description and generator.random() < self._settings.description_as_text_share:
            return description, chosen.wordings["description"][target]
        rows = self._rows[number][target]
        row = rows[int(generator.integers(len(rows)))]
        return chosen.labels.texts[row], chosen.texts[row]

    def _competitors(self, number: int, target: int, generator: np.random.Generator) -> list[int]:
        """Other labels of a taxonomy of random size: sometimes siblings first, sometimes foreign ones."""
        settings, paths = self._settings, self._sets[number].labels.paths
        most = min(settings.max_labels, len(paths))
        fewest = min(settings.min_labels, most)
        size = int(np.exp(generator.uniform(np.log(fewest), np.log(most + 1))))
        others = generator.permutation(len(paths)).tolist()
        others.remove(target)
        if generator.random() < settings.sibling_share:
            siblings = [label for label in others if paths[label][:-1] == paths[target][:-1]]
            kept = siblings[: max(1, size // 2)]
            others = [*kept, *(label for label in others if label not in kept)]
        pool = [self._starts[number] + label for label in others[: max(1, size - 1)]]
        if len(self._sets) > 1 and generator.random() < settings.foreign_share:
            pool += self._foreign(number, target, generator)
        return pool

    def _foreign(self, number: int, target: int, generator: np.random.Generator) -> list[int]:
        """Labels of other trees, as in a large taxonomy; those that mean the same as the target stay out."""
        count = int(generator.integers(1, self._settings.max_foreign_labels + 1))
        start, end = self._starts[number : number + 2]
        others = self._starts[-1] - (end - start)
        drawn = generator.choice(others, size=min(count, others), replace=False)
        drawn = np.where(drawn < start, drawn, drawn + (end - start))
        meanings = self._vectors["name_description"]
        alike = meanings[drawn] @ meanings[start + target]  # (count,)
        kept: list[int] = drawn[alike < self._settings.same_meaning_cosine].tolist()
        return kept

    def _nearest(
        self, pool: Sequence[int], vector: Vectors, kind: Wording, generator: np.random.Generator
    ) -> list[str]:
        """Texts of the right label (first) and of those that the bi-encoder takes for it."""
        most = int(generator.integers(self._settings.min_candidates, self._settings.max_candidates + 1))
        similarities = self._vectors[kind][pool[1:]] @ vector
        texts = self._texts[kind]
        shown = {texts[pool[0]].casefold(): texts[pool[0]]}
        for place in np.argsort(-similarities, kind="stable").tolist():
            text = texts[pool[place + 1]]
            # The same wording in another tree means the same: no negative.
            shown.setdefault(text.casefold(), text)
            if len(shown) == most:
                break
        return list(shown.values())


def as_letter(text: str, generator: np.random.Generator) -> str:
    """A short text with a greeting before and a closing behind it, as mail has."""
    greeting, closing, sender = (
        texts[int(generator.integers(len(texts)))] for texts in (GREETINGS, CLOSINGS, SENDERS)
    )
    sentence = text[:1].upper() + text[1:]
    stop = "" if sentence[-1:] in ".?!" else "."
    return f"{greeting}\n\n{sentence}{stop}\n\n{closing},\n{sender}"


def _pick(odds: NDArray[np.float64], generator: np.random.Generator) -> int:
    """A position, drawn by running sums of shares; `choice` would check its probabilities each time."""
    return int(np.searchsorted(odds, generator.random(), side="right"))


def _odds(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running sums of shares that need not sum to 1; the last one is 1."""
    sums: NDArray[np.float64] = np.cumsum(shares)
    normalised: NDArray[np.float64] = sums / sums[-1]
    return normalised


def _wording_shares(labels: LabelSet, shares: Sequence[float]) -> NDArray[np.float64]:
    """How often each wording is shown: never one that the set has nothing of its own for."""
    has = [
        (labels.has_descriptions or kind in ("name", "path", "id"))
        and (bool(labels.aliases) or not kind.startswith("alias"))
        for kind in WORDINGS
    ]
    kept: NDArray[np.float64] = np.asarray(shares, dtype=np.float64) * has
    return kept


def _label_shares(rows: Sequence[Sequence[int]], power: float) -> NDArray[np.float64]:
    counts = np.array([len(found) for found in rows], dtype=np.float64)
    shares: NDArray[np.float64] = np.where(counts > 0, counts**power, 0.0)
    return shares
