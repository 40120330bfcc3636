"""The one-pass cross-encoder as an ONNX graph: config + named tensors → ModelProto (fp32).

The graph is written out op by op, so it needs no torch and says exactly what runs. Inputs, none padded:
`email_ids` (T,), `label_ids` (N,) with the candidates' tokens one after the other, `label_lengths` (K,);
output `scores` (K,). T, N and K are free at every run.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mailroom.models.one_pass_config import OnePassConfig

OPSET = 20
MICROSOFT = "com.microsoft"
IR_VERSION = 10
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


def build_graph(config: OnePassConfig, tensors: Mapping[str, Array]) -> onnx.ModelProto:
    """The fp32 graph; `tensors` by their names in model.safetensors. KeyError for one missing."""
    writer = _OnePassGraph(config, tensors)
    scores = writer.write()
    writer.nodes.append(helper.make_node("Identity", [scores], ["scores"], name="scores"))
    graph = helper.make_graph(
        writer.nodes,
        "one_pass_cross_encoder",
        [
            helper.make_tensor_value_info("email_ids", TensorProto.INT64, ["T"]),
            helper.make_tensor_value_info("label_ids", TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info("label_lengths", TensorProto.INT64, ["K"]),
        ],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["K"])],
        writer.constants,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="mailroom")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return model


class _OnePassGraph(GraphWriter):
    """Writes the reading of email and candidates; states are (1, tokens, D), biases (1, H, N, T + N)."""

    def __init__(self, config: OnePassConfig, tensors: Mapping[str, Array]) -> None:
        super().__init__()
        self.config = config
        self.tensors = tensors
        self.candidate_prefix = "one_pass.candidate_" if config.separate_candidate_tower else ""

    def write(self) -> str:
        """All nodes from the ids to the scores (K,)."""
        email_count = self.add("Shape", "email_ids")
        member, own, positions = self._candidate_layout(email_count)
        zero = self.integers(0)[:]
        email_positions = self.add(
            "Range", self._first(zero), self._first(email_count), self.constant(np.array(1, dtype=np.int64))
        )
        email = self._embed("email_ids", email_positions)
        labels = self._embed("label_ids", positions)
        open_row = self.add(
            "Expand",
            self.scalar(0.0),
            self.add("Concat", self.add("Shape", "label_ids"), email_count, axis=0),
        )
        for index in range(self.config.num_hidden_layers):
            email, labels = self._layer(index, email, labels, own, open_row)
        return self._read_out(email, labels, member)

    def _first(self, vector: str) -> str:
        return self.add("Squeeze", vector, self.integers(0))

    def _candidate_layout(self, email_count: str) -> tuple[str, str, str]:
        """member (K, N) as 0/1 floats, the bias between candidates' tokens (N, N), positions (N,)."""
        ends = self.add("CumSum", "label_lengths", self.constant(np.array(0, dtype=np.int64)))
        starts = self.add("Sub", ends, "label_lengths")
        count = self._first(self.add("Shape", "label_ids"))
        zero, one = (self.constant(np.array(v, dtype=np.int64)) for v in (0, 1))
        places = self.add("Range", zero, count, one)
        columns = self.add("Unsqueeze", places, self.integers(0))
        after = self.add("GreaterOrEqual", columns, self.add("Unsqueeze", starts, self.integers(1)))
        before = self.add("Less", columns, self.add("Unsqueeze", ends, self.integers(1)))
        member = self.add("Cast", self.add("And", after, before), to=TensorProto.FLOAT)
        which = self.add("ArgMax", member, axis=0, keepdims=0)  # (N,) the candidate of each token
        same = self.add(
            "Equal",
            self.add("Unsqueeze", which, self.integers(1)),
            self.add("Unsqueeze", which, self.integers(0)),
        )
        lowest = self.scalar(float(np.finfo(np.float32).min))
        own = self.add("Where", same, self.scalar(0.0), lowest)
        positions = self.add("Sub", places, self.add("Gather", starts, which))
        if self.config.positions == "continued":
            positions = self.add("Add", positions, email_count)
        return member, own, positions

    def _embed(self, ids: str, positions: str) -> str:
        words = self.add("Gather", self._tensor("embeddings.word_embeddings.weight"), ids)
        # The token type is always 0, so its vector is added to the positions once and for all.
        table = self.tensors["embeddings.position_embeddings.weight"][self.config.position_offset :]
        table = table + self.tensors["embeddings.token_type_embeddings.weight"][0]
        if "position_table" not in {tensor.name for tensor in self.constants}:
            self.constant(table.astype(np.float32), "position_table")
        places = self.add("Gather", "position_table", positions)
        states = self._norm(self.add("Add", words, places), "embeddings.LayerNorm")
        return self.add("Unsqueeze", states, self.integers(0))

    def _layer(self, index: int, email: str, labels: str, own: str, open_row: str) -> tuple[str, str]:
        base = f"encoder.layer.{index}."
        q_email, k_email, v_email = self._project(email, base)
        q_label, k_label, v_label = self._project(labels, self.candidate_prefix + base)
        email_context = self._attend(q_email, k_email, v_email)
        keys = self.add("Concat", k_email, k_label, axis=1)
        values = self.add("Concat", v_email, v_label, axis=1)
        label_context = self._attend(q_label, keys, values, self._bias(index, own, open_row))
        return self._finish(email, email_context, base), self._finish(
            labels, label_context, self.candidate_prefix + base
        )

    def _bias(self, index: int, own: str, open_row: str) -> str:
        """(1, H, N, T + N): the gate towards the email, 0 or closed towards the candidates' tokens."""
        lowest = np.finfo(np.float32).min
        gate = np.maximum(self.tensors["one_pass.gate"][index], lowest).astype(np.float32)
        to_email = self.add("Add", open_row, self.constant(gate[:, None, None]))  # (H, N, T)
        heads = self.add("Expand", own, self.integers(self.config.num_attention_heads, 1, 1))  # (H, N, N)
        return self.add("Unsqueeze", self.add("Concat", to_email, heads, axis=2), self.integers(0))

    def _project(self, states: str, base: str) -> list[str]:
        """Queries, keys, values, each (1, tokens, D), from one product with the three weights abreast."""
        parts = [f"{base}attention.self.{part}" for part in ("query", "key", "value")]
        name = f"{base}attention.self.qkv"
        weight = np.concatenate([self.tensors[f"{part}.weight"].T for part in parts], axis=1)
        bias = np.concatenate([self.tensors[f"{part}.bias"] for part in parts])
        product = self._product(states, name, weight, bias)
        sizes = self.integers(*[self.config.hidden_size] * 3)
        return self.add_many("Split", product, sizes, outputs=3, axis=-1)

    def _attend(self, query: str, key: str, value: str, bias: str | None = None) -> str:
        inputs = [query, key, value] if bias is None else [query, key, value, "", "", bias]
        heads = self.config.num_attention_heads
        return self.add("MultiHeadAttention", *inputs, domain=MICROSOFT, num_heads=heads)

    def _finish(self, states: str, context: str, base: str) -> str:
        attended = self._linear(context, f"{base}attention.output.dense")
        states = self._norm(self.add("Add", states, attended), f"{base}attention.output.LayerNorm")
        inner = self._activate(self._linear(states, f"{base}intermediate.dense"))
        return self._norm(
            self.add("Add", states, self._linear(inner, f"{base}output.dense")), f"{base}output.LayerNorm"
        )

    def _activate(self, states: str) -> str:
        if self.config.hidden_act == "relu":
            return self.add("Relu", states)
        return self.add("Gelu", states, approximate="none" if self.config.hidden_act == "gelu" else "tanh")

    def _linear(self, states: str, name: str) -> str:
        return self._product(states, name, self.tensors[f"{name}.weight"].T, self.tensors[f"{name}.bias"])

    def _product(self, states: str, name: str, weight: Array, bias: Array) -> str:
        names = {tensor.name for tensor in self.constants}
        for suffix, value in (("weight", weight), ("bias", bias)):
            if f"{name}.{suffix}" not in names:
                self.constant(value.astype(np.float32), f"{name}.{suffix}")
        return self.add("Add", self.add("MatMul", states, f"{name}.weight"), f"{name}.bias")

    def _norm(self, states: str, name: str) -> str:
        weight, bias = self._tensor(f"{name}.weight"), self._tensor(f"{name}.bias")
        return self.add(
            "LayerNormalization", states, weight, bias, axis=-1, epsilon=self.config.layer_norm_eps
        )

    def _tensor(self, name: str) -> str:
        if name not in {tensor.name for tensor in self.constants}:
            self.constant(self.tensors[name].astype(np.float32), name)
        return name

    def _read_out(self, email: str, labels: str, member: str) -> str:
        candidates = self._pool(labels, member)  # (K, D)
        if self.config.readout == "linear":
            head = self._product(
                candidates,
                "one_pass.head",
                self.tensors["one_pass.head.weight"].T,
                self.tensors["one_pass.head.bias"],
            )
            return self.add("Squeeze", head, self.integers(1))
        if self.config.pooling == "mean":
            pooled = self.add("ReduceMean", email, self.integers(1), keepdims=0)  # (1, D)
        else:
            pooled = self.add("Gather", email, self.constant(np.array(0, dtype=np.int64)), axis=1)
        product = self.add(
            "ReduceSum",
            self.add("Mul", self._unit(candidates), self._unit(pooled)),
            self.integers(1),
            keepdims=0,
        )
        scale = np.exp(self.tensors["one_pass.log_scale"])
        return self.add("Mul", product, self.constant(np.array(scale, dtype=np.float32)))

    def _pool(self, labels: str, member: str) -> str:
        flat = self.add("Squeeze", labels, self.integers(0))
        if self.config.pooling == "cls":
            return self.add("Gather", flat, self.add("ArgMax", member, axis=1, keepdims=0))
        counts = self.add(
            "Cast", self.add("Unsqueeze", "label_lengths", self.integers(1)), to=TensorProto.FLOAT
        )
        return self.add("Div", self.add("MatMul", member, flat), counts)

    def _unit(self, vectors: str) -> str:
        return self.add("LpNormalization", vectors, axis=1, p=2)


def graph_tensor_names(config: OnePassConfig) -> Sequence[str]:
    """The names that `build_graph` needs, in no particular order."""
    parts = [
        f"{part}.{kind}"
        for part in (
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
            "attention.output.LayerNorm",
            "intermediate.dense",
            "output.dense",
            "output.LayerNorm",
        )
        for kind in ("weight", "bias")
    ]
    towers = ["", "one_pass.candidate_"] if config.separate_candidate_tower else [""]
    layers = [
        f"{tower}encoder.layer.{index}.{part}"
        for tower in towers
        for index in range(config.num_hidden_layers)
        for part in parts
    ]
    tables = [
        f"embeddings.{name}.weight"
        for name in ("word_embeddings", "position_embeddings", "token_type_embeddings")
    ]
    norms = ["embeddings.LayerNorm.weight", "embeddings.LayerNorm.bias"]
    head = (
        ["one_pass.head.weight", "one_pass.head.bias"]
        if config.readout == "linear"
        else ["one_pass.log_scale"]
    )
    return [*layers, *tables, *norms, "one_pass.gate", *head]
