"""Model versions: published at once, refused when a byte has changed."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mailroom.errors import ModelError
from mailroom.models.label_vectors import load_label_vectors, save_label_vectors
from mailroom.models.lexical import LEXICAL_NAME, Lexical
from mailroom.models.prototypes import PROTOTYPES_NAME, Prototypes
from mailroom.models.registry import (
    MANIFEST_NAME,
    ModelVersion,
    draft_version,
    list_versions,
    load_version,
    make_manifest,
    publish_version,
)


def publish(models: Path, content: bytes = b"graph") -> ModelVersion:
    with draft_version(models) as draft:
        folder = draft / "bi_encoder"
        folder.mkdir()
        for name in ("encoder.json", "tokenizer.json", "model.fp32.onnx", "model.int8.onnx"):
            (folder / name).write_bytes(content + name.encode())
        manifest = make_manifest(
            {"bi_encoder": "embedded"}, {"bi_encoder": "int8"}, metrics={"recall_at_1": 0.5}
        )
        return publish_version(draft, manifest)


def test_a_published_version_is_read_back(tmp_path: Path) -> None:
    version = publish(tmp_path)
    loaded = load_version(version.directory, verify=True)
    assert loaded == version
    assert loaded.manifest.metrics == {"recall_at_1": 0.5}
    assert loaded.precision_of("bi_encoder") == "int8"
    assert not loaded.has_cross_encoder
    assert loaded.load_cross_encoder() is None


def test_versions_are_numbered_in_the_order_of_publication(tmp_path: Path) -> None:
    ids = [publish(tmp_path, bytes([number])).id for number in range(12)]
    assert list_versions(tmp_path) == ids == sorted(ids)
    assert list_versions(tmp_path / "none") == []


def test_a_draft_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def build() -> None:
        with draft_version(tmp_path) as draft:
            (draft / "half").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        build()
    assert list(tmp_path.iterdir()) == []


def test_the_draft_of_a_killed_process_is_no_version(tmp_path: Path) -> None:
    (tmp_path / ".draft-left").mkdir()
    (tmp_path / "v0001-nothex").mkdir()
    assert list_versions(tmp_path) == []


@pytest.mark.parametrize("name", ["encoder.json", "tokenizer.json", "model.int8.onnx"])
def test_a_changed_byte_is_refused_at_load(tmp_path: Path, name: str) -> None:
    version = publish(tmp_path)
    path = version.directory / "bi_encoder" / name
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    with pytest.raises(ModelError, match=name):
        load_version(version.directory).load_bi_encoder()
    with pytest.raises(ModelError, match=name):
        load_version(version.directory, verify=True)


def test_a_missing_or_shortened_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    version = publish(tmp_path)
    path = version.directory / "bi_encoder" / "model.fp32.onnx"
    path.write_bytes(b"short")
    with pytest.raises(ModelError, match=r"model\.fp32\.onnx: expected \d+ bytes, got 5"):
        load_version(version.directory)
    path.unlink()
    with pytest.raises(ModelError, match=r"model\.fp32\.onnx: expected a file"):
        load_version(version.directory)


def _newer(text: str) -> str:
    return json.dumps(json.loads(text) | {"format": 99})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "not json", "expected JSON"),
        (lambda text: "[]", "expected format 1"),
        (_newer, "newer mailroom"),
        (lambda text: text.replace("int8", "fp32"), "was changed"),
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path: Path, change: Callable[[str], str], message: str) -> None:
    version = publish(tmp_path)
    path = version.directory / MANIFEST_NAME
    path.write_text(change(path.read_text()))
    with pytest.raises(ModelError, match=message):
        load_version(version.directory)


def test_a_missing_manifest_or_another_folder_is_refused(tmp_path: Path) -> None:
    version = publish(tmp_path)
    (version.directory / MANIFEST_NAME).unlink()
    with pytest.raises(ModelError, match=r"manifest\.json"):
        load_version(version.directory)
    with pytest.raises(ModelError, match="v0001-1a2b3c4d"):
        load_version(tmp_path)


def test_label_vectors_are_kept_for_one_revision_and_precision(tmp_path: Path) -> None:
    version = publish(tmp_path)
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert load_label_vectors(version, "abc") is None
    assert save_label_vectors(version, "abc", vectors)
    loaded = load_label_vectors(version, "abc")
    assert loaded is not None
    assert np.array_equal(loaded, vectors)
    assert load_label_vectors(version, "other") is None
    assert load_label_vectors(version, "abc", "fp32") is None
    assert load_version(version.directory, verify=True) == version


def test_changed_label_vectors_are_refused(tmp_path: Path) -> None:
    version = publish(tmp_path)
    save_label_vectors(version, "abc", np.ones((2, 3), dtype=np.float32))
    (path,) = (version.directory / "label_vectors").iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    with pytest.raises(ModelError, match=path.name):
        load_label_vectors(version, "abc")


def test_label_vectors_stay_inside_the_version(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="taxonomy revision"):
        load_label_vectors(publish(tmp_path), "../outside")


def test_a_folder_that_cannot_be_written_keeps_no_label_vectors(tmp_path: Path) -> None:
    version = publish(tmp_path)
    folder = version.directory / "label_vectors"
    folder.rmdir()
    # A file in the folder's place refuses writes even to root, whom a mode would not stop.
    folder.write_bytes(b"")
    assert not save_label_vectors(version, "abc", np.ones((2, 3), dtype=np.float32))


def test_a_workspace_that_cannot_be_written_gives_a_reason(tmp_path: Path) -> None:
    (tmp_path / "models").write_bytes(b"")
    with pytest.raises(ModelError, match="cannot be made here"), draft_version(tmp_path / "models"):
        pass


def test_what_labels_learned_belongs_to_the_version(tmp_path: Path) -> None:
    assert publish(tmp_path).load_prototypes() is None
    learned = Prototypes(
        ("a",), np.ones((1, 1), np.float32), np.ones(1, np.float32), np.zeros(1, np.float32), 0.25
    )
    with draft_version(tmp_path) as draft:
        learned.save(draft / PROTOTYPES_NAME)
        version = publish_version(draft, make_manifest({}, {}))
    found = load_version(version.directory).load_prototypes()
    assert found is not None
    assert (found.labels, found.gain) == (("a",), 0.25)
    path = version.directory / PROTOTYPES_NAME
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=PROTOTYPES_NAME):
        load_version(version.directory).load_prototypes()


def test_what_words_say_belongs_to_the_version(tmp_path: Path) -> None:
    assert publish(tmp_path).load_lexical() is None
    head = Lexical(
        labels=("a", "b"),
        features=np.array([4], np.uint32),
        idf=np.ones(1, np.float16),
        starts=np.array([0, 1], np.int64),
        columns=np.zeros(1, np.uint16),
        values=np.ones(1, np.float16),
        bias=np.zeros(2, np.float32),
        neutral=-0.5,
        weight=0.1,
    )
    with draft_version(tmp_path) as draft:
        head.save(draft / LEXICAL_NAME)
        version = publish_version(draft, make_manifest({}, {}))
    assert load_version(version.directory, verify=True).manifest.files[LEXICAL_NAME].bytes > 0
    found = version.load_lexical()
    assert found is not None
    assert (found.labels, found.weight) == (("a", "b"), 0.1)
    path = version.directory / LEXICAL_NAME
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=LEXICAL_NAME):
        version.load_lexical()
