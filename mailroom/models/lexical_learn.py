"""Labelled emails and their vectors → a lexical head that counts as much as it should beside the cosine."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mailroom.models.lexical import Lexical
from mailroom.models.lexical_fit import Bags, fit_svm, make_lexical
from mailroom.models.lexical_weight import Judged, choose_weight
from mailroom.models.prototypes import Fit, LabelledVectors, Vectors, choose_fit
from mailroom.models.unlabelled import Mail, fit_with_mail

# Groups of labels that are hidden in turn, where there are labels without examples.
_GROUPS = 3
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Lessons:
    """Emails to learn from: their vectors and whole texts; `text_vectors` (labels, d) are the labels' own.

    Emails of `folds` (n,) ≥ 0 are answered by what was learned from other folds, and so choose how much words
    count; the rest teaches in all of them. Label vectors are drawn to `mail`, where there is any.
    """

    labels: Sequence[str]
    text_vectors: Vectors
    emails: LabelledVectors
    texts: Sequence[str]
    folds: NDArray[np.intp]
    seed: int = 0
    mail: Mail | None = None
    fit: Fit | None = None

    def chosen_fit(self) -> Fit:
        """How label vectors learn, for all folds: to choose anew for each takes four times as long."""
        return self.fit or choose_fit(self.text_vectors, self.emails, seed=self.seed)


def learn_lexical(lessons: Lessons) -> Lexical | None:
    """A head that learned from all lessons; its weight is 0 where words add nothing beside the cosine.

    None where there are fewer than two labels to tell apart. DataError without texts.
    """
    held_back = _HeldBack(lessons)
    known, _ = held_back.by_fold()
    choice = choose_weight(known, held_back.hidden(), held_back.without, lessons.seed)
    emails, bags = lessons.emails, held_back.bags
    fitted = fit_svm(bags.matrix, emails.targets, emails.weights)
    if fitted is None:
        return None
    return make_lexical(lessons.labels, bags, fitted, choice.neutral, choice.weight)


def cross_fitted_scores(lessons: Lessons) -> tuple[Vectors, NDArray[np.intp]]:
    """What labels with words are ranked by, for each email of a fold: scores (m, labels), and its row (m,).

    Label vectors and words learned from the other folds, whose emails also choose how much words count.
    """
    held_back = _HeldBack(lessons)
    known, rows = held_back.by_fold()
    hidden = held_back.hidden()
    scores = known.cosines.copy()
    folds = lessons.folds[rows]
    for fold in np.unique(folds):
        own = folds == fold
        choice = choose_weight(known.part(~own), hidden, held_back.without, lessons.seed)
        scores[own] = known.part(own).combined(choice.neutral, choice.weight)
    return scores, rows


class _HeldBack:
    """Answers emails by what label vectors and words learned from others."""

    def __init__(self, lessons: Lessons) -> None:
        self._lessons = lessons
        self.bags = Bags.read(lessons.texts, len(lessons.labels))
        emails = lessons.emails
        self._fit = lessons.chosen_fit()
        self._teaches = emails.weights > 0
        taught = np.bincount(emails.targets[self._teaches], minlength=len(lessons.labels)) > 0
        self._taught = np.flatnonzero(taught)
        self.without = 1.0 - float(taught.mean())

    def by_fold(self) -> tuple[Judged, NDArray[np.intp]]:
        """Every email of a fold, by what the other folds taught; and the emails' rows."""
        folds = self._lessons.folds
        return self._judged([(folds != fold, folds == fold) for fold in np.unique(folds[folds >= 0])])

    def hidden(self) -> Judged | None:
        """The same emails with their labels unlearned; None where all labels have examples, or few have."""
        lessons = self._lessons
        if self.without <= 0 or len(self._taught) < 2 * _GROUPS:
            return None
        groups = np.full(len(lessons.labels), -1, dtype=np.intp)
        drawn = np.random.default_rng(lessons.seed).permutation(len(self._taught)) % _GROUPS
        groups[self._taught] = drawn
        own = groups[lessons.emails.targets]
        judged, _ = self._judged(
            [(own != number, (own == number) & (lessons.folds >= 0)) for number in range(_GROUPS)]
        )
        return judged

    def _judged(self, turns: Sequence[tuple[Flags, Flags]]) -> tuple[Judged, NDArray[np.intp]]:
        """All turns' emails; a turn is which emails are learned from, and which are answered."""
        labels = len(self._lessons.labels)
        empty = np.empty((0, labels), dtype=np.float32)
        cosines, words, rows = [empty], [empty], [np.empty(0, dtype=np.intp)]
        for learned, answered in turns:
            known, asked = np.flatnonzero(learned & self._teaches), np.flatnonzero(answered)
            if len(known) and len(asked):
                cosines.append(self._cosines(known, asked))
                words.append(self._words(known, asked))
                rows.append(asked)
        places, emails = np.concatenate(rows), self._lessons.emails
        judged = Judged(
            np.concatenate(cosines), np.concatenate(words), emails.targets[places], emails.weights[places]
        )
        return judged, places

    def _cosines(self, known: NDArray[np.intp], asked: NDArray[np.intp]) -> Vectors:
        lessons = self._lessons
        learned = fit_with_mail(
            lessons.labels,
            lessons.text_vectors,
            lessons.emails.part(known),
            lessons.mail,
            lessons.seed,
            self._fit,
        )
        nearest = learned.label_vectors(lessons.labels, lessons.text_vectors)
        cosines: Vectors = lessons.emails.vectors[asked] @ nearest.T
        return cosines

    def _words(self, known: NDArray[np.intp], asked: NDArray[np.intp]) -> Vectors:
        emails, labels = self._lessons.emails, len(self._lessons.labels)
        fitted = fit_svm(self.bags.matrix[known], emails.targets[known], emails.weights[known])
        if fitted is None:
            return np.full((len(asked), labels), np.nan, dtype=np.float32)
        return fitted.scores(self.bags.matrix[asked], labels)
