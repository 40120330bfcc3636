"""Email × labels → one logit a label, behind one protocol for every kind of cross-encoder.

`PairwiseCrossEncoder` reads the email once for each label, as MS MARCO and NLI models do. Other kinds live in
modules of their own; `load_cross_encoder` picks one by the `kind` in encoder.json.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mailroom.errors import ModelError
from mailroom.models.encoder_config import (
    CONFIG_NAME,
    GRAPH_NAMES,
    LATE_INTERACTION,
    TOKENIZER_NAME,
    PairwiseConfig,
    read_config,
    read_config_fields,
)
from mailroom.models.runtime import Precision, open_session
from mailroom.models.tokens import PairTokenizer

PAIRWISE = "pairwise"


class CrossEncoder(Protocol):
    """Scores labels for an email by reading both together; safe to call from several threads."""

    @property
    def kind(self) -> str:
        """Which cross-encoder it is, as encoder.json names it."""
        ...

    @property
    def similarity_weight(self) -> float:
        """Candidates are ranked by score + this × the bi-encoder's cosine; 0 ranks by scores alone."""
        ...

    @property
    def temperature(self) -> float:
        """What the ranked sums are divided by before the softmax over the candidates."""
        ...

    def score(self, text: str, labels: Sequence[str]) -> NDArray[np.float32]:
        """One raw logit a label text, `(n,)`, higher is better; the order of `labels` changes no logit."""
        ...


class PairwiseCrossEncoder:
    """A cross-encoder with one logit, or the entailment logit of an NLI head, one run a label."""

    def __init__(self, config: PairwiseConfig, tokenizer: PairTokenizer, session: Any) -> None:
        self._config = config
        self._tokenizer = tokenizer
        self._run = session.run
        self._reads_types = any(item.name == "token_type_ids" for item in session.get_inputs())

    @classmethod
    def load(cls, directory: Path, precision: Precision, intra_op_threads: int = 1) -> "PairwiseCrossEncoder":
        """Open an exported cross-encoder; ModelError names the file that is missing or unusable."""
        config = read_config(directory, PairwiseConfig)
        tokenizer = PairTokenizer(directory / TOKENIZER_NAME, config.max_tokens)
        return cls(config, tokenizer, open_session(directory / GRAPH_NAMES[precision], intra_op_threads))

    @property
    def kind(self) -> str:
        """`pairwise`."""
        return PAIRWISE

    @property
    def similarity_weight(self) -> float:
        """0: a pretrained reranker is taken at its word."""
        return 0.0

    @property
    def temperature(self) -> float:
        """1: the logits as they were trained, until they are calibrated on gold."""
        return 1.0

    def score(self, text: str, labels: Sequence[str]) -> NDArray[np.float32]:
        """One raw logit a label text, `(n,)`; the email is tokenised once for all of them."""
        hypotheses = [self._config.template.replace("{label}", label) for label in labels]
        scores = np.empty(len(labels), dtype=np.float32)
        for row, encoding in enumerate(self._tokenizer.encode_pairs(text, hypotheses)):
            inputs = {"input_ids": np.array([encoding.ids], dtype=np.int64)}
            if self._reads_types:
                inputs["token_type_ids"] = np.array([encoding.type_ids], dtype=np.int64)
            scores[row] = self._run(None, inputs)[0][0]
        return scores


def load_cross_encoder(directory: Path, precision: Precision, intra_op_threads: int = 1) -> CrossEncoder:
    """The cross-encoder in `directory`, of whatever kind; ModelError when the kind is unknown."""
    kind = read_config_fields(directory).get("kind")
    if kind == PAIRWISE:
        return PairwiseCrossEncoder.load(directory, precision, intra_op_threads)
    if kind == "one-pass":
        # Imported when it is met: each kind knows its own graph, and this module knows only their names.
        from mailroom.models.one_pass import OnePassCrossEncoder

        return OnePassCrossEncoder.load(directory, precision, intra_op_threads)
    if kind == LATE_INTERACTION:
        from mailroom.models.late_interaction import LateInteraction

        return LateInteraction.load(directory, precision, intra_op_threads)
    raise ModelError(
        f"{directory / CONFIG_NAME}: expected kind {PAIRWISE}, one-pass or {LATE_INTERACTION}, got {kind!r}; "
        "it may have been made by a newer mailroom"
    )
