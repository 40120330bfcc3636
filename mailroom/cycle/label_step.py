"""Gold, silver and unlabelled mail → the label vectors that a cycle tries; seconds, and no torch."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mailroom.cycle.desk import Desk
from mailroom.cycle.judge import Parts
from mailroom.cycle.label_learning import learn_labels, weigh_mail
from mailroom.cycle.setup import Advance, Answering, Setup
from mailroom.cycle.steps import reranked
from mailroom.cycle.unlabelled_mail import read_mail
from mailroom.models.prototypes import PROTOTYPES_NAME
from mailroom.models.unlabelled import Mail, may_teach
from mailroom.records import Example
from mailroom.store.examples import ExampleReader

LABELS_GOLD, LABELS_ALL = "label_vectors", "label_vectors_with_silver"
LABELS_MAIL = "label_vectors_with_mail"

Vectors = NDArray[np.float32]


class LabelStep:
    """Learns label vectors for one cycle's parts, behind the champion's encoder."""

    def __init__(
        self, desk: Desk, answering: Answering, work: Path, champion: Setup, parts: Parts, seed: int
    ) -> None:
        self._desk, self._answering, self._work = desk, answering, work
        self._champion, self._parts, self._seed = champion, parts, seed

    def run(self, mail_s: float, advance: Callable[[str], Advance]) -> dict[str, Any]:
        """Setups of gold, with silver, and drawn to mail, each with the champion's cross-encoder too.

        Reading unlabelled mail takes at most `mail_s`; `advance` names what progress is counted of.
        """
        parts, started = self._parts, time.monotonic()
        texts = self._answering.text_vectors(self._champion)
        embeddings = self._answering.embeddings(self._champion)
        vectors = embeddings.unit([one.text for one in parts.train], advance("reading the examples"))
        a_text = (time.monotonic() - started) / max(1, len(parts.train))
        gold = [row for row, example in enumerate(parts.train) if example.grade == "gold"]
        found = [self._setup(LABELS_GOLD, texts, parts.gold, vectors[gold], uses_silver=False)]
        if len(gold) < len(parts.train):
            found.append(self._setup(LABELS_ALL, texts, parts.train, vectors, uses_silver=True))
        mail = self._mail(texts, vectors, mail_s, advance("reading unlabelled mail"))
        if mail.weight > 0:
            found.append(self._setup(LABELS_MAIL, texts, parts.train, vectors, uses_silver=True, mail=mail))
        # Late interaction comes later, once words are known: its weight is chosen for each.
        if self._champion.cross_encoder is not None and not self._champion.late_weight:
            found += [reranked(setup, self._champion) for setup in list(found)]
        return {
            "setups": [setup.to_dict() for setup in found],
            "seconds_a_text": a_text,
            "mail": len(mail.vectors),
            "mail_weight": mail.weight,
        }

    def _mail(self, texts: Vectors, vectors: Vectors, allowed_s: float, advance: Advance) -> Mail:
        """Unlabelled mail, and what it should count beside gold and silver; none where it may not count."""
        parts = self._parts
        if not may_teach(len(parts.gold), len(self._desk.label_ids)):
            return Mail(np.empty((0, vectors.shape[1]), dtype=np.float32), 0.0)
        read = read_mail(
            self._answering.embeddings(self._champion),
            ExampleReader(self._desk.database),
            {example.email_id for example in parts.train},
            allowed_s,
            self._work,
            advance,
        )
        return weigh_mail(self._desk.label_ids, texts, parts.train, vectors, read, self._seed)

    def _setup(
        self,
        name: str,
        texts: Vectors,
        examples: Sequence[Example],
        vectors: Vectors,
        uses_silver: bool,
        mail: Mail | None = None,
    ) -> Setup:
        path = self._work / name / PROTOTYPES_NAME
        path.parent.mkdir(exist_ok=True)
        learn_labels(self._desk.label_ids, texts, examples, vectors, path, self._seed, mail)
        return Setup(
            name,
            self._champion.bi_encoder,
            self._champion.bi_precision,
            str(path),
            uses_silver=uses_silver,
            mail_weight=mail.weight if mail is not None else 0.0,
        )
