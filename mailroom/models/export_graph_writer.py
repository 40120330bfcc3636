"""Nodes and constants of an ONNX graph, written op by op without torch; knows nothing of models."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]


class GraphWriter:
    """Collects nodes and constants; every method returns the name of the value that it made."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._names: dict[tuple[str, bytes], str] = {}

    def add(self, op: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> str:
        """One node with one output."""
        return self.add_many(op, *inputs, outputs=outputs, domain=domain, **attributes)[0]

    def add_many(self, op: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        """One node with several outputs."""
        index = len(self.nodes)
        names = [f"{op}_{index}_{i}" for i in range(outputs)]
        self.nodes.append(
            helper.make_node(op, list(inputs), names, name=f"{op}_{index}", domain=domain, **attributes)
        )
        return names

    def constant(self, value: Array, name: str | None = None) -> str:
        """A constant; small ones of equal content are stored once."""
        array = np.ascontiguousarray(value).reshape(value.shape)
        key = (f"{array.dtype}{array.shape}", array.tobytes() if array.size < 16 else b"")
        if name is None and array.size < 16 and key in self._names:
            return self._names[key]
        name = name or f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        self._names[key] = name
        return name

    def integers(self, *values: int) -> str:
        """A vector of int64."""
        return self.constant(np.array(values, dtype=np.int64))

    def scalar(self, value: float) -> str:
        """One float32."""
        return self.constant(np.array(value, dtype=np.float32))
