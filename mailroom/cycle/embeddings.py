"""Texts → vectors of one encoder, each text read once a cycle, a kill notwithstanding."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Advance = Callable[[int, int], None]

# Vectors that are written together: what a kill costs at most.
_BLOCK = 1000


class QueryEncoder(Protocol):
    """The bi-encoder, as emails need it."""

    def encode_query(self, text: str) -> Vectors:
        """One email text → vector (d,)."""
        ...


class Embeddings:
    """An encoder that remembers; safe to share between threads, and as an encoder of a classifier."""

    def __init__(self, encoder: QueryEncoder, folder: Path, threads: int) -> None:
        """What `folder` holds of an earlier run with the same encoder is taken up."""
        self._encoder, self._folder, self._threads = encoder, folder, threads
        self._known: dict[bytes, Vectors] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob("*.npz")):
            with np.load(path, allow_pickle=False) as content:
                keys, vectors = content["keys"], content["vectors"]
            self._known |= {key.tobytes(): vector for key, vector in zip(keys, vectors, strict=True)}

    def encode_query(self, text: str) -> Vectors:
        """The vector of one email, as the encoder gives it."""
        key = _key(text)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._encoder.encode_query(text)
        return found

    def unit(self, texts: Sequence[str], advance: Advance | None = None) -> Vectors:
        """Unit vectors (n, d) of emails, in order, those not known yet on all threads."""
        missing = [
            text for key, text in {_key(text): text for text in texts}.items() if key not in self._known
        ]
        for start in range(0, len(missing), _BLOCK):
            self._read(missing[start : start + _BLOCK], start, len(missing), advance)
        vectors = np.stack([self._known[_key(text)] for text in texts])
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
        return unit

    def _read(self, texts: Sequence[str], before: int, total: int, advance: Advance | None) -> None:
        with ThreadPoolExecutor(self._threads, thread_name_prefix="mailroom") as pool:
            try:
                for number, vector in enumerate(pool.map(self._encoder.encode_query, texts)):
                    self._known[_key(texts[number])] = vector
                    if advance is not None:
                        advance(before + number + 1, total)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        keys = np.stack([np.frombuffer(_key(text), np.uint8) for text in texts])
        path = self._folder / f"{hashlib.sha256(keys.tobytes()).hexdigest()[:16]}.npz"
        with path.with_suffix(".writing").open("wb") as file:
            np.savez(file, keys=keys, vectors=np.stack([self._known[_key(text)] for text in texts]))
        path.with_suffix(".writing").replace(path)


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
