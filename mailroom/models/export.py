"""A base model's directory → an exported encoder that serving reads without torch.

    target/  encoder.json  tokenizer.json  model.fp32.onnx  model.int8.onnx  weights/

This module and `mailroom.train` are the only ones that import torch, inside functions, since importing it
takes seconds.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mailroom.errors import ModelError
from mailroom.models.bi_encoder import BiEncoder
from mailroom.models.encoder_config import (
    GRAPH_NAMES,
    TOKENIZER_NAME,
    WEIGHTS_NAME,
    BiEncoderConfig,
    write_config,
)
from mailroom.models.layout import Layout, copy_weights, read_layout
from mailroom.models.sources import INSTALL_TRAIN

Progress = Callable[[str], None]

# Largest difference of a component between the exported fp32 graph and torch; rounding gives about 1e-6.
EXPORT_TOLERANCE = 1e-4
_PROBES = ("hello", "Where is my parcel?\nI ordered two weeks ago and nothing has come.", "ok " * 400)
# Limit where neither the tokenizer nor the configuration names one.
_DEFAULT_MAX_TOKENS = 512


def export_bi_encoder(
    source: Path,
    target: Path,
    progress: Progress | None = None,
    *,
    query_prompt: str | None = None,
    passage_prompt: str | None = None,
) -> dict[str, Any]:
    """Export a sentence-transformers or transformers directory into the new directory `target`.

    Prompts given here replace those of the model. Returns what encoder.json holds. Raises ModelError
    when the layout is not supported, the weights are no safetensors, or the graph differs from torch.
    """
    say = progress or (lambda _: None)
    layout = read_layout(source)
    say("loading the bi-encoder")
    model = _load_sentence_transformer(source)
    config = _bi_encoder_config(model, layout, query_prompt, passage_prompt)
    target.mkdir(parents=True)
    model.tokenizer.backend_tokenizer.save(str(target / TOKENIZER_NAME))
    write_config(target, config)
    say("writing the fp32 graph")
    _write_bi_encoder_graph(model, layout, config, target)
    say("writing the int8 graph")
    _write_int8(target)
    copy_weights(source, target / WEIGHTS_NAME)
    _check_bi_encoder(model, config, target)
    return {"dimension": config.dimension, "max_tokens": config.max_tokens, "pooling": config.pooling}


def _bi_encoder_config(
    model: Any, layout: Layout, query_prompt: str | None, passage_prompt: str | None
) -> BiEncoderConfig:
    query = query_prompt if query_prompt is not None else _prompt(model, ("query",))
    passage = (
        passage_prompt if passage_prompt is not None else _prompt(model, ("document", "passage", "corpus"))
    )
    return BiEncoderConfig(
        dimension=model.get_embedding_dimension(),
        max_tokens=_max_tokens(model.tokenizer, model[0].auto_model.config),
        pooling=layout.pooling,
        normalized="Normalize" in layout.after_pooling,
        query_prompt=query,
        passage_prompt=passage,
        include_prompt=layout.include_prompt,
        query_prompt_tokens=_prompt_tokens(model, query),
        passage_prompt_tokens=_prompt_tokens(model, passage),
    )


def _prompt(model: Any, names: tuple[str, ...]) -> str:
    """The prompt of the first name that the model knows, else its default, as sentence-transformers does."""
    for name in names:
        if name in model.prompts:
            return model.prompts[name] or ""
    return model.prompts.get(model.default_prompt_name) or ""


def _prompt_tokens(model: Any, prompt: str) -> int:
    if not prompt:
        return 0
    ids = model.tokenizer(prompt)["input_ids"]
    return len(ids) - (ids[-1] in model.tokenizer.all_special_ids)


def _max_tokens(tokenizer: Any, config: Any) -> int:
    positions = getattr(config, "max_position_embeddings", None) or _DEFAULT_MAX_TOKENS
    # RoBERTa counts positions from behind the padding index, so that fewer are free than the table has rows.
    if config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet", "xlm-roberta-xl"):
        positions -= (config.pad_token_id or 0) + 1
    return int(min(tokenizer.model_max_length, positions))


def _write_bi_encoder_graph(model: Any, layout: Layout, config: BiEncoderConfig, target: Path) -> None:
    import torch

    from mailroom.models.export_graph import trace_graph
    from mailroom.models.export_modules import PooledEncoder

    module = PooledEncoder(model[0].auto_model, layout.pooling, list(model)[2:])
    ids = torch.tensor([model.tokenizer("a few words of text")["input_ids"]])
    example = {"input_ids": ids}
    if not config.include_prompt:
        example["first_pooled"] = torch.tensor([1])
    trace_graph(module, example, "vector", config.max_tokens, target / GRAPH_NAMES["fp32"])


def _write_int8(target: Path) -> None:
    from mailroom.models.export_graph import quantize_graph

    quantize_graph(target / GRAPH_NAMES["fp32"], target / GRAPH_NAMES["int8"])


def _check_bi_encoder(model: Any, config: BiEncoderConfig, target: Path) -> None:
    exported = BiEncoder.load(target, "fp32")
    for probe in _PROBES:
        expected = model.encode(probe, prompt=config.query_prompt, show_progress_bar=False)
        difference = float(np.abs(exported.encode_query(probe) - expected).max())
        if not difference <= EXPORT_TOLERANCE:
            raise ModelError(
                f"{target}: the exported graph differs from the base model by {difference:.1e}, expected at "
                f"most {EXPORT_TOLERANCE:.0e}; this architecture cannot be exported"
            )


def _load_sentence_transformer(source: Path) -> Any:
    with _quiet_loading():
        try:
            from sentence_transformers import SentenceTransformer

            model = SentenceTransformer(
                str(source), device="cpu", local_files_only=True, model_kwargs={"dtype": "float32"}
            )
        except ImportError as exc:
            raise ModelError(f"exporting a base model needs sentence-transformers; {INSTALL_TRAIN}") from exc
        except Exception as exc:  # a damaged model makes the libraries raise whatever they meet
            raise ModelError(
                f"{source}: expected a model that sentence-transformers can load, got: {exc}"
            ) from exc
    return model.eval()


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Keep the libraries' progress bars and advice off the screen while a model is loaded."""
    from transformers.utils import logging as transformers_logging

    loggers = [logging.getLogger(name) for name in ("sentence_transformers", "transformers")]
    levels = [logger.level for logger in loggers]
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            transformers_logging.enable_progress_bar()
