"""Encoders of a few thousand weights, made on the spot in the layout of transformers."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

WORDS = [
    "card", "arrival", "lost", "stolen", "refund", "order", "cancel", "the", "my", "is", "where", "parcel",
    "invoice", "payment", "change", "address", "delivery", "account", "closed", "open", "please", "help",
]  # fmt: skip
SPECIALS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]


def write_tokenizer(directory: Path) -> None:
    """A word-level tokenizer with [CLS] and [SEP] around each text."""
    vocabulary = {word: index for index, word in enumerate([*SPECIALS, *WORDS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(directory / "tokenizer.json"))


def make_encoder(directory: Path, family: str = "bert", seed: int = 0, **sizes: Any) -> Path:
    """Save a random `bert`, `roberta` or `distilbert` encoder with its tokenizer; return the folder."""
    from transformers import (
        BertConfig,
        BertModel,
        DistilBertConfig,
        DistilBertModel,
        RobertaConfig,
        RobertaModel,
    )

    kinds: dict[str, Any] = {
        "bert": (BertConfig, BertModel),
        "roberta": (RobertaConfig, RobertaModel),
        "distilbert": (DistilBertConfig, DistilBertModel),
    }
    config_class, model_class = kinds[family]
    defaults = {
        "vocab_size": len(SPECIALS) + len(WORDS),
        "hidden_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 40,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
        "initializer_range": 0.4,
    }
    torch.manual_seed(seed)
    model = model_class(config_class(**{**defaults, **sizes}))
    model.save_pretrained(directory)
    write_tokenizer(directory)
    return directory
