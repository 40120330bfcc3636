"""A sentence-transformers or transformers folder ↔ a trainable encoder: token ids → unit vectors.

Whatever modules the folder has are kept, so that the trained encoder is exported as its base was.
"""

import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mailroom.errors import ModelError
from mailroom.models.encoder_config import TOKENIZER_NAME
from mailroom.models.export import quiet_loading
from mailroom.models.layout import read_layout
from mailroom.models.tokens import TextTokenizer
from mailroom.train.train_settings import TrainSettings, pick_device, pick_precision

Vectors = NDArray[np.float32]
TokenIds = tuple[int, ...]

_LAYER = re.compile(r"\.(?:layer|layers|h|block)\.(\d+)\.")


class TextEncoder(nn.Module):
    """A bi-encoder whose weights can be trained; emails and labels may have prompts of their own."""

    def __init__(self, source: Path, max_tokens: int) -> None:
        """Read the folder `source`; texts are cut at `max_tokens`, or sooner where the model ends.

        ModelError where it holds no encoder that can be exported again, or a prompt that is not pooled.
        """
        super().__init__()
        layout = read_layout(source)
        self.model = _load(source)
        prompts = self.model.prompts
        self.query_prompt = str(prompts.get("query") or "")
        passages = (prompts[name] for name in ("document", "passage", "corpus") if name in prompts)
        self.passage_prompt = str(next(passages, "") or "")
        if not layout.include_prompt and (self.query_prompt or self.passage_prompt):
            raise ModelError(f"{source}: keeps its prompt out of the pooling, which training does not know")
        self.max_tokens = int(min(max_tokens, self.model.max_seq_length or max_tokens))
        self._tokenizer = _tokenizer(self.model, self.max_tokens)
        self._padding = int(self.model.tokenizer.pad_token_id or 0)
        self.depth = 1 + max((layer_of(name) or 0 for name, _ in self.named_parameters()), default=0)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self.model.get_embedding_dimension())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def email_ids(self, text: str) -> TokenIds:
        """Token ids of an email behind its prompt."""
        return tuple(self._tokenizer.ids(self.query_prompt + text).tolist())

    def label_ids(self, text: str) -> TokenIds:
        """Token ids of a label's text behind its prompt."""
        return tuple(self._tokenizer.ids(self.passage_prompt + text).tolist())

    def forward(self, rows: Sequence[TokenIds]) -> Tensor:
        """Unit vectors (B, d) of B texts."""
        vectors: Tensor = self.model(self._features(rows))["sentence_embedding"]
        return functional.normalize(vectors.float(), dim=-1)

    def token_states(self, rows: Sequence[TokenIds]) -> Tensor:
        """The states (tokens, h) of all tokens of the texts, one text after the other, without padding."""
        features = self._features(rows)
        real = features["attention_mask"].bool()
        states: Tensor = self.model(features)["token_embeddings"]
        return states[real]

    def _features(self, rows: Sequence[TokenIds]) -> dict[str, Tensor]:
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), self._padding, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        return {"input_ids": ids.to(self.device), "attention_mask": mask.to(self.device)}

    @torch.no_grad()
    def encode(self, rows: Sequence[TokenIds], batch_size: int = 32) -> Vectors:
        """Unit vectors (n, d) of texts in their order, without dropout."""
        was_training = self.training
        self.eval()
        vectors = np.zeros((len(rows), self.dimension), dtype=np.float32)
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        enabled = pick_precision("auto", self.device) == "bf16"
        for start in range(0, len(order), batch_size):
            picked = order[start : start + batch_size]
            with torch.autocast(self.device.type, torch.bfloat16, enabled=enabled):
                vectors[picked] = self([rows[row] for row in picked]).cpu().numpy()
        self.train(was_training)
        return vectors

    def prepare(self, settings: TrainSettings) -> None:
        """Set dropout, and switch off what is not trained."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = settings.dropout
        for name, parameter in self.named_parameters():
            layer = layer_of(name)
            frozen = layer is not None and layer < settings.frozen_layers
            words = layer is None and "embeddings" in name and settings.freeze_embeddings
            # BERT's pooler stands behind the states that are pooled: it never has a gradient.
            parameter.requires_grad_(not (frozen or words or ".pooler." in name))

    def parameter_groups(self, settings: TrainSettings) -> Iterator[dict[str, Any]]:
        """AdamW's groups of what `prepare` left on; lower layers learn slower by `layer_decay` each."""
        for name, parameter in self.named_parameters():
            if not parameter.requires_grad:
                continue
            layer = layer_of(name)
            above = self.depth if layer is None and "embeddings" in name else 0
            above = above if layer is None else self.depth - 1 - layer
            yield {
                "params": [parameter],
                "lr": settings.learning_rate * settings.layer_decay**above,
                "weight_decay": settings.weight_decay if parameter.ndim > 1 else 0.0,
            }

    def save(self, directory: Path) -> None:
        """Write the folder in the layout of sentence-transformers, with safetensors."""
        directory.mkdir(parents=True, exist_ok=True)
        with quiet_loading():
            self.model.save(str(directory), safe_serialization=True, create_model_card=False)


def seconds_a_text(source: Path, texts: Sequence[str], max_tokens: int, threads: int) -> float:
    """What the encoder in the folder `source` takes to read one of the emails, where it would be trained."""
    torch.set_num_threads(threads)
    encoder = TextEncoder(source, max_tokens).to(pick_device("auto"))
    rows = [encoder.email_ids(text) for text in texts]
    encoder.encode(rows[:1])
    started = time.perf_counter()
    encoder.encode(rows)
    return (time.perf_counter() - started) / len(rows)


def layer_of(name: str) -> int | None:
    """The layer that a parameter belongs to, counted from the bottom; None outside the layers."""
    found = _LAYER.search(name)
    return int(found[1]) if found else None


def _load(source: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    # Written-out attention: torch's fused one is a quarter slower in training on a CPU.
    choices = {"dtype": "float32", "attn_implementation": "eager"}
    with quiet_loading():
        try:
            return SentenceTransformer(str(source), device="cpu", local_files_only=True, model_kwargs=choices)
        except Exception as exc:
            # A damaged model makes the libraries raise whatever they meet first.
            raise ModelError(
                f"{source}: expected an encoder that sentence-transformers can load, got: {exc}"
            ) from exc


def _tokenizer(model: Any, max_tokens: int) -> TextTokenizer:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / TOKENIZER_NAME
        path.write_text(model.tokenizer.backend_tokenizer.to_str(), encoding="utf-8")
        return TextTokenizer(path, max_tokens)
