"""Encoders that are exported once a session and read by many tests."""

from pathlib import Path

import pytest

from mailroom.models.export import export_bi_encoder
from mailroom.models.sources import resolve_base_model


@pytest.fixture(scope="session")
def embedded_bi_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the exported default bi-encoder."""
    pytest.importorskip("sentence_transformers")
    target = tmp_path_factory.mktemp("embedded") / "bi_encoder"
    export_bi_encoder(resolve_base_model("embedded"), target)
    return target
