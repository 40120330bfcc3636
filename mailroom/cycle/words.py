"""A cycle's label vectors and trained encoders → the same with words beside the cosine, where these help."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mailroom.cycle.budget import duration_words
from mailroom.cycle.desk import Desk
from mailroom.cycle.judge import LEAST_TO_CHOOSE
from mailroom.cycle.label_learning import word_lessons
from mailroom.cycle.parts import Parts
from mailroom.cycle.setup import Answering, Setup
from mailroom.cycle.unlabelled_mail import Vectors, weighed
from mailroom.models.lexical import LEXICAL_NAME, Lexical, load_lexical
from mailroom.models.lexical_learn import learn_lexical
from mailroom.models.lexical_weight import Judged, weight_beside

WITH_WORDS = "+words"
# What learning words is allowed for, beside a start: 15,000 texts of 150 labels take two to four minutes on
# one thread, cross-fitting included.
_LEAST_S, _SECONDS_A_TEXT = 15.0, 0.02


def words_step(
    desk: Desk,
    answering: Answering,
    work: Path,
    parts: Parts,
    setups: Sequence[Setup],
    left_s: float,
    seed: int,
    mail: Vectors | None = None,
) -> dict[str, Any]:
    """Learn words for each setup of `setups` that ranks by learned label vectors alone.

    `setups` has those with words, `heads` what each head came to. Skipped where it would take more than a
    third of the budget that is left, `left_s`.
    """
    found: list[dict[str, Any]] = []
    heads: dict[str, Any] = {}
    for setup in setups:
        if setup.kind != "retrieval":
            continue
        examples = parts.train if setup.uses_silver else parts.gold
        needed = _LEAST_S + _SECONDS_A_TEXT * len(examples)
        if needed > left_s / 3:
            return {"setups": found, "heads": heads, "skipped": _why_not(len(examples), needed, left_s)}
        texts = [example.text for example in examples]
        vectors = answering.embeddings(setup).unit(texts)
        head = learn_lexical(
            word_lessons(
                desk.label_ids,
                answering.text_vectors(setup),
                examples,
                vectors,
                seed,
                mail=weighed(mail, setup),
                known=parts.known,
            )
        )
        if head is None:
            continue
        heads[setup.name] = _figures(head)
        if head.weight > 0:
            made = _with_words(setup, head, work)
            found.append(made.to_dict())
    return {"setups": found, "heads": heads}


def words_beside_trained(
    desk: Desk, answering: Answering, work: Path, parts: Parts, learned: Setup, trained: Sequence[Setup]
) -> dict[str, Any]:
    """Put the head of `learned` beside trained encoders, counting as much as validation gold says.

    Where that is too little, as much as beside the encoder that was not trained.
    """
    head = load_lexical(Path(learned.lexical)) if learned.lexical is not None else None
    if head is None:
        return {"setups": [], "heads": {}}
    place = {label: row for row, label in enumerate(desk.label_ids)}
    texts = [example.text for example in parts.validation]
    enough = len(texts) >= LEAST_TO_CHOOSE
    words = head.for_labels(desk.label_ids).raw_scores(texts) if enough else None
    targets = np.array([place[example.label] for example in parts.validation], dtype=np.intp)
    weights = np.array([example.weight for example in parts.validation], dtype=np.float32)
    found, heads = [], {}
    for setup in trained:
        if setup.kind != "retrieval":
            continue
        weight = head.weight
        if words is not None:
            cosines = answering.embeddings(setup).unit(texts) @ answering.label_vectors(setup).T
            weight = weight_beside(Judged(cosines, words, targets, weights), head.neutral)
        heads[setup.name] = _figures(head.weighing(weight))
        if weight > 0:
            found.append(_with_words(setup, head.weighing(weight), work).to_dict())
    return {"setups": found, "heads": heads}


def _with_words(setup: Setup, head: Lexical, work: Path) -> Setup:
    name = setup.name + WITH_WORDS
    path = work / name / LEXICAL_NAME
    path.parent.mkdir(exist_ok=True)
    fresh = path.with_suffix(".writing")
    head.save(fresh)
    fresh.replace(path)
    return replace(setup, name=name, lexical=str(path))


def _figures(head: Lexical) -> dict[str, Any]:
    return {
        "weight": head.weight,
        "neutral": round(head.neutral, 4),
        "features": len(head.features),
        "weights": len(head.values),
    }


def _why_not(texts: int, needed: float, left_s: float) -> str:
    return (
        f"{texts:,} examples may take {duration_words(needed)}, more than a third of the "
        f"{duration_words(left_s)} that are left"
    )
