"""Token ids → an email's states → scores of candidates: the two halves of an exported one-pass graph.

Both halves are one ONNX file and one session, so that weights that they share are loaded once; each run says
which half it wants. Knows arrays only, no text and no limits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mailroom.errors import ModelError
from mailroom.models.runtime import open_session

Ids = NDArray[np.int64]
# The graph's switch: true reads the email, false scores candidates.
READS_EMAIL = "reads_email"
_CANDIDATE_INPUTS = ("label_ids", "label_lengths")
_YES, _NO = np.array(True), np.array(False)


def state_names(layers: int) -> list[str]:
    """The names of an email's states as the graph gives them; with `email_` before them it takes them."""
    keys, values = ([f"{part}_{index}" for index in range(layers)] for part in ("keys", "values"))
    return [*keys, *values, "vector"]


@dataclass(frozen=True, slots=True)
class EmailStates:
    """One email as the candidates see it: `vector` (D,) pooled, `inputs` the arrays of the graph by name."""

    vector: NDArray[np.float32]
    inputs: Mapping[str, NDArray[Any]]


class OnePassSession:
    """An open graph; both methods may be called from several threads at once."""

    def __init__(self, path: Path, intra_op_threads: int = 1) -> None:
        """Open the graph; ModelError where it is none, or not in two halves."""
        session = open_session(path, intra_op_threads)
        self._run = session.run
        self._states = [item.name for item in session.get_outputs() if item.name != "scores"]
        given = [f"email_{name}" for name in self._states]
        found = {item.name for item in session.get_inputs()}
        if found != {READS_EMAIL, "email_ids", *_CANDIDATE_INPUTS, *given} or "vector" not in self._states:
            raise ModelError(
                f"{path}: expected a one-pass graph in two halves, got one with the inputs "
                f"{', '.join(sorted(found)[:5])}; it was exported by another mailroom: export the "
                "cross-encoder again"
            )
        # The runtime asks for every input, those of the half that does not run too.
        unread = {item.name: _empty(item) for item in session.get_inputs()}
        self._unread_email = {"email_ids": unread["email_ids"]}
        self._unread_candidates = {name: unread[name] for name in (*given, *_CANDIDATE_INPUTS)}

    def read(self, email_ids: Ids) -> EmailStates:
        """Read one email `(T,)`, T ≥ 1."""
        inputs = {**self._unread_candidates, READS_EMAIL: _YES, "email_ids": email_ids}
        states = self._run(self._states, inputs)
        named = {f"email_{name}": state for name, state in zip(self._states, states, strict=True)}
        return EmailStates(named["email_vector"][0], named)

    def score(self, email: EmailStates, label_ids: Sequence[Ids]) -> NDArray[np.float32]:
        """Logits `(K,)` of candidates of any length, K ≥ 1, for an email that was read."""
        inputs = {
            **email.inputs,
            **self._unread_email,
            READS_EMAIL: _NO,
            "label_ids": np.concatenate(label_ids),
            "label_lengths": np.array([len(ids) for ids in label_ids], dtype=np.int64),
        }
        scores: NDArray[np.float32] = self._run(["scores"], inputs)[0]
        return scores


def _empty(item: Any) -> NDArray[Any]:
    shape = [size if isinstance(size, int) else 0 for size in item.shape]
    return np.zeros(shape, dtype=np.int64 if "int64" in item.type else np.float32)
