"""encoder.json ↔ frozen records: what serving must know about an exported encoder beside its graph."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mailroom.errors import ModelError

CONFIG_NAME = "encoder.json"
TOKENIZER_NAME = "tokenizer.json"
WEIGHTS_NAME = "weights"
GRAPH_NAMES = {"fp32": "model.fp32.onnx", "int8": "model.int8.onnx"}
CONFIG_FORMAT = 1
# A kind of cross-encoder, and its name in `models.cross_encoder`: no model, but the bi-encoder's own tokens.
LATE_INTERACTION = "late-interaction"


@dataclass(frozen=True, slots=True)
class BiEncoderConfig:
    """How a text becomes the input of a bi-encoder's graph.

    `include_prompt` false means that the prompt is read but not pooled (INSTRUCTOR); the graph then
    takes `first_pooled`, the position of the first pooled token, as a second input.
    """

    dimension: int
    max_tokens: int
    pooling: str
    normalized: bool
    query_prompt: str = ""
    passage_prompt: str = ""
    query_prompt_tokens: int = 0
    passage_prompt_tokens: int = 0
    include_prompt: bool = True
    kind: str = "bi-encoder"


@dataclass(frozen=True, slots=True)
class PairwiseConfig:
    """How an email and a label become the input of a pairwise cross-encoder, and which logit is the score.

    `template` makes the second text out of a label (`{label}` is replaced).
    """

    max_tokens: int
    logit_index: int
    template: str = "{label}"
    kind: str = "pairwise"


@dataclass(frozen=True, slots=True)
class LateInteractionConfig:
    """How texts are read for late interaction, and what turns it into a score.

    A score is `weight` × late interaction; candidates are ranked by score + the bi-encoder's cosine, and
    `temperature` divides that sum before the softmax over the candidates.
    """

    max_email_tokens: int
    max_label_tokens: int
    weight: float
    temperature: float
    email_prompt: str = ""
    label_prompt: str = ""
    kind: str = LATE_INTERACTION


ConfigT = TypeVar("ConfigT", BiEncoderConfig, PairwiseConfig, LateInteractionConfig)


def write_config(directory: Path, config: BiEncoderConfig | PairwiseConfig | LateInteractionConfig) -> None:
    """Write encoder.json into `directory`."""
    content = {"format": CONFIG_FORMAT, **dataclasses.asdict(config)}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (directory / CONFIG_NAME).write_text(text, encoding="utf-8")


def read_config_fields(directory: Path) -> dict[str, Any]:
    """The raw fields of encoder.json; ModelError when it is missing, no JSON, or of a newer format."""
    path = directory / CONFIG_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ModelError(f"{path}: expected an exported encoder, found no file") from exc
    except (OSError, ValueError) as exc:
        raise ModelError(f"{path}: expected JSON, got: {exc}") from exc
    found = content.get("format") if isinstance(content, dict) else None
    if found != CONFIG_FORMAT:
        raise ModelError(
            f"{path}: expected format {CONFIG_FORMAT}, got {found!r}; export the encoder with this mailroom"
        )
    del content["format"]
    return dict(content)


def read_config(directory: Path, cls: type[ConfigT]) -> ConfigT:
    """encoder.json of `directory` as `cls`; ModelError when it belongs to another kind or lacks a field."""
    fields = read_config_fields(directory)
    expected = next(item.default for item in dataclasses.fields(cls) if item.name == "kind")
    if fields.get("kind") != expected:
        raise ModelError(f"{directory / CONFIG_NAME}: expected kind {expected!r}, got {fields.get('kind')!r}")
    try:
        return cls(**fields)
    except TypeError as exc:
        raise ModelError(f"{directory / CONFIG_NAME}: expected the fields of {expected}, got: {exc}") from exc
