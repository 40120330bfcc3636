"""A base model's directory → an exported encoder that serving reads without torch.

    target/  encoder.json  tokenizer.json  model.fp32.onnx  model.int8.onnx  weights/

This module and `mailroom.train` are the only ones that import torch, inside functions, since importing it
takes seconds.
"""

import dataclasses
import importlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mailroom.errors import ModelError
from mailroom.models.bi_encoder import BiEncoder
from mailroom.models.cross_encoder import PairwiseCrossEncoder
from mailroom.models.encoder_config import (
    GRAPH_NAMES,
    TOKENIZER_NAME,
    WEIGHTS_NAME,
    BiEncoderConfig,
    PairwiseConfig,
    write_config,
)
from mailroom.models.export_one_pass import export_one_pass
from mailroom.models.layout import Layout, copy_weights, read_json, read_layout, require_safetensors
from mailroom.models.one_pass_config import ONE_PASS_KEY
from mailroom.models.sources import INSTALL_TRAIN

Progress = Callable[[str], None]

# Largest difference of a component between the exported fp32 graph and torch; rounding gives about 1e-6.
EXPORT_TOLERANCE = 1e-4
NLI_TEMPLATE = "This message is about {label}."
# The graph is traced with a few tokens and holds for any number of them.
_TRACED_TOKENS = 5
_PROBE_LABELS = ("delivery of a parcel", "password")
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
    model = _load(source, "SentenceTransformer")
    config = _bi_encoder_config(model, layout, query_prompt, passage_prompt)
    expected = [model.encode(probe, prompt=config.query_prompt, show_progress_bar=False) for probe in _PROBES]
    _start(target, model, config)
    say("writing the fp32 graph")
    _write_bi_encoder_graph(model, layout, config, target)
    say("writing the int8 graph")
    _write_int8(target)
    copy_weights(source, target / WEIGHTS_NAME)
    exported = BiEncoder.load(target, "fp32")
    _require_equal(target, expected, [exported.encode_query(probe) for probe in _PROBES])
    return dataclasses.asdict(config)


def export_cross_encoder(
    source: Path, target: Path, progress: Progress | None = None, *, template: str | None = None
) -> dict[str, Any]:
    """Export a cross-encoder, pairwise or one-pass, into the new directory `target`.

    For the pairwise kind `template` turns a label into the second text and holds `{label}`; the default is
    the label itself for one logit and a sentence for NLI. Returns what encoder.json holds; raises
    ModelError as above.
    """
    say = progress or (lambda _: None)
    config = read_json(source / "config.json")
    if ONE_PASS_KEY in config:
        return export_one_pass(source, target, say)
    require_safetensors(source)
    _require_head(source, config)
    labels = _head_labels(source, config)
    say("loading the cross-encoder")
    model = _load(source, "CrossEncoder")
    if len(model) != 1 or model[0].transformer_task != "sequence-classification":
        raise ModelError(f"{source}: expected a cross-encoder with a classification head, got another kind")
    pairwise = _pairwise_config(source, model, labels, template)
    expected = _torch_scores(model, pairwise)
    _start(target, model, pairwise)
    say("writing the fp32 graph")
    _write_pairwise_graph(model, pairwise, target)
    say("writing the int8 graph")
    _write_int8(target)
    copy_weights(source, target / WEIGHTS_NAME)
    exported = PairwiseCrossEncoder.load(target, "fp32")
    _require_equal(target, expected, [exported.score(probe, _PROBE_LABELS) for probe in _PROBES])
    return dataclasses.asdict(pairwise)


def _require_head(source: Path, config: dict[str, Any]) -> None:
    names = [str(name) for name in config.get("architectures") or []]
    if names and not any(name.endswith("ForSequenceClassification") for name in names):
        raise ModelError(
            f"{source}: expected a cross-encoder with a classification head, got {', '.join(names)}; name it "
            "as the bi-encoder, or start a one-pass cross-encoder from it by training"
        )


def _head_labels(source: Path, config: dict[str, Any]) -> list[str]:
    """Names of the logits in their order; sentence-transformers and transformers both write `id2label`."""
    names = config.get("id2label") or {}
    if names:
        return [str(names[key]) for key in sorted(names, key=int)]
    count = config.get("num_labels", 2)
    if count == 1:
        return ["LABEL_0"]
    raise ModelError(
        f"{source / 'config.json'}: expected id2label, which names the {count} logits; found none"
    )


def _pairwise_config(source: Path, model: Any, labels: list[str], template: str | None) -> PairwiseConfig:
    if template is not None and "{label}" not in template:
        raise ModelError(f"expected a template that holds {{label}}, got {template!r}")
    index = _logit_index(source, labels)
    default = "{label}" if len(labels) == 1 else NLI_TEMPLATE
    return PairwiseConfig(
        max_tokens=_max_tokens(model.tokenizer, model[0].auto_model.config),
        logit_index=index,
        template=template or default,
    )


def _logit_index(source: Path, labels: list[str]) -> int:
    if len(labels) == 1:
        return 0
    names = [label.strip().lower() for label in labels]
    if names.count("entailment") != 1:
        raise ModelError(
            f"{source}: expected one logit, or an NLI head with a logit named entailment; "
            f"got the logits {', '.join(labels)}"
        )
    return names.index("entailment")


def _torch_scores(model: Any, config: PairwiseConfig) -> list[Any]:
    import torch

    hypotheses = [config.template.replace("{label}", label) for label in _PROBE_LABELS]
    scores = []
    for probe in _PROBES:
        pairs = [(probe, hypothesis) for hypothesis in hypotheses]
        logits = model.predict(
            pairs, prompt="", activation_fn=torch.nn.Identity(), apply_softmax=False, show_progress_bar=False
        )
        scores.append(logits.reshape(len(pairs), -1)[:, config.logit_index])
    return scores


def _write_pairwise_graph(model: Any, config: PairwiseConfig, target: Path) -> None:
    from mailroom.models.export_graph import choose_attention, trace_graph
    from mailroom.models.export_modules import PairScorer

    transformer = model[0].auto_model
    choose_attention(transformer)
    encoded = model.tokenizer("a few", "words", return_tensors="pt")
    names = ("input_ids", "token_type_ids")
    example = {name: encoded[name][:, :_TRACED_TOKENS] for name in names if name in encoded}
    scorer = PairScorer(transformer, config.logit_index)
    trace_graph(scorer, example, "score", config.max_tokens, target / GRAPH_NAMES["fp32"])


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

    from mailroom.models.export_graph import choose_attention, trace_graph
    from mailroom.models.export_modules import PooledEncoder

    choose_attention(model[0].auto_model)
    module = PooledEncoder(model[0].auto_model, layout.pooling, list(model)[2:])
    ids = model.tokenizer("a few words", return_tensors="pt")["input_ids"]
    example = {"input_ids": ids[:, :_TRACED_TOKENS]}
    if not config.include_prompt:
        example["first_pooled"] = torch.tensor([1])
    trace_graph(module, example, "vector", config.max_tokens, target / GRAPH_NAMES["fp32"])


def _start(target: Path, model: Any, config: BiEncoderConfig | PairwiseConfig) -> None:
    try:
        target.mkdir(parents=True)
        text = model.tokenizer.backend_tokenizer.to_str(pretty=True)
        (target / TOKENIZER_NAME).write_text(text, encoding="utf-8")
        write_config(target, config)
    except OSError as exc:
        raise ModelError(f"{target}: the encoder cannot be written here: {exc.strerror}") from exc


def _write_int8(target: Path) -> None:
    from mailroom.models.export_graph import quantize_graph

    quantize_graph(target / GRAPH_NAMES["fp32"], target / GRAPH_NAMES["int8"])


def _require_equal(target: Path, expected: list[Any], exported: list[Any]) -> None:
    difference = max(float(np.abs(a - b).max()) for a, b in zip(expected, exported, strict=True))
    if not difference <= EXPORT_TOLERANCE:
        raise ModelError(
            f"{target}: the exported graph differs from the base model by {difference:.1e}, expected at "
            f"most {EXPORT_TOLERANCE:.0e}; this architecture cannot be exported"
        )


def _load(source: Path, kind: str) -> Any:
    try:
        for name in ("onnx", "onnxscript", "sentence_transformers"):
            module = importlib.import_module(name)
    except ImportError as exc:
        raise ModelError(f"exporting a base model needs {exc.name or exc}; {INSTALL_TRAIN}") from exc
    with quiet_loading():
        try:
            model = getattr(module, kind)(
                str(source), device="cpu", local_files_only=True, model_kwargs={"dtype": "float32"}
            )
        except Exception as exc:
            # A damaged model makes the libraries raise whatever they meet first.
            raise ModelError(
                f"{source}: expected a model that sentence-transformers can load, got: {exc}"
            ) from exc
    return model.eval()


@contextmanager
def quiet_loading() -> Iterator[None]:
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
