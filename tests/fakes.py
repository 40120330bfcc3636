"""Small deterministic stand-ins for the encoders: words hashed into a vector, overlap as score."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DIMENSION = 64


class HashingEncoder:
    """A bag of hashed words, unit length: equal texts get cosine 1, texts without a common word about 0."""

    dimension = DIMENSION

    def encode_query(self, text: str) -> NDArray[np.float32]:
        vector = np.zeros(DIMENSION, dtype=np.float32)
        for word in words(text):
            vector[int(hashlib.sha256(word.encode()).hexdigest(), 16) % DIMENSION] += 1
        return vector / np.float32(max(float(np.linalg.norm(vector)), 1e-9))

    def encode_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([self.encode_query(text) for text in texts])


class OverlapScorer:
    """A cross-encoder whose logit is the number of common words."""

    def __init__(self, similarity_weight: float = 0.0, temperature: float = 1.0) -> None:
        self.similarity_weight = similarity_weight
        self.temperature = temperature
        self.scored = 0

    def score(self, text: str, labels: Sequence[str]) -> NDArray[np.float32]:
        self.scored += len(labels)
        read = set(words(text))
        return np.array([len(read & set(words(label))) for label in labels], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class TextReading:
    """An email that was read: its vector, and its text for the scorer."""

    vector: NDArray[np.float32]
    text: str


class JointReader(OverlapScorer):
    """An OverlapScorer whose reading of an email gives HashingEncoder's vector as well."""

    read_texts = 0

    def read(self, text: str) -> TextReading:
        self.read_texts += 1
        return TextReading(HashingEncoder().encode_query(text), text)

    def score_states(self, email: TextReading, labels: Sequence[str]) -> NDArray[np.float32]:
        return self.score(email.text, labels)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
