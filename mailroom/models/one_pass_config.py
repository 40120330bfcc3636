"""What a one-pass cross-encoder is made of: a model folder's JSON files → OnePassConfig, and back.

Knows names and sizes, no tensors. A folder holds the encoder's own `config.json` with one more key,
`one_pass`; everything else in it is the base encoder's and stays as it was.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from mailroom.errors import ModelError

FORMAT_VERSION = 1
ONE_PASS_KEY = "one_pass"  # noqa: S105 - a key of config.json
# These families share BERT's layer and its weight names; they differ in where positions start.
PADDED_POSITION_FAMILIES = ("roberta", "xlm-roberta", "camembert")
FAMILIES = ("bert", *PADDED_POSITION_FAMILIES)
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu")

Pooling = Literal["mean", "cls"]
Readout = Literal["cosine", "linear"]
Positions = Literal["own", "continued"]
TensorT = TypeVar("TensorT")


@dataclass(frozen=True, slots=True)
class OnePassConfig:
    """Sizes of the encoder and the choices of the one-pass reading on top of it."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    position_offset: int = 0
    pooling: Pooling = "mean"
    readout: Readout = "cosine"
    positions: Positions = "own"
    separate_candidate_tower: bool = False
    initial_gate: float = -2.0
    initial_scale: float = 20.0
    max_email_tokens: int = 256
    max_label_tokens: int = 64
    email_prompt: str = ""
    label_prompt: str = ""
    temperature: float = 1.0
    similarity_weight: float = 0.0
    encoder: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse sizes that no weights could fit; ModelError names the field."""
        if self.hidden_size % self.num_attention_heads:
            raise ModelError(
                f"hidden_size {self.hidden_size} is no multiple of {self.num_attention_heads} heads; "
                "check config.json against the weights"
            )
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ModelError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        longest = self.max_email_tokens + (self.max_label_tokens if self.positions == "continued" else 0)
        if longest + self.position_offset > self.max_position_embeddings:
            raise ModelError(
                f"{longest} positions were asked for, the encoder has "
                f"{self.max_position_embeddings - self.position_offset}; lower max_email_tokens"
            )

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    def to_json(self) -> dict[str, Any]:
        """The content of config.json: the encoder's own keys, and ours under `one_pass`."""
        ours = {name: value for name, value in asdict(self).items() if name in _OWN_FIELDS}
        return {**self.encoder, ONE_PASS_KEY: {"format": FORMAT_VERSION, **ours}}


_CHOICES: dict[str, tuple[str, ...]] = {
    "pooling": ("mean", "cls"),
    "readout": ("cosine", "linear"),
    "positions": ("own", "continued"),
    "hidden_act": ACTIVATIONS,
}
_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
)
_OPTIONAL_SIZES = ("type_vocab_size", "layer_norm_eps", "hidden_act")
_OWN_FIELDS = frozenset(
    f.name
    for f in fields(OnePassConfig)
    if f.name not in (*_SIZES, *_OPTIONAL_SIZES, "encoder", "position_offset")
)


_LENGTHS = (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length"))


def read_json(path: Path) -> dict[str, Any]:
    """One JSON object from a file; ModelError where it is missing or no object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ModelError(f"{path.parent} holds no {path.name}; is it a model folder?") from exc
    except (OSError, ValueError) as exc:
        raise ModelError(f"{path} cannot be read as JSON; fetch or build the model again") from exc
    if not isinstance(content, dict):
        raise ModelError(f"{path} should hold a JSON object, it holds a {type(content).__name__}")
    return content


def without_prefix(tensors: Mapping[str, TensorT]) -> dict[str, TensorT]:
    """Tensors without what a family's own class puts before their names (`bert.`, `roberta.`, `model.`)."""
    marker = "embeddings.word_embeddings.weight"
    prefix = next((name[: -len(marker)] for name in tensors if name.endswith(marker)), "")
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def read_config(directory: Path) -> OnePassConfig:
    """The configuration of a saved one-pass cross-encoder; ModelError if it is another kind of model."""
    content = read_json(directory / "config.json")
    ours = content.pop(ONE_PASS_KEY, None)
    if not isinstance(ours, dict):
        raise ModelError(
            f"{directory} is no one-pass cross-encoder: its config.json has no '{ONE_PASS_KEY}' entry. "
            "Start one from this encoder by training, or name it as a bi-encoder"
        )
    if ours.get("format") != FORMAT_VERSION:
        raise ModelError(
            f"{directory} has format {ours.get('format')!r}, this version reads {FORMAT_VERSION}; "
            "upgrade mailroom"
        )
    unknown = sorted(set(ours) - _OWN_FIELDS - {"format"})
    if unknown:
        raise ModelError(f"{directory}/config.json has unknown one_pass keys: {', '.join(unknown)}")
    return _build(content, directory, {name: ours[name] for name in ours if name != "format"})


def config_from_encoder(directory: Path, **choices: Any) -> OnePassConfig:
    """The configuration of a one-pass cross-encoder that starts from a plain encoder's folder.

    Pooling, length and prompts come from the sentence-transformers files where they exist; `choices`
    override any field. ModelError for a family that is not laid out like BERT.
    """
    content = read_json(directory / "config.json")
    content.pop(ONE_PASS_KEY, None)
    own = {**_sentence_transformers_choices(directory, content), **choices}
    return _build(content, directory, own)


def _build(encoder: dict[str, Any], directory: Path, own: dict[str, Any]) -> OnePassConfig:
    family = encoder.get("model_type")
    if family not in FAMILIES:
        raise ModelError(f"{directory} holds a {family!r} model, these can start one: {', '.join(FAMILIES)}")
    missing = [name for name in _SIZES if not isinstance(encoder.get(name), int)]
    if missing:
        raise ModelError(f"{directory}/config.json lacks {', '.join(missing)}; it is no complete encoder")
    sizes = {name: encoder[name] for name in (*_SIZES, *_OPTIONAL_SIZES) if name in encoder}
    return OnePassConfig(**sizes, position_offset=_position_offset(encoder), encoder=encoder, **own)


def _position_offset(encoder: dict[str, Any]) -> int:
    """Rows of the position table before the first position; RoBERTa counts from behind the padding id."""
    padded = encoder.get("model_type") in PADDED_POSITION_FAMILIES
    return int(encoder.get("pad_token_id") or 0) + 1 if padded else 0


def _sentence_transformers_choices(directory: Path, encoder: dict[str, Any]) -> dict[str, Any]:
    choices: dict[str, Any] = {}
    pooling_path = directory / "1_Pooling" / "config.json"
    if pooling_path.is_file():
        pooling = read_json(pooling_path)
        mode = "cls" if pooling.get("pooling_mode_cls_token") else pooling.get("pooling_mode", "mean")
        choices["pooling"] = mode
    limit = int(encoder.get("max_position_embeddings", 512)) - _position_offset(encoder)
    # Older sentence-transformers wrote the length beside the model, newer ones leave it to the tokenizer.
    for name, key in _LENGTHS:
        path = directory / name
        if path.is_file():
            limit = min(limit, int(read_json(path).get(key) or limit))
    choices["max_email_tokens"] = min(256, limit)
    choices["max_label_tokens"] = min(64, limit)
    prompts_path = directory / "config_sentence_transformers.json"
    prompts = read_json(prompts_path).get("prompts") if prompts_path.is_file() else None
    if isinstance(prompts, dict):
        choices["email_prompt"] = str(prompts.get("query", ""))
        choices["label_prompt"] = str(prompts.get("passage", prompts.get("document", "")))
    return choices
