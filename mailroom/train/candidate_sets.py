"""Label sets → candidate sets that look like a new customer's taxonomy: hard, and worded in many ways.

An example is a text, some labels of its tree (and sometimes of another), all in one wording, of which the
bi-encoder's nearest are the candidates. The bi-encoder has never been trained on the texts, so it is as
wrong about them as it will be at a customer's.
"""

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
        self._weights = np.asarray(weights, dtype=np.float64) / np.sum(weights)
        self._rows = [item.labels.of_label() for item in sets]
        self._label_shares = [_shares(rows, settings.label_power) for rows in self._rows]
        self._all_labels = [
            (place, label) for place, item in enumerate(sets) for label in range(len(item.labels.paths))
        ]
        self._all_meanings = np.concatenate([item.wordings["name_description"] for item in sets])
        self._texts = [{kind: item.labels.wordings(kind) for kind in WORDINGS} for item in sets]

    def __call__(self, epoch: int) -> list[RankingExample]:
        """That epoch's examples."""
        generator = np.random.default_rng([self._seed, epoch])
        return [self._draw(generator) for _ in range(self._count)]

    def _draw(self, generator: np.random.Generator) -> RankingExample:
        number = int(generator.choice(len(self._sets), p=self._weights))
        chosen = self._sets[number]
        target = int(generator.choice(len(chosen.labels.paths), p=self._label_shares[number]))
        kind = self._wording(chosen.labels, generator)
        text, vector = self._text(number, target, generator)
        if text in chosen.labels.descriptions:
            kind = ("name", "path")[int(generator.integers(2))]
        pool = [(number, target), *self._competitors(number, target, generator)]
        candidates = self._nearest(pool, vector, kind, generator)
        order = generator.permutation(len(candidates)).tolist()
        shown = tuple(candidates[place] for place in order)
        if len(text) <= SHORT_TEXT_CHARS and generator.random() < self._settings.letter_share:
            text = as_letter(text, generator)
        return RankingExample(text, shown, order.index(0))

    def _wording(self, labels: LabelSet, generator: np.random.Generator) -> Wording:
        shares = np.array(self._settings.wording_shares)
        if not labels.has_descriptions:
            shares = shares * [kind in ("name", "path", "id") for kind in WORDINGS]
        elif not labels.aliases:
            shares = shares * [not kind.startswith("alias") for kind in WORDINGS]
        return WORDINGS[int(generator.choice(len(WORDINGS), p=shares / shares.sum()))]

    def _text(self, number: int, target: int, generator: np.random.Generator) -> tuple[str, Vectors]:
        """A text of the label, sometimes the label's own description, and its vector."""
        chosen = self._sets[number]
        description = chosen.labels.descriptions[target] if chosen.labels.descriptions else ""
        if description and generator.random() < self._settings.description_as_text_share:
            return description, chosen.wordings["description"][target]
        row = int(generator.choice(self._rows[number][target]))
        return chosen.labels.texts[row], chosen.texts[row]

    def _competitors(self, number: int, target: int, generator: np.random.Generator) -> list[tuple[int, int]]:
        """Other labels of a taxonomy of random size: sometimes siblings first, sometimes foreign ones."""
        settings, paths = self._settings, self._sets[number].labels.paths
        most = min(settings.max_labels, len(paths))
        fewest = min(settings.min_labels, most)
        size = int(np.exp(generator.uniform(np.log(fewest), np.log(most + 1))))
        others = [label for label in generator.permutation(len(paths)).tolist() if label != target]
        if generator.random() < settings.sibling_share:
            siblings = [label for label in others if paths[label][:-1] == paths[target][:-1]]
            kept = siblings[: max(1, size // 2)]
            others = [*kept, *(label for label in others if label not in kept)]
        pool = [(number, label) for label in others[: max(1, size - 1)]]
        if len(self._sets) > 1 and generator.random() < settings.foreign_share:
            pool += self._foreign(number, target, generator)
        return pool

    def _foreign(self, number: int, target: int, generator: np.random.Generator) -> list[tuple[int, int]]:
        """Labels of other trees, as in a large taxonomy; those that mean the same as the target stay out."""
        count = int(generator.integers(1, self._settings.max_foreign_labels + 1))
        others = [place for place in range(len(self._all_labels)) if self._all_labels[place][0] != number]
        drawn = generator.choice(np.array(others), size=min(count, len(others)), replace=False)
        meaning = self._sets[number].wordings["name_description"][target]
        alike = self._all_meanings[drawn] @ meaning  # (count,)
        return [
            self._all_labels[place]
            for place, cosine in zip(drawn.tolist(), alike.tolist(), strict=True)
            if cosine < self._settings.same_meaning_cosine
        ]

    def _nearest(
        self, pool: Sequence[tuple[int, int]], vector: Vectors, kind: Wording, generator: np.random.Generator
    ) -> list[str]:
        """Texts of the right label (first) and of those that the bi-encoder takes for it."""
        most = int(generator.integers(self._settings.min_candidates, self._settings.max_candidates + 1))
        similarities = np.array([self._sets[n].wordings[kind][label] @ vector for n, label in pool[1:]])
        texts = [self._texts[n][kind][label] for n, label in pool]
        shown = {texts[0].casefold(): texts[0]}
        for place in np.argsort(-similarities, kind="stable"):
            text = texts[int(place) + 1]
            # The same wording in another tree means the same: no negative.
            shown.setdefault(text.casefold(), text)
            if len(shown) == most:
                break
        return list(shown.values())


def as_letter(text: str, generator: np.random.Generator) -> str:
    """A short text with a greeting before and a closing behind it, as mail has."""
    greeting, closing, sender = (
        str(generator.choice(np.array(texts))) for texts in (GREETINGS, CLOSINGS, SENDERS)
    )
    sentence = text[:1].upper() + text[1:]
    stop = "" if sentence[-1:] in ".?!" else "."
    return f"{greeting}\n\n{sentence}{stop}\n\n{closing},\n{sender}"


def _shares(rows: Sequence[Sequence[int]], power: float) -> NDArray[np.float64]:
    counts = np.array([len(found) for found in rows], dtype=np.float64)
    shares: NDArray[np.float64] = np.where(counts > 0, counts**power, 0.0)
    total: NDArray[np.float64] = shares / shares.sum()
    return total
