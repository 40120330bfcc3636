"""The one-pass cross-encoder in torch: token ids of an email and of its candidates → one logit a candidate.

The email is read once. Its tokens attend to the email alone; a candidate's tokens attend to that
candidate and, through a learned bias per layer and head (the gate), to the email. So a score depends on
the email and on that candidate, never on the others, and the cost is about one more reading of the email.

Shapes: B emails, T email tokens, N tokens of all candidates of an email one after the other,
K candidates, H heads, D hidden size, d head size.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mailroom.models.one_pass_config import OnePassConfig


@dataclass(slots=True)
class Batch:
    """Token ids of B emails and of their candidates; rows are padded at the end.

    `email_ids` (B, T) and `email_lengths` (B,); `label_ids` (B, N) holds the candidates' tokens one after
    the other, `label_lengths` (B, K) how many each has, 0 for a candidate that is absent.
    """

    email_ids: Tensor
    email_lengths: Tensor
    label_ids: Tensor
    label_lengths: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return Batch(
            self.email_ids.to(device),
            self.email_lengths.to(device),
            self.label_ids.to(device),
            self.label_lengths.to(device),
        )


@dataclass(slots=True)
class EmailStates:
    """What the candidates need of an email: pooled (B, D), keys and values per layer (B, H, T, d)."""

    pooled: Tensor
    keys: list[Tensor]
    values: list[Tensor]
    lengths: Tensor
    mask: Tensor


class Layer(nn.Module):
    """One post-norm transformer layer as BERT has it, in parts, so that keys can come from elsewhere."""

    def __init__(self, config: OnePassConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.heads, self.head_size = config.num_attention_heads, config.head_size
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.attention_output = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.intermediate = nn.Linear(width, inner)
        self.output = nn.Linear(inner, width)
        self.output_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.activation = config.hidden_act
        self.dropout = nn.Dropout(0.0)

    def project(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (scaled), keys and values of the states, each (B, H, tokens, d)."""
        query, key, value = (self._heads(part(states)) for part in (self.query, self.key, self.value))
        return query * self.head_size**-0.5, key, value

    def finish(self, states: Tensor, context: Tensor) -> Tensor:
        """The layer's output (B, tokens, D) from its input and the attention's context (B, H, tokens, d)."""
        merged = context.transpose(1, 2).flatten(2)
        states = self.attention_norm(states + self.dropout(self.attention_output(merged)))
        inner = _activate(self.intermediate(states), self.activation)
        return _tensor(self.output_norm(states + self.dropout(self.output(inner))))

    def _heads(self, states: Tensor) -> Tensor:
        return states.view(*states.shape[:2], self.heads, self.head_size).transpose(1, 2)


class OnePassModel(nn.Module):
    """The encoder's weights, the gate (layers, heads), and the read-out."""

    def __init__(self, config: OnePassConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, width)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.embedding_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.candidate_layers = (
            nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
            if config.separate_candidate_tower
            else self.layers
        )
        self.gate = nn.Parameter(
            torch.full((config.num_hidden_layers, config.num_attention_heads), config.initial_gate)
        )
        self.log_scale = nn.Parameter(torch.tensor(math.log(config.initial_scale)))
        self.head = nn.Linear(width, 1) if config.readout == "linear" else None
        self.dropout = nn.Dropout(0.0)

    def set_dropout(self, probability: float) -> None:
        """Set the dropout of the embeddings and of every layer, 0…1; it acts in training only."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = probability

    def forward(self, batch: Batch) -> Tensor:
        """Logits (B, K), −inf for a candidate that is absent."""
        email = self.encode_email(batch.email_ids, batch.email_lengths)
        scores = self.score_candidates(email, batch.label_ids, batch.label_lengths)
        return scores.masked_fill(batch.label_lengths == 0, float("-inf"))

    def encode_email(self, ids: Tensor, lengths: Tensor) -> EmailStates:
        """Read the emails, ids (B, T) with lengths (B,): exactly what the bi-encoder computes."""
        places = torch.arange(ids.shape[1], device=ids.device)
        mask = places[None, :] < lengths[:, None]  # (B, T)
        closed = ~mask[:, None, None, :]  # (B, 1, 1, T)
        states = self._embed(ids, places.expand_as(ids))
        keys, values = [], []
        for layer in _layers(self.layers):
            query, key, value = layer.project(states)
            logits = query @ key.transpose(-1, -2)  # (B, H, T, T)
            logits = logits.masked_fill(closed, torch.finfo(logits.dtype).min)
            weights = functional.softmax(logits, dim=-1).to(value.dtype)
            states = layer.finish(states, weights @ value)
            keys.append(key)
            values.append(value)
        pooled = self._pool(states, mask[:, None, :])[:, 0]
        return EmailStates(pooled, keys, values, lengths, mask)

    def score_candidates(self, email: EmailStates, ids: Tensor, lengths: Tensor) -> Tensor:
        """Logits (B, K) of the candidates ids (B, N), lengths (B, K), given the emails' states."""
        ends = lengths.cumsum(dim=1)
        starts = ends - lengths
        places = torch.arange(ids.shape[1], device=ids.device)[None, None, :]
        member = (places >= starts[:, :, None]) & (places < ends[:, :, None])  # (B, K, N)
        membership = member.to(self.gate.dtype)
        own = membership.transpose(1, 2) @ membership  # (B, N, N), 1 within a candidate
        offset = (membership * starts[:, :, None]).sum(dim=1)  # (B, N), the candidate's first place
        positions = (places[:, 0] - offset.long()).clamp(0, self.config.max_label_tokens - 1)
        if self.config.positions == "continued":
            positions = positions + email.lengths[:, None]
        # A padding token would attend to nothing: letting it attend to itself keeps its softmax finite.
        own = own + torch.eye(ids.shape[1], dtype=own.dtype, device=own.device)
        states = self._read_candidates(email, self._embed(ids, positions), own > 0.5)
        return self._read_out(email.pooled, self._pool(states, member))

    def _read_candidates(self, email: EmailStates, states: Tensor, own: Tensor) -> Tensor:
        dtype = email.keys[0].dtype
        closed_email = _closed(email.mask[:, None, None, :], dtype)  # (B, 1, 1, T)
        closed_own = _closed(own[:, None], dtype)  # (B, 1, N, N)
        tokens = email.mask.shape[1]
        for index, layer in enumerate(_layers(self.candidate_layers)):
            query, key, value = layer.project(states)
            gate = self.gate[index][None, :, None, None].to(dtype)
            to_email = query @ email.keys[index].transpose(-1, -2) + (gate + closed_email)  # (B, H, N, T)
            to_own = query @ key.transpose(-1, -2) + closed_own  # (B, H, N, N)
            weights = functional.softmax(torch.cat([to_email, to_own], dim=-1), dim=-1).to(dtype)
            context = weights[..., :tokens] @ email.values[index] + weights[..., tokens:] @ value
            states = layer.finish(states, context)
        return states

    def _embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        words = self.word_embeddings(ids) + self.token_type_embeddings.weight[0]
        places = self.position_embeddings(positions + self.config.position_offset)
        return _tensor(self.dropout(self.embedding_norm(words + places)))

    def _pool(self, states: Tensor, member: Tensor) -> Tensor:
        """States (B, tokens, D) by member (B, K, tokens) → (B, K, D): the mean, or the first token."""
        weight = member.to(torch.float32)
        if self.config.pooling == "cls":
            weight = weight * (weight.cumsum(dim=-1) < 1.5)
        total = weight.sum(dim=-1, keepdim=True).clamp_min(1.0)
        return (weight / total) @ states.float()

    def _read_out(self, email: Tensor, candidates: Tensor) -> Tensor:
        if self.head is not None:
            return _tensor(self.head(candidates)).squeeze(-1)
        cosine = (
            functional.normalize(candidates, dim=-1) @ functional.normalize(email, dim=-1)[:, :, None]
        )  # (B, K, 1)
        return self.log_scale.exp() * cosine.squeeze(-1)


def _closed(open_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where attention may pass, else half the lowest number, so that a gate on top cannot overflow."""
    return (~open_mask).to(dtype) * (torch.finfo(dtype).min / 2)


def _activate(states: Tensor, name: str) -> Tensor:
    if name == "relu":
        return functional.relu(states)
    return functional.gelu(states, approximate="none" if name == "gelu" else "tanh")


def _layers(layers: nn.Module) -> list[Layer]:
    return [layer for layer in layers.children() if isinstance(layer, Layer)]


def _tensor(value: object) -> Tensor:
    """What a module call returns, typed: torch leaves it open."""
    if not isinstance(value, Tensor):
        raise TypeError(f"a module returned {type(value).__name__}, expected a Tensor")
    return value
