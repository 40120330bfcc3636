"""A workspace that was made once a session, copied for each test."""

import shutil
from pathlib import Path

import pytest

from tests.cycle.desk import make_workspace, set_settings


@pytest.fixture(scope="session")
def made_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("cycle"), "none")


@pytest.fixture
def workspace(made_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh copy of the workspace, whose encoders pass the int8 gate whatever they are trained to.

    Only tests that set `train_from_gold` train any: that takes seconds in each cycle.

    Random weights of 32 dimensions lie so close together that rounding alone can change an answer, on some
    processors and not on others: nothing that a cycle's tests are about.
    """
    monkeypatch.setattr("mailroom.models.parity.MAX_RELATIVE_DIFFERENCE", 1e9)
    monkeypatch.setattr("mailroom.models.parity.MIN_TOP1_AGREEMENT", 0.0)
    desk = shutil.copytree(made_workspace, tmp_path / "desk")
    set_settings(desk, train_from_gold=1_000_000)
    return desk
