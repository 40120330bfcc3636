"""A cycle's two stages and mail, labelled or not → the encoder again, taught by what both stages decide.

The teacher's shares come from the exported cross-encoder under the temperature that validation fitted. They
are kept in the cycle's folder before training begins, so that mail which comes meanwhile changes nothing.
"""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mailroom.cycle.desk import Desk
from mailroom.cycle.parts import Parts
from mailroom.cycle.setup import Advance, Answering, Setup
from mailroom.cycle.training import Report, Trained, exported, first_given, told
from mailroom.models.cross_encoder import load_cross_encoder
from mailroom.models.encoder_config import WEIGHTS_NAME
from mailroom.records import Email

if TYPE_CHECKING:
    from mailroom.train.bi_encoder import TaughtText
    from mailroom.train.distill import Scored

TAUGHT = "taught_bi_encoder"
# Texts that the teacher reads at most, labelled and unlabelled each.
MOST_TAUGHT = 2000
_EPOCHS = 3
_LEARNING_RATE = 5e-5


def distil_step(
    desk: Desk,
    answering: Answering,
    work: Path,
    two_stages: Setup,
    parts: Parts,
    unlabelled: Sequence[str],
    budget_s: float,
    seed: int,
    report: Report,
    advance: Advance,
) -> Trained:
    """Train the encoder of `two_stages` on within `budget_s`, drawn to what both stages decide; export it.

    ModelError where training breaks down.
    """
    from mailroom.train.bi_encoder import train_bi_encoder
    from mailroom.train.bi_encoder_settings import BiEncoderSettings
    from mailroom.train.label_texts import label_texts

    texts = [*(example.text for example in parts.train[:MOST_TAUGHT]), *unlabelled[:MOST_TAUGHT]]
    lessons = _lessons(desk, answering, work / "lessons.json", two_stages, texts, advance)
    defaults = BiEncoderSettings(text_kappa=parts.kappa)
    training = replace(
        defaults.training, epochs=_EPOCHS, learning_rate=_LEARNING_RATE, seed=seed, threads=desk.threads
    )
    result = train_bi_encoder(
        Path(two_stages.bi_encoder) / WEIGHTS_NAME,
        work / "taught_weights",
        parts.train,
        parts.validation,
        label_texts(desk.taxonomy),
        replace(defaults, training=training),
        work / "taught_checkpoint",
        lambda progress: report(*told("teaching the bi-encoder", progress)),
        first_given(work / "taught_budget.json", budget_s),
        lessons,
    )
    return exported(desk, work, TAUGHT, result, parts.train, report, {"lessons": len(lessons)})


def _lessons(
    desk: Desk, answering: Answering, path: Path, setup: Setup, texts: Sequence[str], advance: Advance
) -> list["TaughtText"]:
    """What the teacher says of the texts, taken up where an earlier run wrote it down."""
    from mailroom.train.bi_encoder import TaughtText
    from mailroom.train.distill import teach

    if not path.exists():
        teacher = load_cross_encoder(Path(setup.cross_encoder or ""), setup.cross_precision or "fp32")
        scored = _scored(desk, answering, setup, teacher.similarity_weight, texts, advance)
        taught = [asdict(lesson) for lesson in teach(scored, teacher.temperature)]
        fresh = path.with_suffix(".writing")
        fresh.write_text(json.dumps(taught), encoding="utf-8")
        fresh.replace(path)
    kept: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return [
        TaughtText(one["text"], tuple(one["labels"]), tuple(one["shares"]), one["weight"]) for one in kept
    ]


def _scored(
    desk: Desk,
    answering: Answering,
    setup: Setup,
    similarity_weight: float,
    texts: Sequence[str],
    advance: Advance,
) -> list["Scored"]:
    """The candidates that both stages saw, with the sums that rank them."""
    from mailroom.train.distill import Scored

    classify = answering.classifier(setup).classify
    emails = [Email(str(number), "", text) for number, text in enumerate(texts)]
    found = []
    with ThreadPoolExecutor(desk.threads, thread_name_prefix="mailroom") as pool:
        try:
            for text, prediction in zip(texts, pool.map(classify, emails), strict=True):
                sums = {
                    one.label: one.score + similarity_weight * one.similarity
                    for one in prediction.candidates
                    if one.score is not None
                }
                found.append(Scored(text, tuple(sums), np.array([*sums.values()], dtype=np.float32)))
                advance(len(found), len(texts))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return [one for one in found if one.labels]
