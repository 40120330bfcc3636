"""A workspace that was made once a session, copied for each test."""

import shutil
from pathlib import Path

import pytest

from mailroom.workspace import create_workspace
from tests.cycle.desk import TAXONOMY
from tests.models.tiny import make_bi_encoder


@pytest.fixture(scope="session")
def made_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cycle")
    make_bi_encoder(folder / "base", "bert", "mean")
    taxonomy = folder / "labels.yaml"
    taxonomy.write_text(TAXONOMY, encoding="utf-8")
    root = folder / "desk"
    base = str(folder / "base" / "model")
    create_workspace(root, taxonomy, base, "none", lambda _: None).database.close()
    return root


@pytest.fixture
def workspace(made_workspace: Path, tmp_path: Path) -> Path:
    """A fresh copy of the workspace."""
    return shutil.copytree(made_workspace, tmp_path / "desk")
