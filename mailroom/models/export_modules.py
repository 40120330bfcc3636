"""torch modules in the form in which they are exported: one sequence, no padding → one vector or logits."""

from typing import Any

import torch
from torch import Tensor, nn


class PooledEncoder(nn.Module):
    """A transformer, its pooling and what follows, over one sequence: `input_ids` (1, n) → (1, d)."""

    def __init__(self, transformer: nn.Module, pooling: str, after_pooling: list[nn.Module]) -> None:
        super().__init__()
        self.transformer = transformer
        self.pooling = pooling
        self.after_pooling = nn.ModuleList(after_pooling)

    def forward(self, input_ids: Tensor, first_pooled: Tensor | None = None) -> Tensor:
        """Pool from position `first_pooled` (1,) on, from 0 where it is not given."""
        states = self.transformer(input_ids=input_ids).last_hidden_state  # (1, n, d)
        vector = self._pool(states, first_pooled)
        for module in self.after_pooling:
            features: dict[str, Any] = module({"sentence_embedding": vector})
            vector = features["sentence_embedding"]
        return vector

    def _pool(self, states: Tensor, first_pooled: Tensor | None) -> Tensor:
        if self.pooling == "lasttoken":
            return states[:, -1]
        if first_pooled is None:
            return states[:, 0] if self.pooling == "cls" else states.mean(dim=1)
        if self.pooling == "cls":
            return states.index_select(1, first_pooled).squeeze(1)
        positions = torch.arange(states.shape[1], device=states.device)
        kept = (positions >= first_pooled).to(states.dtype)[None, :, None]  # (1, n, 1)
        return (states * kept).sum(dim=1) / kept.sum(dim=1)


class PairScorer(nn.Module):
    """A transformer with a classification head over one pair: `input_ids` (1, n) → one logit (1,)."""

    def __init__(self, classifier: nn.Module, logit_index: int) -> None:
        super().__init__()
        self.classifier = classifier
        self.logit_index = logit_index

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """The chosen logit; `token_type_ids` (1, n) where the model tells the two texts apart."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        logits: Tensor = self.classifier(input_ids=input_ids, **types).logits  # (1, labels)
        return logits[:, self.logit_index]
