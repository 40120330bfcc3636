"""What a model answered to unlabelled mail → as much of it as an encoder has the time to be trained on."""

from collections.abc import Sequence
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


def affordable(
    source: Path, known: int, pseudo: Sequence[Example], epochs: int, budget_s: float, threads: int
) -> int:
    """How many of `pseudo` an encoder reads in `epochs` beside so many `known` examples, within the budget.

    None where fewer than the known ones would fit: they would be read less often for little.
    """
    if not pseudo:
        return 0
    texts = _SHARE * budget_s / (epochs * _READINGS * _seconds_a_text(source, pseudo, threads))
    count = min(len(pseudo), int(texts) - known)
    return count if count >= known else 0


def _seconds_a_text(source: Path, examples: Sequence[Example], threads: int) -> float:
    """What the encoder takes to read one of the emails as training reads them."""
    from mailroom.train.bi_encoder_settings import BiEncoderSettings
    from mailroom.train.text_encoder import seconds_a_text

    texts = [one.text for one in examples[:: max(1, len(examples) // _TIMED)][:_TIMED]]
    return seconds_a_text(source, texts, BiEncoderSettings().max_tokens, threads)
