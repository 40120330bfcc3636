"""Texts → vectors of one encoder, each text read once, a kill notwithstanding.

A champion's folder outlives the cycle: as long as the encoder stays, the next cycle reads new mail alone.
"""

import hashlib
import threading
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
# Blocks that are kept from cycle to cycle, the newest: 150 MB of vectors of 384 numbers.
_MOST_BLOCKS = 100


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
        self._unwritten: dict[bytes, Vectors] = {}
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        for path in _blocks(folder):
            with np.load(path, allow_pickle=False) as content:
                keys, vectors = content["keys"], content["vectors"]
            self._known |= {key.tobytes(): vector for key, vector in zip(keys, vectors, strict=True)}

    def encode_query(self, text: str) -> Vectors:
        """The vector of one email, as the encoder gives it."""
        key = _key(text)
        found = self._known.get(key)
        if found is None:
            found = self._encoder.encode_query(text)
            with self._lock:
                self._known[key] = self._unwritten[key] = found
                full = len(self._unwritten) >= _BLOCK
            if full:
                self.write()
        return found

    def write(self) -> None:
        """Keep what was read and is not kept yet."""
        with self._lock:
            block, self._unwritten = self._unwritten, {}
        if not block:
            return
        keys = np.stack([np.frombuffer(key, np.uint8) for key in block])
        path = self._folder / f"{hashlib.sha256(keys.tobytes()).hexdigest()[:16]}.npz"
        with path.with_suffix(".writing").open("wb") as file:
            np.savez(file, keys=keys, vectors=np.stack(list(block.values())))
        path.with_suffix(".writing").replace(path)
        for old in _blocks(self._folder)[:-_MOST_BLOCKS]:
            old.unlink(missing_ok=True)

    def unit(self, texts: Sequence[str], advance: Advance | None = None) -> Vectors:
        """Unit vectors (n, d) of emails, in order, those not known yet on all threads."""
        missing = [
            text for key, text in {_key(text): text for text in texts}.items() if key not in self._known
        ]
        self._read(missing, advance)
        self.write()
        vectors = np.stack([self._known[_key(text)] for text in texts])
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
        return unit

    def _read(self, texts: Sequence[str], advance: Advance | None) -> None:
        with ThreadPoolExecutor(self._threads, thread_name_prefix="mailroom") as pool:
            try:
                for number, _ in enumerate(pool.map(self.encode_query, texts), start=1):
                    if advance is not None:
                        advance(number, len(texts))
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def _blocks(folder: Path) -> list[Path]:
    """Oldest first."""
    return sorted(folder.glob("*.npz"), key=lambda path: (path.stat().st_mtime_ns, path.name))


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
