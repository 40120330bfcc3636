"""Two simulated models on the same emails, with a known difference between them."""

from dataclasses import dataclass

import numpy as np

from mailroom.evaluate.answers import Answer

GROUPS, IN_GROUP = "abcde", 4
LABELS = tuple(f"{group}{place}" for group in GROUPS for place in range(IN_GROUP))


def are_siblings(one: str, other: str) -> bool:
    return one != other and one[0] == other[0]


@dataclass(frozen=True, slots=True)
class World:
    """`churn` of the emails change sides; the challenger loses `loss` of all emails more than it wins."""

    emails: int
    loss: float = 0.0
    churn: float = 0.06
    base: float = 0.85
    seed: int = 0

    def play(self) -> tuple[list[Answer], list[Answer]]:
        """The champion's and the challenger's answers; emails that keep their side keep their answer."""
        random = np.random.default_rng(self.seed)
        champion, challenger = [], []
        for number in range(self.emails):
            truth = LABELS[random.integers(len(LABELS))]
            drawn, right = random.random(), bool(random.random() < self.base)
            changes = drawn < self.churn
            if changes:
                right = bool(drawn < (self.churn + self.loss) / 2)
            before = _ranking(random, truth, right)
            after = _ranking(random, truth, not right) if changes else before
            champion.append(_answer(number, truth, before))
            challenger.append(_answer(number, truth, after))
        return champion, challenger


def answer(email_id: str, truth: str, *ranked: str, probability: float = 0.6) -> Answer:
    """An answer whose first label has `probability`, the rest sharing what is left."""
    rest = (1 - probability) / max(len(ranked) - 1, 1)
    shares = (probability, *[rest] * (len(ranked) - 1))
    return Answer(email_id, truth, ranked, shares, shares)


def _answer(number: int, truth: str, ranked: list[str]) -> Answer:
    return answer(f"m{number}", truth, *ranked)


def _ranking(random: np.random.Generator, truth: str, right: bool) -> list[str]:
    """Ten labels. A wrong answer is a sibling half the time; the truth is then second, or (1 in 5) tenth."""
    others = [label for label in LABELS if label != truth]
    random.shuffle(others)
    if right:
        return [truth, *others[:9]]
    siblings = [label for label in others if are_siblings(label, truth)]
    first = siblings[0] if random.random() < 0.5 else others[0]
    rest = [label for label in others if label != first][:8]
    return [first, truth, *rest] if random.random() < 0.8 else [first, *rest, truth]
