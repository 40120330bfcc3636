"""A model's candidates for an email, and the truth → one answer that can be judged and compared."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mailroom.classify.decide import softmax
from mailroom.errors import DataError
from mailroom.records import Candidate


@dataclass(frozen=True, slots=True)
class Answer:
    """How one model answered one gold email: labels best first, and what was thought of each.

    `probabilities` and `similarities` stand in the order of `ranked`; `similarities` is () for a model that
    has none. At least one label is given.
    """

    email_id: str
    truth: str
    ranked: tuple[str, ...]
    probabilities: tuple[float, ...]
    similarities: tuple[float, ...] = ()

    @property
    def label(self) -> str:
        """The answer itself."""
        return self.ranked[0]

    @property
    def correct(self) -> bool:
        """True where the answer is the truth."""
        return self.ranked[0] == self.truth


def answer_of(email_id: str, truth: str, candidates: Sequence[Candidate]) -> Answer:
    """The answer that a prediction's candidates give, best first; DataError without any."""
    if not candidates:
        raise DataError("expected at least one candidate to judge, got none")
    return Answer(
        email_id,
        truth,
        tuple(candidate.label for candidate in candidates),
        tuple(candidate.probability for candidate in candidates),
        tuple(candidate.similarity for candidate in candidates),
    )


def retrieval_alone(answers: Sequence[Answer], temperature: float) -> list[Answer]:
    """The bi-encoder's own answers: by similarity, with the softmax of similarity / `temperature`."""
    return [_by_similarity(answer, temperature) for answer in answers]


def _by_similarity(answer: Answer, temperature: float) -> Answer:
    if not answer.similarities:
        raise DataError("expected answers with similarities, got one without; retrieval cannot be judged")
    similarities = np.asarray(answer.similarities, dtype=np.float32)
    shares = softmax(similarities, temperature)
    order = np.argsort(-similarities, kind="stable")
    return Answer(
        answer.email_id,
        answer.truth,
        tuple(answer.ranked[place] for place in order),
        tuple(shares[order].tolist()),
        tuple(similarities[order].tolist()),
    )


def align(reference: Sequence[Answer], others: Sequence[Answer]) -> list[Answer]:
    """`others` in the order of `reference`; DataError unless both hold the same emails and truths."""
    by_id = {answer.email_id: answer for answer in others}
    ids = {answer.email_id for answer in reference}
    if len(by_id) != len(others) or len(ids) != len(reference) or by_id.keys() != ids:
        raise DataError(
            f"expected two models' answers to the same emails, each once; got {len(reference)} and "
            f"{len(others)} answers with {len(ids & by_id.keys())} emails in common"
        )
    aligned = [by_id[answer.email_id] for answer in reference]
    if any(one.truth != other.truth for one, other in zip(reference, aligned, strict=True)):
        raise DataError("expected one truth an email for both models, got two; judge both on the same gold")
    return aligned


def certainty(answers: Sequence[Answer]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The probability of each answer, and whether it is right: two arrays (n,)."""
    stated = np.array([answer.probabilities[0] for answer in answers], dtype=np.float64)
    return stated, np.array([answer.correct for answer in answers], dtype=bool)
