"""A graph of two parts becomes one switch: each side runs alone, and only where it is asked for."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from mailroom.models.export_halves import in_halves


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.fixture
def model() -> onnx.ModelProto:
    """doubled = a × w and shifted = (b × w)[0]: one weight for both, and a gather that fails on nothing."""
    weight = numpy_helper.from_array(np.array(2.0, dtype=np.float32), "w")
    first = numpy_helper.from_array(np.array(0, dtype=np.int64), "first")
    floats = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("a", "b", "doubled")]
    scalar = helper.make_tensor_value_info("shifted", TensorProto.FLOAT, [])
    nodes = [
        helper.make_node("Mul", ["a", "w"], ["doubled"], name="mul"),
        helper.make_node("Mul", ["b", "w"], ["product"], name="mul_b"),
        helper.make_node("Gather", ["product", "first"], ["shifted"], name="gather"),
    ]
    graph = helper.make_graph(nodes, "two", floats[:2], [floats[2], scalar], [weight, first])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    made.ir_version = 10
    return made


def test_each_half_runs_without_the_inputs_of_the_other(model: onnx.ModelProto) -> None:
    opened = session(in_halves(model, "left", ["doubled"]))
    nothing, given = np.zeros(0, dtype=np.float32), np.array([3, 4], dtype=np.float32)
    doubled, shifted = opened.run(None, {"left": np.array(True), "a": given, "b": nothing})
    assert doubled.tolist() == [6, 8]
    assert shifted.shape == ()
    doubled, shifted = opened.run(None, {"left": np.array(False), "a": nothing, "b": given})
    assert doubled.shape == (0,)
    assert float(shifted) == 6


def test_weights_are_kept_once_and_outside(model: onnx.ModelProto) -> None:
    made = in_halves(model, "left", ["doubled"])
    assert [tensor.name for tensor in made.graph.initializer] == ["w", "first"]
    branches = {item.name: item.g for item in made.graph.node[0].attribute}
    assert [len(branches[name].initializer) for name in ("then_branch", "else_branch")] == [0, 0]
    # The half that is not asked for is not there at all, so it cannot run.
    assert "Gather" not in {node.op_type for node in branches["then_branch"].node}
