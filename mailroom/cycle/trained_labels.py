"""A trained encoder, labelled and unlabelled mail → its label vectors once more, drawn to the mail.

How much the mail counts was chosen behind the champion's encoder, by gold that the labels did not learn from;
behind the trained one no training gold is left that could choose. Nor could it say what the labels' texts
count (κ), which was chosen before.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mailroom.cycle.desk import Desk
from mailroom.cycle.label_learning import learn_labels
from mailroom.cycle.parts import Parts
from mailroom.cycle.setup import Advance, Answering, Setup
from mailroom.cycle.unlabelled_mail import read_mail
from mailroom.models.prototypes import PROTOTYPES_NAME
from mailroom.models.unlabelled import Mail
from mailroom.store.examples import ExampleReader

WITH_MAIL = "_with_mail"


def mail_beside_trained(
    desk: Desk,
    answering: Answering,
    work: Path,
    parts: Parts,
    trained: Sequence[Setup],
    weight: float,
    emails: int,
    allowed_s: float,
    seed: int,
    advance: Advance,
) -> dict[str, Any]:
    """Each setup of `trained` that decides by retrieval, its labels learned anew and drawn to the mail.

    `weight` is what each of so many unlabelled `emails` counts; the trained encoders read for at most
    `allowed_s` each, and what they read stands for the rest.
    """
    found, read = [], 0
    for setup in trained:
        if setup.kind != "retrieval":
            continue
        embeddings, folder = answering.embeddings(setup), work / (setup.name + WITH_MAIL)
        folder.mkdir(exist_ok=True)
        known = {example.email_id for example in parts.train}
        vectors = read_mail(embeddings, ExampleReader(desk.database), known, allowed_s, folder, advance)
        read += len(vectors)
        if not len(vectors):
            continue
        path = folder / PROTOTYPES_NAME
        learn_labels(
            desk.label_ids,
            answering.text_vectors(setup),
            parts.train,
            embeddings.unit([example.text for example in parts.train]),
            path,
            seed,
            Mail(vectors, weight).standing_for(emails),
            parts.kappa,
        )
        made = replace(
            setup,
            name=setup.name + WITH_MAIL,
            prototypes=str(path),
            uses_silver=True,
            mail_weight=weight,
        )
        found.append(made.to_dict())
    return {"setups": found, "mail": read}
