"""An ONNX graph whose outputs need different inputs → one `If` over its two halves, weights outside of both.

ONNX Runtime computes every node of a graph at each run, whatever outputs are asked for. Inside an `If` only
the branch that is chosen runs, and both branches see the weights that lie around them, so that a session
holds each once. It is done to a finished graph, since the quantiser does not look into branches.
"""

from collections.abc import Collection, Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_HALVES = ("then", "else")


def in_halves(model: onnx.ModelProto, switch: str, first: Collection[str]) -> onnx.ModelProto:
    """The same graph with one more input, the scalar bool `switch`.

    Where it is true a run gives the outputs named in `first`, else the others; the outputs of the half that
    did not run are empty (free sizes are 0) or zeros.
    """
    graph = model.graph
    outputs = [output.name for output in graph.output]
    asked = [name for name in outputs if name in first], [name for name in outputs if name not in first]
    then, other = (
        _branch(graph, half, names, set(outputs) - set(names))
        for half, names in zip(_HALVES, asked, strict=True)
    )
    node = helper.make_node("If", [switch], outputs, name=switch, then_branch=then, else_branch=other)
    chosen = helper.make_tensor_value_info(switch, TensorProto.BOOL, [])
    whole = helper.make_graph([node], graph.name, [*graph.input, chosen], graph.output, graph.initializer)
    made = helper.make_model(whole, opset_imports=model.opset_import, producer_name=model.producer_name)
    made.ir_version = model.ir_version
    onnx.checker.check_model(made)
    return made


def _branch(
    graph: onnx.GraphProto, half: str, names: Iterable[str], absent: Collection[str]
) -> onnx.GraphProto:
    nodes = _needed(graph, names)
    made = {output for node in nodes for output in node.output}
    copies = [_renamed(node, half, made) for node in nodes]
    outputs = []
    for output in graph.output:
        value = onnx.ValueInfoProto()
        value.CopyFrom(output)
        value.name = _name(output.name, half)
        outputs.append(value)
        if output.name in absent:
            copies.append(helper.make_node("Constant", [], [value.name], value=_nothing(output)))
    return helper.make_graph(copies, half, [], outputs)


def _needed(graph: onnx.GraphProto, names: Iterable[str]) -> list[onnx.NodeProto]:
    """The nodes that lead to these outputs, in the graph's order."""
    maker = {output: index for index, node in enumerate(graph.node) for output in node.output}
    found: set[int] = set()
    waiting = list(names)
    while waiting:
        index = maker.get(waiting.pop())
        if index is not None and index not in found:
            found.add(index)
            waiting += graph.node[index].input
    return [graph.node[index] for index in sorted(found)]


def _renamed(node: onnx.NodeProto, half: str, made: Collection[str]) -> onnx.NodeProto:
    """A copy whose values are the half's own; a name may stand once in all branches together."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = _name(node.name, half)
    for names in (copy.input, copy.output):
        for place, name in enumerate(names):
            if name in made:
                names[place] = _name(name, half)
    return copy


def _name(name: str, half: str) -> str:
    return f"{name}/{half}"


def _nothing(output: onnx.ValueInfoProto) -> onnx.TensorProto:
    shape = [size.dim_value for size in output.type.tensor_type.shape.dim]
    kind = helper.tensor_dtype_to_np_dtype(output.type.tensor_type.elem_type)
    return numpy_helper.from_array(np.zeros(shape, dtype=kind))
