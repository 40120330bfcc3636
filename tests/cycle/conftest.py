"""The workspace that a cycle's tests learn in."""

from pathlib import Path

import pytest


@pytest.fixture
def workspace(learning_desk: Path) -> Path:
    """A fresh copy of the workspace."""
    return learning_desk
