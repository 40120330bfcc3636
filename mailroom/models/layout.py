"""A base model's directory → which modules it is made of, before any of its code or weights is loaded.

Reads the files that sentence-transformers writes (modules.json, N_Pooling/config.json); imports no torch.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailroom.errors import ModelError

POOLINGS = ("mean", "cls", "lasttoken")
# Everything behind the pooling that the exporter can put into the graph.
AFTER_POOLING = ("Dense", "LayerNorm", "Normalize")

_LEGACY_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_WEIGHT_SUFFIXES = {".json", ".safetensors", ".txt", ".model", ".jinja"}
_SKIPPED_FOLDERS = {"onnx", "openvino", "checkpoints", ".git", ".cache", "__pycache__"}


@dataclass(frozen=True, slots=True)
class Layout:
    """The modules of a bi-encoder; `include_prompt` false means that the prompt is read but not pooled."""

    pooling: str
    include_prompt: bool
    after_pooling: tuple[str, ...]


def read_layout(source: Path) -> Layout:
    """The layout of a bi-encoder; a directory without modules.json is read with mean pooling.

    Raises ModelError for a module or pooling that cannot be exported and for weights that are a pickle.
    """
    modules = _modules(source)
    kinds = tuple(str(module["type"]).rpartition(".")[2] for module in modules)
    if kinds[:2] != ("Transformer", "Pooling") or any(kind not in AFTER_POOLING for kind in kinds[2:]):
        raise ModelError(
            f"{source}: expected the modules Transformer, Pooling, then any of {', '.join(AFTER_POOLING)}; "
            f"got {', '.join(kinds)}"
        )
    require_safetensors(source / modules[0]["path"])
    for kind, module in zip(kinds, modules, strict=True):
        if kind in ("Dense", "LayerNorm"):
            require_safetensors(source / module["path"])
    pooling_config = read_json(source / modules[1]["path"] / "config.json") if modules[1]["path"] else {}
    return Layout(
        _pooling(source, pooling_config), bool(pooling_config.get("include_prompt", True)), kinds[2:]
    )


def require_safetensors(directory: Path) -> None:
    """ModelError unless `directory` holds weights as safetensors; a pickle is refused, never read."""
    if any(directory.glob("*.safetensors")):
        return
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in directory.glob(pattern))
    if pickled:
        raise ModelError(
            f"{directory}: expected weights as safetensors, got {pickled[0]}, a pickle that may run code "
            "when it is read; save the model again with safetensors, or take a base model that has them"
        )
    raise ModelError(f"{directory}: expected weights (model.safetensors), found none")


def copy_weights(source: Path, target: Path) -> None:
    """Copy what training needs (weights, configuration, tokenizer): no code, pickles or other exports."""

    def unwanted(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if not _is_wanted(Path(folder) / name)}

    try:
        # Hub caches hold links into a shared store: the copy must stand alone.
        shutil.copytree(source, target, ignore=unwanted, symlinks=False)
    except (OSError, shutil.Error) as exc:
        raise ModelError(f"{source}: cannot be copied to {target}: {exc}") from exc


def read_json(path: Path) -> Any:
    """The content of a JSON file; ModelError when it is missing or no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ModelError(f"{path}: expected a file of the base model, found none") from exc
    except (OSError, ValueError) as exc:
        raise ModelError(f"{path}: expected JSON, got: {exc}") from exc


def _modules(source: Path) -> list[dict[str, Any]]:
    if not (source / "modules.json").is_file():
        return [{"type": "Transformer", "path": ""}, {"type": "Pooling", "path": ""}]
    modules = read_json(source / "modules.json")
    if not isinstance(modules, list) or not all(isinstance(m, dict) and "type" in m for m in modules):
        raise ModelError(f"{source / 'modules.json'}: expected a list of modules with a type each")
    return [{"path": "", **module} for module in modules]


def _pooling(source: Path, config: dict[str, Any]) -> str:
    if "pooling_mode" in config:
        mode = config["pooling_mode"]
        modes = [mode] if isinstance(mode, str) else list(mode)
    else:
        modes = [name for key, name in _LEGACY_POOLINGS.items() if config.get(key)] or ["mean"]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise ModelError(
            f"{source}: expected one pooling of {', '.join(POOLINGS)}; got {', '.join(map(str, modes))}"
        )
    return str(modes[0])


def _is_wanted(path: Path) -> bool:
    if path.is_dir():
        return path.name not in _SKIPPED_FOLDERS
    return path.suffix in _WEIGHT_SUFFIXES
