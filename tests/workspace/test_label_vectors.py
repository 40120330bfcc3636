"""A workspace retrieves by what its labels learned, where its version has learned anything."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mailroom.config import Settings
from mailroom.models.prototypes import Prototypes
from mailroom.taxonomy import load_taxonomy
from mailroom.workspace import Workspace

TEXTS = np.eye(2, 4, dtype=np.float32)
LEARNED = Prototypes(
    ("b", "retired"),
    np.array([[0, 0, 1, 0], [0, 0, 0, 1]], dtype=np.float32),
    np.array([3, 3], dtype=np.float32),
    np.zeros(4, dtype=np.float32),
    0.0,
)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "taxonomy.json").write_text('{"labels": [{"id": "a"}, {"id": "b"}]}')
    found = Workspace(tmp_path, Settings())
    found.__dict__["taxonomy"] = load_taxonomy(tmp_path / "taxonomy.json")
    monkeypatch.setattr("mailroom.classify.label_vectors.load_label_vectors", lambda *_: TEXTS.copy())
    return found


@pytest.mark.parametrize(("learned", "second"), [(None, [0, 1, 0, 0]), (LEARNED, [0, 0, 1, 0])])
def test_learned_labels_are_found_by_what_they_learned(
    workspace: Any, learned: Prototypes | None, second: list[int]
) -> None:
    workspace.__dict__["version"] = SimpleNamespace(
        load_prototypes=lambda: learned, precision_of=lambda _: "fp32"
    )
    vectors = workspace.label_vectors(None)
    assert vectors.tolist() == [[1, 0, 0, 0], second]
