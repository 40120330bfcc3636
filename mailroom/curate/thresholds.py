"""Answers and audits → which answers are sure enough to learn from, label by label where audits suffice.

The precision that is promised is that of what is delivered: audits count a label's answers as far as its cap
lets them through, since a cap that holds back the easy labels would leave the hard ones.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mailroom.curate.confidence import Ranks, rank_answers, stages_agree
from mailroom.curate.credit import expected_precision
from mailroom.curate.precision import Cut, Trusted, fewest_audited, find_trusted, upper_bound
from mailroom.records import Prediction

Basis = Literal["audited", "unproven", "refuted", "doubtful"]
Mask = NDArray[np.bool_]

# Shares of the surest answers that are tried, strict to lax.
SHARES = tuple(share / 100 for share in range(5, 101, 5))

# A label with so many audited answers gets a threshold of its own.
OWN_AUDITED = 200

# No credit where labelled answers lead one to expect more than so many times the errors that are allowed.
_MOST_ERRORS = 2.0


@dataclass(frozen=True, slots=True)
class Audited:
    """An answer on an email, and the label that a person gave it; the answer is from before that.

    Where the email was drawn at random, and the answer is of the model whose answers become silver, this
    proves something of that model.
    """

    prediction: Prediction
    label: str

    @property
    def correct(self) -> bool:
        """Whether the answer was right."""
        return self.prediction.label == self.label


@dataclass(frozen=True, slots=True)
class SilverRules:
    """How silver is chosen. `target_precision` holds with 1 − `error_rate`; shares and rates are 0…1.

    `unproven_share` of the mail, the surest, is taken before there are audits enough; `seed` decides which
    emails of a label are beyond its cap.
    """

    target_precision: float = 0.95
    error_rate: float = 0.05
    max_per_label: int = 200
    unproven_share: float = 0.1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Threshold:
    """What was found for the answers `label` (None: all labels without a threshold of their own).

    Answers of at least `min_probability` and `min_margin` are taken, none where these are None. `precision`
    is the lower bound on their precision, None where it is unproven, was refuted, or is doubtful (`expected`
    is far below the target). `expected` is what labelled answers lead one to expect of what is or would have
    been taken on credit, None where too few were labelled. `refused` are labels whose own audits show less
    than the target; their answers are not taken.
    """

    label: str | None
    basis: Basis
    share: float
    audited: int
    correct: int
    precision: float | None
    min_probability: float | None
    min_margin: float | None
    refused: tuple[str, ...] = ()
    expected: float | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """Places of the answers that are sure enough, with their rank among their like (0…1, 0 the surest)."""

    rank_of: Mapping[int, float]
    thresholds: tuple[Threshold, ...]


def choose(
    answers: Sequence[Prediction],
    audited: Sequence[Audited],
    rules: SilverRules,
    labelled: Sequence[Audited] = (),
) -> Chosen:
    """Find a threshold for each label with OWN_AUDITED audits, and one for all others together.

    The error rate is shared out among the thresholds, so that it holds for the whole. `labelled` are answers
    of any model on emails that people have labelled since, mostly because they were unsure: they cannot
    prove a threshold, but they may refuse the credit that is given before audits can.
    """
    counts = Counter(audit.prediction.label for audit in audited)
    own = sorted(label for label, count in counts.items() if count >= OWN_AUDITED)
    error_rate = rules.error_rate / (len(own) + 1)
    places: defaultdict[str | None, list[int]] = defaultdict(list)
    for place, answer in enumerate(answers):
        places[answer.label if answer.label in own else None].append(place)
    audits: defaultdict[str | None, list[Audited]] = defaultdict(list)
    for audit in audited:
        audits[audit.prediction.label if audit.prediction.label in own else None].append(audit)
    rank_of: dict[int, float] = {}
    thresholds = []
    for label in (None, *own):
        if not places[label]:
            continue
        group = _Group([answers[place] for place in places[label]], audits[label], rules, labelled)
        taken, threshold = group.choose(label, error_rate)
        thresholds.append(threshold)
        rank_of |= {places[label][i]: float(group.ranks[i]) for i in np.flatnonzero(taken).tolist()}
    return Chosen(rank_of, tuple(thresholds))


class _Group:
    """Answers that share one threshold, and the audits of such answers."""

    def __init__(
        self,
        answers: Sequence[Prediction],
        audits: Sequence[Audited],
        rules: SilverRules,
        labelled: Sequence[Audited],
    ) -> None:
        self._answers, self._audits, self._rules = answers, audits, rules
        self._labelled = labelled
        self.ranks, self._audit_ranks = rank_answers(answers, [audit.prediction for audit in audits])
        self._correct: Mask = np.array([audit.correct for audit in audits], dtype=np.bool_)
        # One draw for every audit, whatever the cut: it passes a cap or it does not.
        self._draws: Ranks = np.array([_draw(audit.prediction, rules.seed) for audit in audits])

    def choose(self, label: str | None, error_rate: float) -> tuple[Mask, Threshold]:
        """Which answers are taken, and by what threshold."""
        rules = self._rules
        cuts = [self._cut(share) for share in SHARES]
        trusted = find_trusted(cuts, rules.target_precision, error_rate) if self._audits else None
        if trusted is not None:
            refused = self._refused(trusted.cut.share)
            taken = self.ranks <= trusted.cut.share
            taken &= np.array([answer.label not in refused for answer in self._answers], dtype=np.bool_)
            return taken, self._threshold(label, "audited", trusted, taken, refused)
        agreed = np.array([stages_agree(answer) for answer in self._answers], dtype=np.bool_)
        surest = agreed & (self.ranks <= rules.unproven_share)
        expected = expected_precision(
            [answer.prediction.probability for answer in self._labelled],
            [answer.correct for answer in self._labelled],
            [self._answers[i].probability for i in np.flatnonzero(surest).tolist()],
        )
        basis, credit = self._on_credit(expected)
        taken = surest & (basis == "unproven")
        return taken, replace(self._threshold(label, basis, credit, taken, ()), expected=expected)

    def _cut(self, share: float) -> Cut:
        """The surest share as it will be delivered: of each label, what its cap lets through."""
        inside = [self._answers[i].label for i in np.flatnonzero(self.ranks <= share).tolist()]
        held = Counter(inside)
        passing = {label: min(1.0, self._rules.max_per_label / count) for label, count in held.items()}
        shown = self._audit_ranks <= share
        shown &= self._draws < [passing.get(audit.prediction.label, 1.0) for audit in self._audits]
        delivered = sum(count * passing[label] for label, count in held.items())
        expected = len(self._audits) * delivered / len(self._answers)
        return Cut(share, expected, int(shown.sum()), int(self._correct[shown].sum()))

    def _refused(self, share: float) -> tuple[str, ...]:
        """Labels whose own audits within the share show less than the target."""
        audited: Counter[str] = Counter()
        right: Counter[str] = Counter()
        for place in np.flatnonzero(self._audit_ranks <= share).tolist():
            audit = self._audits[place]
            audited[audit.prediction.label] += 1
            right[audit.prediction.label] += audit.correct
        rules = self._rules
        return tuple(
            label
            for label in sorted(audited)
            if upper_bound(right[label], audited[label], rules.error_rate) < rules.target_precision
        )

    def _on_credit(self, expected: float | None) -> tuple[Basis, Trusted]:
        """Whether the surest answers may be taken unproven.

        Not if audits refute or failed to prove them, nor if far fewer than needed are `expected` to be right.
        """
        rules = self._rules
        inside = self._audit_ranks <= rules.unproven_share
        inside &= np.array([stages_agree(audit.prediction) for audit in self._audits], dtype=np.bool_)
        audited, right = int(inside.sum()), int(self._correct[inside].sum())
        # With as many, answers as good as they have to be would have been proven by now.
        enough = audited >= 2 * fewest_audited(rules.target_precision, rules.error_rate)
        worse = audited > 0 and upper_bound(right, audited, rules.error_rate) < rules.target_precision
        cut = Cut(rules.unproven_share, audited, audited, right)
        doubtful = expected is not None and 1 - expected > _MOST_ERRORS * (1 - rules.target_precision)
        basis: Basis = "refuted" if enough or worse else "doubtful" if doubtful else "unproven"
        return basis, Trusted(cut, 0.0, rules.error_rate)

    def _threshold(
        self, label: str | None, basis: Basis, trusted: Trusted, taken: Mask, refused: tuple[str, ...]
    ) -> Threshold:
        chosen = [self._answers[i] for i in np.flatnonzero(taken).tolist()]
        return Threshold(
            label=label,
            basis=basis,
            share=trusted.cut.share,
            audited=trusted.cut.audited,
            correct=trusted.cut.correct,
            precision=trusted.lower_bound if basis == "audited" else None,
            min_probability=min((answer.probability for answer in chosen), default=None),
            min_margin=min((answer.margin for answer in chosen), default=None),
            refused=refused,
        )


def _draw(answer: Prediction, seed: int) -> float:
    """A number in [0, 1) by email and seed."""
    digest = hashlib.sha256(f"audit\0{seed}\0{answer.email_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
