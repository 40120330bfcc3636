"""torch module → ONNX graph in fp32 and int8; imported by `export` alone, since it needs torch.

It knows nothing of tokenizers or of sentence-transformers.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

# Gelu became an operator in 20: below it is five nodes, which ONNX Runtime fuses less often.
OPSET = 20
ATTENTION = "mailroom_fused"


def trace_graph(
    module: torch.nn.Module, example: Mapping[str, torch.Tensor], output: str, max_tokens: int, path: Path
) -> None:
    """Write `module` as an ONNX graph whose inputs are `example`'s keys, batch 1, any number of tokens."""
    tokens = torch.export.Dim("tokens", min=2, max=max_tokens)
    shapes = {name: {1: tokens} if tensor.ndim == 2 else None for name, tensor in example.items()}
    with _quiet(), torch.no_grad():
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


def fuse_graph(source: Path, target: Path) -> None:
    """Write the graph as ONNX Runtime rewrites it for every CPU, so that loading need not do it again."""
    options = onnxruntime.SessionOptions()
    # One level higher would choose memory layouts for the CPU of this machine.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


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


AttentionInterface.register(ATTENTION, _fused_attention)
AttentionMaskInterface.register(ATTENTION, lambda *_args, **_kwargs: None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's exporter and the quantiser from writing about their own internals."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "root", "")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, message=".*isinstance.treespec")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
