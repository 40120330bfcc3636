"""The one-pass cross-encoder as an ONNX graph: config + named tensors → ModelProto (fp32).

The graph is written out op by op, so it needs no torch and says exactly what runs. It has two halves that
share nothing but weights; `in_halves` makes them the branches of one switch:

    email_ids (T,)                              → keys_i, values_i (1, T, D) of every layer i, vector (1, D)
    email_keys_i, email_values_i, email_vector,
    label_ids (N,), label_lengths (K,)          → scores (K,)

Nothing is padded: `label_ids` holds the candidates' tokens one after the other. T, N and K are free at
every run. So one reading of the email serves any number of runs of candidates.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from mailroom.models.export_graph_writer import Array, GraphWriter
from mailroom.models.one_pass_config import OnePassConfig
from mailroom.models.one_pass_session import state_names

OPSET = 20
MICROSOFT = "com.microsoft"
IR_VERSION = 10


def build_graph(config: OnePassConfig, tensors: Mapping[str, Array]) -> onnx.ModelProto:
    """The fp32 graph; `tensors` by their names in model.safetensors. KeyError for one missing."""
    writer = _OnePassGraph(config, tensors)
    states = writer.read_email()
    results = {**states, "scores": writer.score_candidates()}
    width = config.hidden_size
    shapes: dict[str, list[int | str]] = {
        name: [1, width] if name == "vector" else [1, "T", width] for name in states
    }
    given = [_floats(f"email_{name}", shape) for name, shape in shapes.items()]
    ids = [_ids("email_ids", "T"), _ids("label_ids", "N"), _ids("label_lengths", "K")]
    outputs = [_floats(name, shape) for name, shape in shapes.items()]
    outputs.append(_floats("scores", ["K"]))
    return _finished("one_pass_cross_encoder", writer, results, [*ids, *given], outputs)


def build_late_interaction_graph(config: OnePassConfig, tensors: Mapping[str, Array]) -> onnx.ModelProto:
    """The encoder's reading alone, and the products that late interaction needs, as two halves in fp32:

    email_ids (T,)                           → vector (1, D), tokens (T, D) of length 1 each
    email_tokens (T, D), label_tokens (N, D) → best (N,): each row's highest product with the email's
    """
    writer = _OnePassGraph(config, tensors)
    states, _, _ = writer.read_layers()
    flat = writer.add("Squeeze", states, writer.integers(0))
    email = writer.add("Transpose", "email_tokens", perm=[1, 0])
    alike = writer.add("MatMul", "label_tokens", email)
    results = {
        "vector": writer.pool_email(states),
        "tokens": writer.unit(flat),
        "best": writer.add("ReduceMax", alike, writer.integers(1), keepdims=0),
    }
    width = config.hidden_size
    inputs = [
        _ids("email_ids", "T"),
        _floats("email_tokens", ["T", width]),
        _floats("label_tokens", ["N", width]),
    ]
    outputs = [_floats("vector", [1, width]), _floats("tokens", ["T", width]), _floats("best", ["N"])]
    return _finished("late_interaction", writer, results, inputs, outputs)


def _finished(
    name: str,
    writer: GraphWriter,
    results: Mapping[str, str],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    for result, value in results.items():
        writer.nodes.append(helper.make_node("Identity", [value], [result], name=result))
    graph = helper.make_graph(writer.nodes, name, inputs, outputs, writer.constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="mailroom")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return model


def _ids(name: str, size: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.INT64, [size])


def _floats(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


class _OnePassGraph(GraphWriter):
    """Writes the reading of email and candidates; states are (1, tokens, D), biases (1, H, N, T + N)."""

    def __init__(self, config: OnePassConfig, tensors: Mapping[str, Array]) -> None:
        super().__init__()
        self.config = config
        self.tensors = tensors
        self.candidate_prefix = "one_pass.candidate_" if config.separate_candidate_tower else ""

    def read_email(self) -> dict[str, str]:
        """The email's half: what every run of candidates needs of it, by the names that serving uses."""
        email, keys, values = self.read_layers()
        names = state_names(self.config.num_hidden_layers)
        return dict(zip(names, [*keys, *values, self.pool_email(email)], strict=True))

    def read_layers(self) -> tuple[str, list[str], list[str]]:
        """The email's last states (1, T, D), and keys and values of every layer."""
        first, end = self.integers(0), self.add("Shape", "email_ids")
        step = self.constant(np.array(1, dtype=np.int64))
        email = self._embed("email_ids", self.add("Range", self._first(first), self._first(end), step))
        keys, values = [], []
        for index in range(self.config.num_hidden_layers):
            base = f"encoder.layer.{index}."
            query, key, value = self._project(email, base)
            email = self._finish(email, self._attend(query, key, value), base)
            keys.append(key)
            values.append(value)
        return email, keys, values

    def score_candidates(self) -> str:
        """The candidates' half, from their ids and the email's states to scores (K,)."""
        shape = self.add("Shape", "email_keys_0")
        email_count = self.add("Slice", shape, self.integers(1), self.integers(2))
        member, own, positions = self._candidate_layout(email_count)
        labels = self._embed("label_ids", positions)
        row = self.add("Concat", self.add("Shape", "label_ids"), email_count, axis=0)
        open_row = self.add("Expand", self.scalar(0.0), row)
        for index in range(self.config.num_hidden_layers):
            base = f"{self.candidate_prefix}encoder.layer.{index}."
            query, key, value = self._project(labels, base)
            keys = self.add("Concat", f"email_keys_{index}", key, axis=1)
            values = self.add("Concat", f"email_values_{index}", value, axis=1)
            context = self._attend(query, keys, values, self._bias(index, own, open_row))
            labels = self._finish(labels, context, base)
        return self._read_out(self._pool(labels, member))

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

    def _read_out(self, candidates: str) -> str:
        if self.config.readout == "linear":
            head = self._product(
                candidates,
                "one_pass.head",
                self.tensors["one_pass.head.weight"].T,
                self.tensors["one_pass.head.bias"],
            )
            return self.add("Squeeze", head, self.integers(1))
        cosines = self.add("Mul", self.unit(candidates), self.unit("email_vector"))
        product = self.add("ReduceSum", cosines, self.integers(1), keepdims=0)
        scale = np.exp(self.tensors["one_pass.log_scale"])
        return self.add("Mul", product, self.constant(np.array(scale, dtype=np.float32)))

    def pool_email(self, email: str) -> str:
        """What the bi-encoder makes of the last states (1, T, D): (1, D)."""
        if self.config.pooling == "mean":
            return self.add("ReduceMean", email, self.integers(1), keepdims=0)
        return self.add("Gather", email, self.constant(np.array(0, dtype=np.int64)), axis=1)

    def _pool(self, labels: str, member: str) -> str:
        flat = self.add("Squeeze", labels, self.integers(0))
        if self.config.pooling == "cls":
            return self.add("Gather", flat, self.add("ArgMax", member, axis=1, keepdims=0))
        counts = self.add(
            "Cast", self.add("Unsqueeze", "label_lengths", self.integers(1)), to=TensorProto.FLOAT
        )
        return self.add("Div", self.add("MatMul", member, flat), counts)

    def unit(self, vectors: str) -> str:
        """The rows of a matrix, each brought to length 1."""
        return self.add("LpNormalization", vectors, axis=1, p=2)


def graph_tensor_shapes(config: OnePassConfig) -> dict[str, tuple[int, ...]]:
    """The tensors that `build_graph` needs: name in model.safetensors → shape by the configuration."""
    width, inner = config.hidden_size, config.intermediate_size
    weights = {
        "attention.self.query": (width, width),
        "attention.self.key": (width, width),
        "attention.self.value": (width, width),
        "attention.output.dense": (width, width),
        "attention.output.LayerNorm": (width,),
        "intermediate.dense": (inner, width),
        "output.dense": (width, inner),
        "output.LayerNorm": (width,),
    }
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config.vocab_size, width),
        "embeddings.position_embeddings.weight": (config.max_position_embeddings, width),
        "embeddings.token_type_embeddings.weight": (config.type_vocab_size, width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
        "one_pass.gate": (config.num_hidden_layers, config.num_attention_heads),
    }
    for tower in ["", "one_pass.candidate_"] if config.separate_candidate_tower else [""]:
        for index in range(config.num_hidden_layers):
            for part, shape in weights.items():
                name = f"{tower}encoder.layer.{index}.{part}"
                shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    if config.readout == "linear":
        return shapes | {"one_pass.head.weight": (1, width), "one_pass.head.bias": (1,)}
    return shapes | {"one_pass.log_scale": ()}


def encoder_tensor_shapes(config: OnePassConfig) -> dict[str, tuple[int, ...]]:
    """Those of them that are the encoder's own, which is all that `build_late_interaction_graph` needs."""
    return {name: shape for name, shape in graph_tensor_shapes(config).items() if "one_pass." not in name}
