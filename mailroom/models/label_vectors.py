"""Vectors of label texts, computed once a model version × taxonomy revision and kept with the version.

A file is the sha256 of what follows, a newline, and a `.npy` array. The files come after the manifest, which
therefore does not list them.
"""

import contextlib
import hashlib
import io
import os
import re
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mailroom.errors import ModelError
from mailroom.models.registry import BI_ENCODER, LABEL_VECTORS, ModelVersion
from mailroom.models.runtime import Precision

_KEY = re.compile(r"[\w.-]{1,128}")
_DIGEST_CHARS = 64


def save_label_vectors(
    version: ModelVersion,
    taxonomy_revision: str,
    vectors: NDArray[np.float32],
    precision: Precision | None = None,
) -> bool:
    """Keep `vectors` `(labels, d)` for one taxonomy revision; False where the folder cannot be written.

    `precision` is that of the bi-encoder that made them, by default the version's own.
    """
    path = _path(version, taxonomy_revision, precision)
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(vectors, dtype=np.float32), allow_pickle=False)
    data = buffer.getvalue()
    try:
        path.parent.mkdir(exist_ok=True)
        _write(path, hashlib.sha256(data).hexdigest().encode() + b"\n" + data)
    except OSError:
        # A version on a read-only disk works as well: its label vectors are computed at each start.
        return False
    return True


def load_label_vectors(
    version: ModelVersion, taxonomy_revision: str, precision: Precision | None = None
) -> NDArray[np.float32] | None:
    """The vectors `(labels, d)` of one taxonomy revision, or None; ModelError when they were changed."""
    path = _path(version, taxonomy_revision, precision)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read: {exc.strerror}") from exc
    digest, data = content[:_DIGEST_CHARS], content[_DIGEST_CHARS + 1 :]
    if hashlib.sha256(data).hexdigest().encode() != digest:
        raise ModelError(f"{path}: was changed after it was written; delete it, and it is computed again")
    vectors: NDArray[np.float32] = np.load(io.BytesIO(data), allow_pickle=False)
    return vectors


def _path(version: ModelVersion, taxonomy_revision: str, precision: Precision | None) -> Path:
    if not _KEY.fullmatch(taxonomy_revision):
        raise ModelError(f"expected a taxonomy revision of letters, digits, . _ -; got {taxonomy_revision!r}")
    chosen = precision or version.precision_of(BI_ENCODER)
    return version.directory / LABEL_VECTORS / f"{taxonomy_revision}.{chosen}.vectors"


def _write(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
