"""A trained one-pass cross-encoder's folder → an exported encoder that serving reads; no torch anywhere.

target/  encoder.json  tokenizer.json  model.fp32.onnx  model.int8.onnx  weights/
"""

import logging
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mailroom.errors import ModelError
from mailroom.models.encoder_config import (
    GRAPH_NAMES,
    TOKENIZER_NAME,
    WEIGHTS_NAME,
    LateInteractionConfig,
    write_config,
)
from mailroom.models.late_interaction import READ, READS
from mailroom.models.one_pass import OnePassServingConfig, write_serving_config
from mailroom.models.one_pass_config import (
    OnePassConfig,
    config_from_encoder,
    read_config,
    without_prefix,
)
from mailroom.models.one_pass_session import READS_EMAIL, state_names

if TYPE_CHECKING:
    from onnx import ModelProto

Progress = Callable[[str], None]
SAFETENSORS_NAME = "model.safetensors"


def export_one_pass(source: Path, target: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Export a saved one-pass cross-encoder into the new directory `target`.

    Returns what encoder.json holds beside its format. Raises ModelError when the folder holds another kind
    of model, lacks tensors or holds non-finite ones, or when the packages for exporting are missing.
    """
    say = progress or (lambda _: None)
    from mailroom.models.export_one_pass_graph import build_graph, graph_tensor_shapes

    config = read_config(source)
    tensors = _read_tensors(source, graph_tensor_shapes(config))
    _start(source, target)
    serving = _serving_config(config)
    write_serving_config(target, serving)
    say("writing the fp32 graph")
    model = build_graph(config, tensors)
    _write_graphs(model, READS_EMAIL, state_names(config.num_hidden_layers), target, say)
    _copy_weights(source, target / WEIGHTS_NAME)
    return {"kind": serving.kind, "max_tokens": serving.max_email_tokens, "temperature": serving.temperature}


def export_late_interaction(
    source: Path, target: Path, weight: float, temperature: float, progress: Progress | None = None
) -> LateInteractionConfig:
    """Export an encoder's folder into the new directory `target`, to compare its tokens one by one.

    Raises ModelError when the folder holds no BERT-like encoder, lacks tensors or holds non-finite ones.
    """
    from mailroom.models.export_one_pass_graph import build_late_interaction_graph, encoder_tensor_shapes

    say = progress or (lambda _: None)
    encoder = config_from_encoder(source)
    tensors = _read_tensors(source, encoder_tensor_shapes(encoder))
    _start(source, target)
    config = LateInteractionConfig(
        max_email_tokens=encoder.max_email_tokens,
        max_label_tokens=encoder.max_label_tokens,
        weight=weight,
        temperature=temperature,
        email_prompt=encoder.email_prompt,
        label_prompt=encoder.label_prompt,
    )
    write_config(target, config)
    say("writing the fp32 graph")
    _write_graphs(build_late_interaction_graph(encoder, tensors), READS, READ, target, say)
    return config


def _start(source: Path, target: Path) -> None:
    if not (source / TOKENIZER_NAME).is_file():
        raise ModelError(
            f"{source}: expected a {TOKENIZER_NAME}, found none; save the model with its tokenizer"
        )
    target.mkdir(parents=True)
    shutil.copyfile(source / TOKENIZER_NAME, target / TOKENIZER_NAME)


def _serving_config(config: OnePassConfig) -> OnePassServingConfig:
    return OnePassServingConfig(
        max_email_tokens=config.max_email_tokens,
        max_label_tokens=config.max_label_tokens,
        email_prompt=config.email_prompt,
        label_prompt=config.label_prompt,
        temperature=config.temperature,
        similarity_weight=config.similarity_weight,
    )


def _read_tensors(source: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = source / SAFETENSORS_NAME
    try:
        found = load_file(path)
    except FileNotFoundError as exc:
        raise ModelError(f"{source}: expected {SAFETENSORS_NAME}, found no file") from exc
    except (OSError, SafetensorError) as exc:
        raise ModelError(f"{path} is damaged or no safetensors file; fetch or build the model again") from exc
    found = without_prefix(found)
    missing = sorted(set(shapes) - set(found))
    if missing:
        raise ModelError(
            f"{path} lacks {len(missing)} tensors, {missing[0]} first; it is another kind of model"
        )
    tensors = {name: found[name].astype(np.float32) for name in shapes}
    for name, tensor in tensors.items():
        if tensor.shape != shapes[name]:
            raise ModelError(
                f"{name} in {path} has the shape {tensor.shape}, config.json says {shapes[name]}; "
                "fetch or build the model again"
            )
        # A gate at −inf is shut, which is a meaning; everything else must be a number.
        unusable = np.isnan(tensor) if name == "one_pass.gate" else ~np.isfinite(tensor)
        if unusable.any():
            raise ModelError(f"{name} in {path} has non-finite numbers; the weights are unusable")
    return tensors


def _write_graphs(
    model: "ModelProto", switch: str, first: Collection[str], target: Path, say: Progress
) -> None:
    """Write the graph and its int8 form, each as one switch between what makes `first` and the rest."""
    import onnx

    from mailroom.models.export_halves import in_halves

    whole = target / ".whole.onnx"
    onnx.save(model, whole)
    onnx.save(in_halves(model, switch, first), target / GRAPH_NAMES["fp32"])
    say("writing the int8 graph")
    _write_int8(whole, target / GRAPH_NAMES["int8"])
    whole.unlink()
    int8 = onnx.load(target / GRAPH_NAMES["int8"])
    onnx.save(in_halves(int8, switch, first), target / GRAPH_NAMES["int8"])


def _write_int8(source: Path, target: Path) -> None:
    """Dynamic quantisation: weights once, per output channel; activations at each run.

    Weights keep to 7 bits: CPUs without VNNI add pairs of u8 × s8 products in 16 bits, which saturates
    with 8-bit weights and would make scores depend on the CPU.
    """
    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet():
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "Gather"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            # Shapes behind the fused attention are unknown to the quantiser; everything there is float32.
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": TensorProto.FLOAT},
        )


def _copy_weights(source: Path, target: Path) -> None:
    """Keep what training starts from next time beside the graphs."""
    target.mkdir()
    for path in sorted(source.iterdir()):
        if path.is_file() and path.suffix in {".json", ".safetensors", ".txt", ".model"}:
            shutil.copyfile(path, target / path.name)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice to preprocess off the screen: the graph is written without need of it."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
