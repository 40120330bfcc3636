"""Token ids of texts → the same with some words hidden, and which were: what a masked-word loss asks for.

Shares as in BERT (Devlin et al., NAACL 2019): of the words that are asked for 80 % are hidden, 10 % replaced
by any other and 10 % left. Draws belong to tokens, one after the other, so that padding changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mailroom.errors import ModelError
from mailroom.train.text_encoder import TextEncoder, TokenIds

MASKED_SHARE = 0.15
_HIDDEN, _REPLACED = 0.8, 0.1


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What may stand in a text: `embeddings` (V, e) of all tokens, the one that hides, and which are words.

    `words` (V,) is false at special tokens, which are never asked for and never put in.
    """

    embeddings: Tensor
    mask: int
    words: Tensor

    @classmethod
    def of(cls, encoder: TextEncoder, source: Path) -> "Vocabulary":
        """The encoder's; ModelError, led by `source`, where it cannot learn to say hidden words."""
        model, tokenizer = encoder.model[0].auto_model, encoder.model.tokenizer
        table = model.get_input_embeddings()
        weight = getattr(table, "weight", None)
        mask = tokenizer.mask_token_id
        if weight is None or mask is None or mask >= len(weight) or not _reads_both_ways(encoder):
            raise ModelError(
                f"{source}: expected an encoder with word embeddings and a token that hides a word, which "
                "reads to both sides, as BERT, RoBERTa, MPNet and ModernBERT do; a "
                f"{model.config.model_type!r} model cannot be adapted"
            )
        words = torch.ones(len(weight), dtype=torch.bool)
        words[[number for number in tokenizer.all_special_ids if number < len(weight)]] = False
        # Rows of the table that no token has are no words either.
        words[len(tokenizer) :] = False
        return cls(weight, int(mask), words)


@dataclass(frozen=True, slots=True)
class Masked:
    """Texts with hidden words: `asked` (tokens,) says which of all tokens, `truth` (n,) what stood there."""

    rows: tuple[TokenIds, ...]
    asked: Tensor
    truth: Tensor


@torch.no_grad()
def _reads_both_ways(encoder: TextEncoder) -> bool:
    """Whether what follows a token changes its state; else nothing behind a hidden word helps to say it."""
    text = encoder.email_ids("some words of a text")
    first, other = encoder.token_states([text, (*text[:-2], text[0], text[0])]).chunk(2)
    return not torch.equal(first[0], other[0])


def mask_words(
    rows: Sequence[TokenIds],
    vocabulary: Vocabulary,
    share: float = MASKED_SHARE,
    generator: torch.Generator | None = None,
) -> Masked:
    """Hide a share (0…1) of the words of all texts; without a generator torch's own draws."""
    tokens = torch.tensor([token for row in rows for token in row])
    asked = torch.rand(len(tokens), generator=generator) < share
    asked &= vocabulary.words[tokens]
    fate = torch.rand(len(tokens), generator=generator)
    # Any word of the vocabulary, each as likely.
    words = vocabulary.words.nonzero()[:, 0]
    others = words[torch.randint(len(words), (len(tokens),), generator=generator)]
    shown = torch.where(asked & (fate < _HIDDEN), torch.tensor(vocabulary.mask), tokens)
    replaced = asked & (fate >= _HIDDEN) & (fate < _HIDDEN + _REPLACED)
    shown = torch.where(replaced, others, shown)
    texts = torch.split(shown, [len(row) for row in rows])
    return Masked(tuple(tuple(text.tolist()) for text in texts), asked, tokens[asked])
