"""The untrained encoder's token vectors, and how well the words of labels are matched by those of an email.

ColBERT's late interaction (Khattab and Zaharia, SIGIR 2020) with nothing trained: each side is read apart.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoModel

from mailroom.models.sources import resolve_base_model
from mailroom.train.one_pass_weights import from_encoder
from mailroom.train.ranking_batches import ExampleEncoder

Values = NDArray[np.float32]


class Reader:
    """The encoder without any training: token ids → unit vectors, of the tokens by layer and pooled."""

    def __init__(self, layers: Sequence[int]) -> None:
        base = resolve_base_model("embedded")
        self.encode = ExampleEncoder(base / "tokenizer.json", from_encoder(base).config)
        self._model: Any = AutoModel.from_pretrained(base).eval()
        self._layers = layers

    @torch.no_grad()
    def __call__(self, ids: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """Pooled (d,), and per layer the tokens between the special ones (tokens, d)."""
        states = self._model(input_ids=torch.tensor([list(ids)]), output_hidden_states=True).hidden_states
        pooled = normalize(states[-1][0].mean(dim=0), dim=-1)
        return pooled, [normalize(states[layer][0, 1:-1], dim=-1) for layer in self._layers]


def max_sim(email: Tensor, names: Sequence[Tensor]) -> Values:
    """(labels,): the mean over a name's tokens of the highest cosine; 0 where either has no token."""
    if not len(email):
        return np.zeros(len(names), dtype=np.float32)
    best = (torch.cat(list(names)) @ email.T).amax(dim=1).numpy()
    parts = np.split(best, np.cumsum([len(name) for name in names])[:-1])
    values = [float(part.mean()) if len(part) else 0.0 for part in parts]
    return np.array(values, dtype=np.float32)
