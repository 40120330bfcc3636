"""An ONNX file → a session that runs one sequence at a time; the only module that opens ONNX Runtime.

It knows nothing of tokens, pooling or labels.
"""

from pathlib import Path
from typing import Any, Literal

import onnxruntime

from mailroom.errors import ModelError

Precision = Literal["fp32", "int8"]

# Errors only: ONNX Runtime would write its warnings about a graph to stderr, over the progress bar.
_LOG_SEVERITY_ERROR = 3
# Fused, residual + LayerNorm runs in a kernel without vector instructions: measured 13 × 0.45 ms against
# 13 × 0.1 ms for 256 tokens of 384 dimensions, a quarter of an int8 run.
_SLOWER_FUSIONS = ["SkipLayerNormFusion"]


def open_session(path: Path, intra_op_threads: int = 1) -> Any:
    """An `onnxruntime.InferenceSession` on the CPU that many threads may run at once.

    `intra_op_threads` share one run; 1 is right wherever emails run side by side. Raises ModelError
    when the file is missing, truncated or no ONNX graph.
    """
    if not path.is_file():
        raise ModelError(f"{path}: expected an ONNX graph, found no file; make the model version again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _LOG_SEVERITY_ERROR
    # A thread that spins between two emails takes its core from the thread that reads the next one.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=_SLOWER_FUSIONS
        )
    except Exception as exc:  # the runtime raises a private class for each of its error codes
        raise ModelError(
            f"{path}: expected an ONNX graph that ONNX Runtime {onnxruntime.__version__} can load, "
            f"got: {_first_line(exc)}; make the model version again"
        ) from exc


def _first_line(exc: BaseException) -> str:
    return next(iter(str(exc).splitlines()), type(exc).__name__)
