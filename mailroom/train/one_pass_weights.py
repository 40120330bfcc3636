"""A one-pass cross-encoder on disk: folder ↔ OnePassModel.

`model.safetensors` names the encoder's tensors as every BERT checkpoint does, so other libraries load it
as that encoder; what is ours stands under `one_pass.` (docs/one-pass.md).
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mailroom.errors import ModelError
from mailroom.models.one_pass_config import config_from_encoder, read_config, without_prefix
from mailroom.train.one_pass_model import OnePassModel

WEIGHTS_NAME = "model.safetensors"
# What a tokenizer needs beside the weights; files that a folder does not have are left out.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "sentencepiece.bpe.model",
)
_EMBEDDINGS = {
    "word_embeddings": "embeddings.word_embeddings",
    "position_embeddings": "embeddings.position_embeddings",
    "token_type_embeddings": "embeddings.token_type_embeddings",
    "embedding_norm": "embeddings.LayerNorm",
}
_LAYER_PARTS = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}


def from_encoder(directory: Path, **choices: Any) -> OnePassModel:
    """A one-pass cross-encoder that starts as the encoder in `directory`; `choices` override its settings.

    ModelError if the folder holds no BERT-like encoder, lacks tensors or holds non-finite ones.
    """
    config = config_from_encoder(directory, **choices)
    model = OnePassModel(config)
    tensors = without_prefix(_read_tensors(directory))
    fresh = {name for name in model.state_dict() if _stored_name(name).startswith("one_pass.")}
    state = {
        name: tensors[_stored_name(name)]
        for name in model.state_dict()
        if name not in fresh and _stored_name(name) in tensors
    }
    if config.separate_candidate_tower:
        state |= {
            name.replace("layers.", "candidate_layers.", 1): t
            for name, t in state.items()
            if "layers." in name
        }
        fresh = {name for name in fresh if not name.startswith("candidate_layers.")}
    if config.readout == "linear" and model.head is not None:
        torch.nn.init.normal_(model.head.weight, std=0.02)
        torch.nn.init.zeros_(model.head.bias)
    _load(model, {**{name: model.state_dict()[name] for name in fresh}, **state}, directory)
    return model


def load_one_pass(directory: Path) -> OnePassModel:
    """The saved one-pass cross-encoder in `directory`; ModelError if it is another kind, or damaged."""
    config = read_config(directory)
    model = OnePassModel(config)
    tensors = _read_tensors(directory)
    state = {
        name: tensors[_stored_name(name)] for name in model.state_dict() if _stored_name(name) in tensors
    }
    _load(model, state, directory)
    return model


def save_one_pass(
    model: OnePassModel, directory: Path, tokenizer_from: Path, dtype: torch.dtype = torch.float32
) -> None:
    """Write weights, config and the tokenizer's files; `dtype` float16 halves the size on disk."""
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {
        _stored_name(name): tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in model.state_dict().items()
        if model.config.separate_candidate_tower or not name.startswith("candidate_layers.")
    }
    save_file(tensors, directory / WEIGHTS_NAME, metadata={"format": "pt"})
    config = json.dumps(model.config.to_json(), indent=2, ensure_ascii=False, sort_keys=True)
    (directory / "config.json").write_text(config + "\n", encoding="utf-8")
    for name in TOKENIZER_FILES:
        source = tokenizer_from / name
        if source.is_file() and source.resolve() != (directory / name).resolve():
            shutil.copyfile(source, directory / name)


def _stored_name(name: str) -> str:
    """A parameter's name in the file: BERT's for the encoder, `one_pass.…` for the rest."""
    head, _, rest = name.partition(".")
    if head in _EMBEDDINGS:
        return f"{_EMBEDDINGS[head]}.{rest}"
    if head in ("layers", "candidate_layers"):
        index, part, kind = rest.split(".")
        stored = f"encoder.layer.{index}.{_LAYER_PARTS[part]}.{kind}"
        return stored if head == "layers" else f"one_pass.candidate_{stored}"
    return f"one_pass.{name}"


def _read_tensors(directory: Path) -> dict[str, Tensor]:
    path = directory / WEIGHTS_NAME
    try:
        return {
            name: tensor.float() for name, tensor in load_file(path).items() if tensor.is_floating_point()
        }
    except FileNotFoundError as exc:
        raise ModelError(f"{directory} holds no {WEIGHTS_NAME}; only safetensors weights are read") from exc
    except (OSError, SafetensorError) as exc:
        raise ModelError(f"{path} is damaged or no safetensors file; fetch or build the model again") from exc


def _load(model: OnePassModel, state: dict[str, Tensor], directory: Path) -> None:
    expected = model.state_dict()
    if not model.config.separate_candidate_tower:
        state |= {
            name: state[name.removeprefix("candidate_")]
            for name in expected
            if name.startswith("candidate_layers.") and name.removeprefix("candidate_") in state
        }
    missing = sorted(set(expected) - set(state))
    if missing:
        raise ModelError(
            f"{directory}/{WEIGHTS_NAME} lacks {len(missing)} tensors, {_stored_name(missing[0])} first; "
            "it is another kind of model or incomplete"
        )
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            raise ModelError(
                f"{_stored_name(name)} in {directory} has shape {tuple(tensor.shape)}, config.json says "
                f"{tuple(expected[name].shape)}"
            )
        if not torch.isfinite(tensor).all() and name != "gate":
            raise ModelError(
                f"{_stored_name(name)} in {directory} has non-finite numbers; the weights are unusable"
            )
    if torch.isnan(state["gate"]).any():
        raise ModelError(f"one_pass.gate in {directory} has non-finite numbers; the weights are unusable")
    model.load_state_dict(state)
