"""What a model answered to unlabelled mail → how much of it an encoder has the time to be trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mailroom.curate.silver import MOST_PSEUDO
from mailroom.cycle.parts import Parts
from mailroom.records import Example

# Texts that tell how long one takes.
_TIMED = 64
# A step of training beside one reading of a text: its gradient, and the labels' texts that it is ranked with.
_READINGS = 5.0
# Of the training time: the rest is for what the estimate does not know.
_SHARE = 0.8


def model_answered(parts: Parts, known: Sequence[Example], seed: int) -> list[Example]:
    """Pseudo-labelled emails and silver that is not `known`, at most MOST_PSEUDO, in random order."""
    taken = {one.email_id for one in known}
    silver = [one for one in parts.train if one.grade != "gold" and one.email_id not in taken]
    found = [*parts.pseudo, *silver]
    order = np.random.default_rng(seed).permutation(len(found))[:MOST_PSEUDO]
    return [found[row] for row in order.tolist()]


@dataclass(frozen=True, slots=True)
class Plan:
    """How many pseudo-labelled emails are read, and whether training begins `anew`.

    Anew is from the encoder that no cycle has trained yet: it knows no error of earlier champions.
    """

    pseudo: int
    anew: bool


def plan(
    source: Path,
    known: Sequence[Example],
    answered: Sequence[Example],
    budget_s: float,
    threads: int,
) -> Plan:
    """What there is time for, by how long the encoder in `source` takes to read some of the emails.

    Fewer pseudo-labelled ones than `known` are left out: those would be read less often for little. A
    training that cannot be done in full goes on from the champion's encoder instead.
    """
    from mailroom.train.bi_encoder_settings import EPOCHS_WITH_PSEUDO, epochs_for

    a_reading = _READINGS * _seconds_a_text(source, [*known, *answered], threads)
    readings = int(_SHARE * budget_s / a_reading)
    fit = min(len(answered), readings // EPOCHS_WITH_PSEUDO - len(known))
    pseudo = fit if fit >= len(known) else 0
    return Plan(pseudo, anew=pseudo > 0 or len(known) * epochs_for(len(known)) <= readings)


def _seconds_a_text(source: Path, examples: Sequence[Example], threads: int) -> float:
    """What the encoder takes to read one of the emails as training reads them."""
    from mailroom.train.bi_encoder_settings import BiEncoderSettings
    from mailroom.train.text_encoder import seconds_a_text

    texts = [one.text for one in examples[:: max(1, len(examples) // _TIMED)][:_TIMED]]
    return seconds_a_text(source, texts, BiEncoderSettings().max_tokens, threads)
