"""torch module → ONNX graph in fp32 and int8; imported inside functions of `export`, since it needs torch.

It knows nothing of tokenizers or of sentence-transformers.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from mailroom.errors import ModelError

# Gelu became an operator in 20: below, it is five nodes that ONNX Runtime does not find again.
OPSET = 20
# Every token of these families attends to every other, so that attention without a mask is one operator.
_UNMASKED_FAMILIES = {
    "bert",
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
    "camembert",
    "electra",
    "distilbert",
}
_FUSED = "mailroom_fused"


def trace_graph(
    module: torch.nn.Module, example: Mapping[str, torch.Tensor], output: str, max_tokens: int, path: Path
) -> None:
    """Write `module` as an ONNX graph whose inputs are `example`'s keys, batch 1, any number of tokens."""
    tokens = torch.export.Dim("tokens", min=2, max=max_tokens)
    shapes = {name: {1: tokens} if tensor.ndim == 2 else None for name, tensor in example.items()}
    with _quiet(), torch.no_grad():
        try:
            torch.onnx.export(
                module.eval(),
                kwargs=dict(example),
                f=path,
                dynamo=True,
                input_names=list(example),
                output_names=[output],
                dynamic_shapes=shapes,
                external_data=False,
                opset_version=OPSET,
                verbose=False,
            )
        except Exception as exc:
            # The exporter passes on whatever an architecture's code raises under tracing.
            reason = str(exc.__cause__ or exc).strip().splitlines()
            raise ModelError(
                f"{path}: this architecture cannot be exported to ONNX: {type(exc).__name__}: "
                f"{reason[0] if reason else 'no reason given'}; take another base model"
            ) from exc


def choose_attention(transformer: Any) -> None:
    """Let a transformers model attend in the form that exports best; it cannot be run by torch afterwards."""
    unmasked = transformer.config.model_type in _UNMASKED_FAMILIES
    # A model with attention of its own (MPNet) knows one form only, and keeps it.
    with contextlib.suppress(ValueError):
        transformer.set_attn_implementation(_FUSED if unmasked else "eager")


def quantize_graph(source: Path, target: Path) -> None:
    """Write the int8 form of an fp32 graph: weights once, activations at each run (dynamic quantisation).

    Weights are signed with a scale per output channel, and keep to 7 bits: CPUs without VNNI add pairs of
    u8 × s8 products in 16 bits, which saturates with 8-bit weights and would make scores depend on the CPU.
    """
    with _quiet():
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            extra_options={"MatMulConstBOnly": True},
        )


def _fused_attention(
    _module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: torch.Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    batch, heads, tokens, size = query.shape
    # (B, heads, n, size) → (B, n, heads × size), the form in which the operator reads them
    merged = [x.transpose(1, 2).reshape(batch, tokens, -1) for x in (query, key, value)]
    mixed = torch.onnx.ops.symbolic(
        "com.microsoft::MultiHeadAttention",
        merged,
        {"num_heads": heads, "scale": float(scaling if scaling is not None else size**-0.5)},
        dtype=query.dtype,
        shape=merged[0].shape,
        version=1,
    )
    return mixed.reshape(batch, tokens, heads, size), None


AttentionInterface.register(_FUSED, _fused_attention)
AttentionMaskInterface.register(_FUSED, lambda *_args, **_kwargs: None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's exporter and the quantiser from writing about their own internals."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, message=".*isinstance.treespec")
            # Two inputs of one length are what is meant.
            warnings.filterwarnings(
                "ignore", category=UserWarning, message=".*axis name: .* will not be used"
            )
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
