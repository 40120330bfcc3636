"""Mail that nobody labelled → its vectors, read once and kept until the cycle ends: labels learn from it."""

import time
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mailroom.cycle.embeddings import Embeddings
from mailroom.cycle.setup import Setup
from mailroom.models.unlabelled import Mail
from mailroom.store.examples import ExampleReader

Vectors = NDArray[np.float32]

_FILE = "mail.npy"
# The newest emails: more say nothing new of where labels lie, and each takes part in every fit.
_MOST_EMAILS = 20_000
# Emails that are read before the time is looked at again.
_BLOCK = 500


def read_mail(
    embeddings: Embeddings,
    reader: ExampleReader,
    without: Collection[str],
    allowed_s: float,
    work: Path,
    advance: Callable[[int, int], None],
) -> Vectors:
    """Unit vectors (m, d) of the newest unlabelled emails but `without`, as many as are read in the time.

    What an earlier run of the same cycle read stays what it was.
    """
    kept = kept_mail(work)
    if kept is not None:
        return kept
    ends = time.monotonic() + allowed_s
    texts = [email.text for email in reader.unlabelled(_MOST_EMAILS) if email.email_id not in without]
    blocks: list[Vectors] = []
    for start in range(0, len(texts), _BLOCK):
        if start and time.monotonic() > ends:
            break
        blocks.append(embeddings.unit(texts[start : start + _BLOCK]))
        advance(min(len(texts), start + _BLOCK), len(texts))
    vectors = np.concatenate(blocks) if blocks else np.empty((0, 0), dtype=np.float32)
    fresh = work / f"{_FILE}.writing"
    with fresh.open("wb") as file:
        np.save(file, vectors, allow_pickle=False)
    fresh.replace(work / _FILE)
    return vectors


def kept_mail(work: Path) -> Vectors | None:
    """What this cycle has read, if it has."""
    path = work / _FILE
    return np.load(path, allow_pickle=False) if path.exists() else None


def weighed(mail: Vectors | None, setup: Setup) -> Mail | None:
    """The mail as the setup's label vectors were drawn to it; None where they were not."""
    return Mail(mail, setup.mail_weight) if mail is not None and setup.mail_weight > 0 else None
