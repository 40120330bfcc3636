"""Reading a prefix gives the ids of the whole text, whatever the text and the tokenizer."""

import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Encoding, Tokenizer

pytest.importorskip("sentence_transformers")

from mailroom.errors import ModelError
from mailroom.models.tokens import PairTokenizer, TextTokenizer
from tests.models import tiny

FAMILIES = ["bert", "xlm-roberta", "roberta"]
_PIECES = [
    "parcel",
    "Grüße",
    "今日は",
    "a",
    "!!!",
    "\u0301",
    "\x1c",
    "\u200b",
    "[SEP]",
    "<mask>",
    "https://x.example/" * 3,
]
_BLANKS = [" ", "\n", "  ", "\t", "\r\n", "", "\u00a0", " \n \n"]


def long_text(seed: int) -> str:
    rng = random.Random(seed)
    pieces = [rng.choice(_PIECES) + rng.choice(_BLANKS) for _ in range(rng.randint(0, 400))]
    return "".join(pieces) + "word" * rng.choice([0, 1000])


@pytest.fixture(scope="module", params=FAMILIES)
def tokenizer_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tiny.make_tokenizer(request.param).backend_tokenizer.save(str(path))
    return path


def whole(path: Path, text: str, pair: str | None = None) -> Any:
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(tiny.MAX_TOKENS)
    return tokenizer.encode(text, pair)


def test_ids_of_a_long_text_are_those_of_the_whole_text(tokenizer_file: Path) -> None:
    tokenizer = TextTokenizer(tokenizer_file, tiny.MAX_TOKENS)
    for seed in range(300):
        text = long_text(seed)
        assert tokenizer.ids(text).tolist() == whole(tokenizer_file, text).ids, seed


def test_pairs_are_those_of_the_whole_texts(tokenizer_file: Path) -> None:
    tokenizer = PairTokenizer(tokenizer_file, tiny.MAX_TOKENS)
    for seed in range(12):
        text = long_text(seed)
        labels = ["", "delivery", long_text(seed + 1)[:200], "x " * 80]
        for label, encoding in zip(labels, tokenizer.encode_pairs(text, labels), strict=True):
            expected = whole(tokenizer_file, text, label)
            assert (encoding.ids, encoding.type_ids) == (expected.ids, expected.type_ids), (seed, label)


def test_only_the_beginning_of_a_long_text_is_read(
    tokenizer_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = TextTokenizer(tokenizer_file, tiny.MAX_TOKENS)
    read: list[int] = []
    inner = tokenizer._reader._encode

    def counted(text: str) -> Encoding:
        read.append(len(text))
        return inner(text)

    monkeypatch.setattr(tokenizer._reader, "_encode", counted)
    tokenizer.ids("where is my parcel, please? " * 1000)
    assert sum(read) < 2000


def test_a_lone_surrogate_is_read_as_a_question_mark(tokenizer_file: Path) -> None:
    tokenizer = TextTokenizer(tokenizer_file, tiny.MAX_TOKENS)
    assert tokenizer.ids("a\ud800b").tolist() == tokenizer.ids("a?b").tolist()


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        TextTokenizer(tmp_path / "tokenizer.json", 8)
