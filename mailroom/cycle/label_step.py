"""Gold, silver and unlabelled mail → the label vectors that a cycle tries; seconds, and no torch."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mailroom.cycle.desk import Desk
from mailroom.cycle.label_learning import choose_text_weight, learn_labels, weigh_mail
from mailroom.cycle.parts import Parts
from mailroom.cycle.setup import Advance, Answering, Setup
from mailroom.cycle.steps import MAIL_WEIGHT, TEXT_KAPPA, encoder_trained_in, reranked
from mailroom.cycle.unlabelled_mail import read_mail
from mailroom.models.prototypes import PROTOTYPES_NAME
from mailroom.models.text_weight import UNPROVEN_KAPPA
from mailroom.models.unlabelled import LEAST_JUDGED, Mail, may_teach
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
        self._parts = parts = replace(parts, kappa=self._kappa(texts, vectors))
        gold = [row for row, example in enumerate(parts.train) if example.grade == "gold"]
        found = [self._setup(LABELS_GOLD, texts, parts.gold, vectors[gold], uses_silver=False)]
        if len(gold) < len(parts.train):
            found.append(self._setup(LABELS_ALL, texts, parts.train, vectors, uses_silver=True))
        mail = self._mail(texts, vectors, mail_s, advance("reading unlabelled mail"))
        if mail.weight > 0 and self._draws_labels():
            found.append(self._setup(LABELS_MAIL, texts, parts.train, vectors, uses_silver=True, mail=mail))
        # Late interaction comes later, once words are known: its weight is chosen for each.
        if self._champion.cross_encoder is not None and not self._champion.late_weight:
            found += [reranked(setup, self._champion) for setup in list(found)]
        return {
            "setups": [setup.to_dict() for setup in found],
            "seconds_a_text": a_text,
            "kappa": parts.kappa,
            "mail": len(mail.vectors),
            "mail_weight": mail.weight,
        }

    def _kappa(self, texts: Vectors, vectors: Vectors) -> float:
        """What texts count behind an encoder that was trained on the examples.

        By gold that the champion's encoder was not trained on; what they did, where that cannot tell.
        """
        parts = self._parts
        before = float(self._desk.champion.manifest.trained_from.get(TEXT_KAPPA, UNPROVEN_KAPPA))
        return choose_text_weight(
            self._desk.label_ids, texts, parts.train, vectors, self._seed, parts.seen, before
        )

    def _mail(self, texts: Vectors, vectors: Vectors, allowed_s: float, advance: Advance) -> Mail:
        """Unlabelled mail, and what it should count beside gold and silver; none where it may not count.

        Where gold is too little to say, as much as it counts for the champion.
        """
        parts, desk = self._parts, self._desk
        trains = len(parts.gold) >= desk.settings.learning.train_from_gold
        if len(parts.gold) < LEAST_JUDGED or not (trains or self._draws_labels()):
            return Mail(np.empty((0, vectors.shape[1]), dtype=np.float32), 0.0)
        read = read_mail(
            self._answering.embeddings(self._champion),
            ExampleReader(desk.database),
            {example.email_id for example in parts.train},
            allowed_s,
            self._work,
            advance,
        )
        before = desk.champion.manifest.trained_from.get(MAIL_WEIGHT)
        weight = weigh_mail(
            desk.label_ids, texts, parts.train, vectors, read, self._seed, parts.known, before
        )
        return Mail(read, weight)

    def _draws_labels(self) -> bool:
        """Whether the champion's labels may be drawn to mail, or only those of a trained encoder."""
        few = may_teach(len(self._parts.gold), len(self._desk.label_ids))
        return few or encoder_trained_in(self._desk.champion) is not None

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
        kappa = self._parts.kappa if self._parts.seen else None
        learn_labels(self._desk.label_ids, texts, examples, vectors, path, self._seed, mail, kappa)
        return Setup(
            name,
            self._champion.bi_encoder,
            self._champion.bi_precision,
            str(path),
            uses_silver=uses_silver,
            mail_weight=mail.weight if mail is not None else 0.0,
        )
