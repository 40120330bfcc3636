"""Text → vector: a bi-encoder out of an exported directory, one sequence a run.

Pooling and normalisation are inside the graph; prompts and the length limit stand in encoder.json. A single
sequence already fills a core, so that batches would only add padding; threads run emails side by side.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mailroom.models.encoder_config import GRAPH_NAMES, TOKENIZER_NAME, BiEncoderConfig, read_config
from mailroom.models.runtime import Precision, open_session
from mailroom.models.tokens import TextTokenizer


class BiEncoder:
    """An embedder whose methods may be called from several threads at once."""

    def __init__(self, config: BiEncoderConfig, tokenizer: TextTokenizer, session: Any) -> None:
        self._config = config
        self._tokenizer = tokenizer
        self._run = session.run
        self._query_inputs = _extra_inputs(config, config.query_prompt_tokens)
        self._passage_inputs = _extra_inputs(config, config.passage_prompt_tokens)

    @classmethod
    def load(cls, directory: Path, precision: Precision, intra_op_threads: int = 1) -> "BiEncoder":
        """Open an exported bi-encoder; ModelError names the file that is missing or unusable."""
        config = read_config(directory, BiEncoderConfig)
        tokenizer = TextTokenizer(directory / TOKENIZER_NAME, config.max_tokens)
        return cls(config, tokenizer, open_session(directory / GRAPH_NAMES[precision], intra_op_threads))

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._config.dimension

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that are read, special tokens and prompt included."""
        return self._config.max_tokens

    def encode_query(self, text: str) -> NDArray[np.float32]:
        """The vector of one email, `(d,)`, of length 1 where the model normalises."""
        return self.encode_ids(self.tokenize_query(text))

    def tokenize_query(self, text: str) -> NDArray[np.int64]:
        """Token ids of one email behind the query prompt, `(n,)`."""
        return self._tokenizer.ids(self._config.query_prompt + text)

    def encode_ids(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vector `(d,)` of the token ids `(n,)` that `tokenize_query` gave."""
        return self._vector(ids, self._query_inputs)

    def encode_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of label texts behind the passage prompt, `(n, d)`."""
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            ids = self._tokenizer.ids(self._config.passage_prompt + text)
            vectors[row] = self._vector(ids, self._passage_inputs)
        return vectors

    def _vector(self, ids: NDArray[np.int64], extra: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = self._run(None, {"input_ids": ids[np.newaxis], **extra})[0]
        vector: NDArray[np.float32] = vectors[0]
        return vector


def _extra_inputs(config: BiEncoderConfig, prompt_tokens: int) -> dict[str, NDArray[np.int64]]:
    if config.include_prompt:
        return {}
    return {"first_pooled": np.array([prompt_tokens], dtype=np.int64)}
