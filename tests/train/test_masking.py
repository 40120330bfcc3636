"""Which words are hidden: the shares, and never a special token."""

from pathlib import Path

import pytest
import torch

from mailroom.train.masking import MASKED_SHARE, Vocabulary, mask_words
from mailroom.train.text_encoder import TextEncoder, TokenIds

SPECIAL = {0, 1, 2, 3}
MASK = 3
VOCABULARY = Vocabulary(torch.zeros(100, 4), MASK, torch.tensor([n not in SPECIAL for n in range(100)]))


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows_of(seed: int, count: int = 200) -> list[TokenIds]:
    generator = draw(seed)
    lengths = torch.randint(1, 40, (count,), generator=generator).tolist()
    return [(1, *torch.randint(4, 100, (n,), generator=generator).tolist(), 2) for n in lengths]


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_as_in_bert(seed: int) -> None:
    rows = rows_of(seed, 3000)
    before = torch.tensor([token for row in rows for token in row])
    masked = mask_words(rows, VOCABULARY, generator=draw(seed))
    after = torch.tensor([token for row in masked.rows for token in row])
    words = VOCABULARY.words[before]
    assert float(masked.asked.sum() / words.sum()) == pytest.approx(MASKED_SHARE, abs=0.01)
    asked_before, asked_after = before[masked.asked], after[masked.asked]
    assert torch.equal(asked_before, masked.truth)
    assert float((asked_after == MASK).float().mean()) == pytest.approx(0.8, abs=0.02)
    # One replacement in 96 is the word itself.
    assert float((asked_after == asked_before).float().mean()) == pytest.approx(0.1, abs=0.02)
    assert torch.equal(before[~masked.asked], after[~masked.asked])


@pytest.mark.parametrize("seed", range(5))
def test_special_tokens_are_neither_asked_for_nor_put_in(seed: int) -> None:
    rows = rows_of(seed)
    masked = mask_words(rows, VOCABULARY, 0.9, draw(seed))
    flat = [token for row in masked.rows for token in row]
    before = [token for row in rows for token in row]
    assert not any(asked and token in SPECIAL for asked, token in zip(masked.asked, before, strict=True))
    changed = [new for new, old in zip(flat, before, strict=True) if new != old]
    assert not (set(changed) & (SPECIAL - {MASK}))
    assert list(map(len, masked.rows)) == list(map(len, rows))


def test_what_follows_changes_nothing_of_what_is_drawn_for_a_text() -> None:
    first = rows_of(1, 1)
    alone = mask_words(first, VOCABULARY, generator=draw(3))
    again = mask_words(first, VOCABULARY, generator=draw(3))
    assert (alone.rows, alone.asked.tolist()) == (again.rows, again.asked.tolist())


def test_a_text_without_words_asks_for_none() -> None:
    masked = mask_words([(1, 2)], VOCABULARY, 0.9, draw(0))
    assert (masked.rows, len(masked.truth)) == (((1, 2),), 0)


def test_a_tokenizer_says_what_is_special(tmp_path: Path) -> None:
    from tests.models.tiny import make_bi_encoder

    make_bi_encoder(tmp_path, "bert", "mean")
    encoder = TextEncoder(tmp_path / "model", 24)
    vocabulary = Vocabulary.of(encoder, tmp_path)
    tokenizer = encoder.model.tokenizer
    assert not vocabulary.words[tokenizer.all_special_ids].any()
    assert int(vocabulary.words.sum()) == len(tokenizer) - 5
    assert vocabulary.mask == tokenizer.mask_token_id
