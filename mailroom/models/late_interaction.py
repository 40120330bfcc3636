"""Email and candidates → late interaction: does each word of a label find one like it in the email?

Both sides are read apart by the bi-encoder's own weights; a label's score is the mean, over its tokens, of
the highest cosine with any of the email's (ColBERT's MaxSim, Khattab and Zaharia, SIGIR 2020, as a mean, so
that long labels gain nothing by their length). Nothing is trained, and since the reading is the bi-encoder's,
one reading of an email serves retrieval too: what is left is one small product (docs/late-interaction.md).
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mailroom.errors import ModelError
from mailroom.models.encoder_config import (
    CONFIG_NAME,
    GRAPH_NAMES,
    LATE_INTERACTION,
    TOKENIZER_NAME,
    LateInteractionConfig,
    read_config,
    write_config,
)
from mailroom.models.place import place
from mailroom.models.runtime import Precision, open_session
from mailroom.models.tokens import TextTokenizer

# The graph's switch: true reads a text, false compares tokens; and what reading gives.
READS = "reads"
READ = ("vector", "tokens")
# Tokens of labels that are kept, as half floats: about 190 MB of a model of MiniLM's width.
_MAX_CACHED_TOKENS = 250_000

Values = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TokenReading:
    """An email that was read: `vector` (D,) pooled, `words` (tokens, D) of length 1, no special tokens."""

    vector: Values
    words: Values


def reweighed(source: Path, target: Path, weight: float, temperature: float) -> None:
    """Make the exported directory `source` once more as `target`, with another weight and temperature.

    A `target` that a killed run left is replaced. ModelError where it cannot be made.
    """
    config = read_config(source, LateInteractionConfig)
    shutil.rmtree(target, ignore_errors=True)
    place(source, target, without=(CONFIG_NAME,))
    write_config(target, replace(config, weight=weight, temperature=temperature))


class LateInteraction:
    """A reranker whose `score` may be called from several threads at once."""

    def __init__(self, config: LateInteractionConfig, tokenizer_path: Path, session: Any) -> None:
        self._config = config
        self._emails = TextTokenizer(tokenizer_path, config.max_email_tokens)
        self._labels = TextTokenizer(tokenizer_path, config.max_label_tokens)
        self._run = session.run
        width = next(item.shape[-1] for item in session.get_inputs() if item.name == "label_tokens")
        nothing = np.zeros((0, width), dtype=np.float32)
        # The runtime asks for the inputs of the half that does not run, too.
        self._unread = {"email_tokens": nothing, "label_tokens": nothing}
        self._known: dict[str, NDArray[np.float16]] = {}
        self._known_tokens = 0

    @classmethod
    def load(cls, directory: Path, precision: Precision, intra_op_threads: int = 1) -> "LateInteraction":
        """Open an exported directory; ModelError names the file that is missing or unusable."""
        config = read_config(directory, LateInteractionConfig)
        for name in ("weight", "temperature"):
            value = getattr(config, name)
            if not (np.isfinite(value) and value > 0):
                raise ModelError(f"{directory}: expected a {name} above 0, got {value!r}; export it again")
        session = open_session(directory / GRAPH_NAMES[precision], intra_op_threads)
        return cls(config, directory / TOKENIZER_NAME, session)

    @property
    def kind(self) -> str:
        """`late-interaction`."""
        return LATE_INTERACTION

    @property
    def weight(self) -> float:
        """What one unit of late interaction counts beside one of cosine, above 0."""
        return self._config.weight

    @property
    def similarity_weight(self) -> float:
        """1: the score is said in the unit of the cosine."""
        return 1.0

    @property
    def temperature(self) -> float:
        """What score + cosine is divided by before the softmax over the candidates."""
        return self._config.temperature

    def score(self, text: str, labels: Sequence[str]) -> Values:
        """Scores `(n,)` of the labels' texts for one email, in their order: weight × late interaction.

        0 where the email or the label has no word. Raises ModelError when a score is not finite: the
        weights are damaged then.
        """
        return self.score_states(self.read(text), labels)

    def read(self, text: str) -> TokenReading:
        """Read one email, up to the model's limit; `vector` is what the bi-encoder makes of it."""
        return self._read(self._emails.ids(self._config.email_prompt + text))

    def score_states(self, email: TokenReading, labels: Sequence[str]) -> Values:
        """Scores `(n,)` as `score` gives them, for an email that was read."""
        scores = np.zeros(len(labels), dtype=np.float32)
        words = [self._words_of(label) for label in labels]
        worded = [place for place, found in enumerate(words) if len(found)]
        if not worded or not len(email.words):
            return scores
        counts = np.array([len(words[place]) for place in worded])
        tokens = np.concatenate([words[place] for place in worded]).astype(np.float32)
        inputs = {
            "email_ids": np.zeros(0, dtype=np.int64),
            "email_tokens": email.words,
            "label_tokens": tokens,
            READS: np.array(False),
        }
        best: Values = self._run(["best"], inputs)[0]
        starts = np.cumsum(counts) - counts
        scores[worded] = self._config.weight * np.add.reduceat(best, starts) / counts
        if not np.isfinite(scores).all():
            raise ModelError("late interaction gave scores that are no numbers; export the encoder again")
        return scores

    def read_labels(self, labels: Sequence[str]) -> None:
        """Read labels before an email asks for them; what is read is kept."""
        for label in labels:
            self._words_of(label)

    def _read(self, ids: NDArray[np.int64]) -> TokenReading:
        inputs = {**self._unread, "email_ids": ids, READS: np.array(True)}
        vector, tokens = self._run(list(READ), inputs)
        # The first and the last token stand for no word.
        return TokenReading(vector[0], tokens[1:-1])

    def _words_of(self, label: str) -> NDArray[np.float16]:
        known = self._known.get(label)
        if known is None:
            read = self._read(self._labels.ids(self._config.label_prompt + label))
            known = read.words.astype(np.float16)
            if self._known_tokens >= _MAX_CACHED_TOKENS:
                self._known, self._known_tokens = {}, 0
            self._known[label] = known
            self._known_tokens += len(known)
        return known
