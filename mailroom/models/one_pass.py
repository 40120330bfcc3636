"""Email and candidates → scores: a one-pass cross-encoder out of an exported directory, one email at a time.

The email is read once, then the candidates against its states, a few in a run (docs/one-pass.md). Nothing is
padded, and a score depends on the email and on its own label alone: exactly in fp32, up to the rounding of
shared scales in int8. Threads run emails side by side.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mailroom.errors import ModelError
from mailroom.models.encoder_config import (
    CONFIG_FORMAT,
    CONFIG_NAME,
    GRAPH_NAMES,
    TOKENIZER_NAME,
    read_config_fields,
)
from mailroom.models.one_pass_session import EmailStates, OnePassSession
from mailroom.models.runtime import Precision
from mailroom.models.tokens import TextTokenizer

KIND = "one-pass"
# Attention among the candidates' tokens grows with the square of their number, and a run has a price of its
# own; measured for names and for descriptions (docs/experiments-cross-encoder.md).
MAX_LABEL_TOKENS_A_RUN = 128
# A taxonomy has at most some thousand labels; the bound only guards against texts made anew for each call.
_MAX_CACHED_LABELS = 65_536


@dataclass(frozen=True, slots=True)
class OnePassServingConfig:
    """How an email and labels become the graph's inputs, and what turns a score into a probability.

    Candidates are ranked by score + `similarity_weight` × the bi-encoder's cosine; that sum is divided by
    `temperature` before the softmax over the candidates. Both were fitted on mail that training never saw.
    """

    max_email_tokens: int
    max_label_tokens: int
    email_prompt: str = ""
    label_prompt: str = ""
    temperature: float = 1.0
    similarity_weight: float = 0.0
    kind: str = KIND


def write_serving_config(directory: Path, config: OnePassServingConfig) -> None:
    """Write encoder.json into `directory`."""
    content = {"format": CONFIG_FORMAT, **dataclasses.asdict(config)}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (directory / CONFIG_NAME).write_text(text, encoding="utf-8")


def read_serving_config(directory: Path) -> OnePassServingConfig:
    """encoder.json of an exported one-pass cross-encoder; ModelError when it is another kind or unusable."""
    fields = read_config_fields(directory)
    if fields.get("kind") != KIND:
        raise ModelError(f"{directory / CONFIG_NAME}: expected kind {KIND!r}, got {fields.get('kind')!r}")
    try:
        config = OnePassServingConfig(**fields)
    except TypeError as exc:
        raise ModelError(f"{directory / CONFIG_NAME}: expected the fields of {KIND}, got: {exc}") from exc
    if not (np.isfinite(config.temperature) and config.temperature > 0):
        raise ModelError(
            f"{directory / CONFIG_NAME}: expected a temperature above 0, got {config.temperature!r}"
        )
    if not (np.isfinite(config.similarity_weight) and config.similarity_weight >= 0):
        raise ModelError(
            f"{directory / CONFIG_NAME}: expected a similarity_weight of at least 0, "
            f"got {config.similarity_weight!r}"
        )
    return config


class OnePassCrossEncoder:
    """A reranker whose `score` may be called from several threads at once."""

    def __init__(self, config: OnePassServingConfig, tokenizer_path: Path, session: OnePassSession) -> None:
        self._config = config
        self._emails = TextTokenizer(tokenizer_path, config.max_email_tokens)
        self._labels = TextTokenizer(tokenizer_path, config.max_label_tokens)
        self._session = session
        self._label_ids: dict[str, NDArray[np.int64]] = {}

    @classmethod
    def load(cls, directory: Path, precision: Precision, intra_op_threads: int = 1) -> "OnePassCrossEncoder":
        """Open an exported one-pass cross-encoder; ModelError names the file that is missing or unusable."""
        config = read_serving_config(directory)
        session = OnePassSession(directory / GRAPH_NAMES[precision], intra_op_threads)
        return cls(config, directory / TOKENIZER_NAME, session)

    @property
    def kind(self) -> str:
        """`one-pass`."""
        return KIND

    @property
    def temperature(self) -> float:
        """What the ranked sums are divided by before the softmax over the candidates."""
        return self._config.temperature

    @property
    def similarity_weight(self) -> float:
        """How often the bi-encoder's cosine is added to a score before ranking; 0 ranks by scores alone."""
        return self._config.similarity_weight

    def score(self, text: str, labels: Sequence[str]) -> NDArray[np.float32]:
        """Logits `(n,)` of the labels' texts for one email, in their order; higher fits better.

        A text or a label beyond the model's limit is read up to it. Raises ModelError when a score is
        not finite: the weights are damaged then.
        """
        return self.score_states(self.read(text), labels)

    def read(self, text: str) -> EmailStates:
        """Read one email, up to the model's limit; `vector` is what the base encoder makes of it."""
        return self._session.read(self._emails.ids(self._config.email_prompt + text))

    def score_states(self, email: EmailStates, labels: Sequence[str]) -> NDArray[np.float32]:
        """Logits `(n,)` as `score` gives them, for an email that was read; any number of calls may follow."""
        if not labels:
            return np.empty(0, dtype=np.float32)
        label_ids = [self._ids_of_label(label) for label in labels]
        scores = np.concatenate([self._session.score(email, part) for part in _parts(label_ids)])
        if not np.isfinite(scores).all():
            raise ModelError("the cross-encoder gave scores that are no numbers; export or train it again")
        return scores

    def _ids_of_label(self, label: str) -> NDArray[np.int64]:
        ids = self._label_ids.get(label)
        if ids is None:
            ids = self._labels.ids(self._config.label_prompt + label)
            if len(self._label_ids) >= _MAX_CACHED_LABELS:
                self._label_ids.clear()
            self._label_ids[label] = ids
        return ids


def _parts(label_ids: Sequence[NDArray[np.int64]]) -> Iterator[list[NDArray[np.int64]]]:
    """The candidates in order, cut into runs of a bounded number of tokens."""
    part: list[NDArray[np.int64]] = []
    tokens = 0
    for ids in label_ids:
        if part and tokens + len(ids) > MAX_LABEL_TOKENS_A_RUN:
            yield part
            part, tokens = [], 0
        part.append(ids)
        tokens += len(ids)
    if part:
        yield part
