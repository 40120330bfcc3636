"""An exported bi-encoder and cross-encoder → whether one reading of an email may serve both, by precision.

A one-pass cross-encoder that was trained with its email side frozen still computes the bi-encoder's vector on
the way. Judged by what both compute, so that neither names of weights nor their number format matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mailroom.models.bi_encoder import BiEncoder
from mailroom.models.cross_encoder import CrossEncoder, load_cross_encoder
from mailroom.models.late_interaction import LateInteraction
from mailroom.models.one_pass import OnePassCrossEncoder
from mailroom.models.parity import compare_scores, cosines

EmailReader = OnePassCrossEncoder | LateInteraction
# Weights kept in half precision move a cosine by about 1e-4; other weights, prompts or lengths by far more.
MAX_COSINE_DIFFERENCE = 1e-3
# More than any encoder reads, so that two that stop at different lengths are told apart.
_REPEATS_OF_LONG_TEXT = 50


def shared_reading(
    bi_encoder: Path, cross_encoder: Path, labels: Sequence[str], texts: Sequence[str]
) -> dict[str, bool]:
    """By precision: whether the cross-encoder reads `texts` to the bi-encoder's cosines with `labels`.

    In fp32 they must be equal; in int8 they must pass the gate that int8 is held to anyway. Cross-encoders
    that read each pair anew share nothing.
    """
    shared = {"fp32": False, "int8": False}
    reader = email_reader(load_cross_encoder(cross_encoder, "fp32"))
    base = BiEncoder.load(bi_encoder, "fp32")
    if reader is None or len(reader.read("a").vector) != base.dimension:
        return shared
    queries = [*texts, *labels, " ".join([*texts, *labels] * _REPEATS_OF_LONG_TEXT)]
    reference = cosines(base, labels, queries)
    difference = np.abs(reference - cosines(_Joint(reader, base), labels, queries)).max(initial=0.0)
    shared["fp32"] = bool(difference <= MAX_COSINE_DIFFERENCE)
    if shared["fp32"]:
        small = email_reader(load_cross_encoder(cross_encoder, "int8"))
        if small is not None:
            both = _Joint(small, BiEncoder.load(bi_encoder, "int8"))
            shared["int8"] = compare_scores(reference, cosines(both, labels, queries)).passed
    return shared


def email_reader(cross_encoder: CrossEncoder | None) -> EmailReader | None:
    """The cross-encoder as one that reads an email by itself, before any label; None if it is none."""
    return cross_encoder if isinstance(cross_encoder, OnePassCrossEncoder | LateInteraction) else None


@dataclass(frozen=True, slots=True)
class _Joint:
    """What a shared reading retrieves by: emails of the cross-encoder, labels of the bi-encoder."""

    reader: EmailReader
    base: BiEncoder

    @property
    def dimension(self) -> int:
        return self.base.dimension

    def encode_query(self, text: str) -> NDArray[np.float32]:
        return self.reader.read(text).vector

    def encode_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.base.encode_passages(texts)
