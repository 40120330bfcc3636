"""The import order of the design, read from the syntax trees, and torch kept out of serving."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "mailroom"

# Highest first; folders or modules on one line never import each other.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"web"},
    {"workspace"},
    {"cycle"},
    {"evaluate", "train", "curate"},
    {"classify"},
    {"models", "mail", "store"},
    {"taxonomy"},
    {"config"},
    {"records", "errors"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
HEAVY = {"torch", "transformers", "sentence_transformers", "onnx", "onnxscript", "safetensors"}
# The only places that may name a training library at all.
TRAINING_ONLY = ("train/", "models/export")


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imported_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the layer"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_only_downward(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":
        return
    for name in imported_names(path):
        pieces = name.split(".")
        if pieces[0] != "mailroom" or len(pieces) == 1 or pieces[1] in {part, "__version__"}:
            continue
        assert RANK[pieces[1]] > RANK[part], f"{path}: {part} must not import {name}"


def test_every_module_has_a_layer() -> None:
    assert {part_of(path) for path in modules()} - {"__init__"} <= RANK.keys()


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_training_libraries_are_imported_by_training_and_export_alone(path: Path) -> None:
    if str(path.relative_to(PACKAGE)).startswith(TRAINING_ONLY):
        return
    assert not {name.split(".")[0] for name in imported_names(path)} & HEAVY


def test_serving_modules_never_import_torch() -> None:
    serving = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in modules()
        if not str(path.relative_to(PACKAGE)).startswith((*TRAINING_ONLY, "__main__", "store/migrations/"))
    ]
    code = (
        "import importlib, sys\n"
        f"for name in {serving!r}: importlib.import_module(name.removesuffix('.__init__'))\n"
        f"loaded = {HEAVY!r} & set(sys.modules)\nsys.exit(f'loaded: {{loaded}}' if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
