"""The raw corpora beside the checkout: nothing crashes, replies are cut at the right place."""

from pathlib import Path

import pytest

from benchmarks import mail_corpora as corpora

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(
        not (corpora.DATA / "mail_corpora" / "raw.tar.xz").is_file(), reason="the corpora are not here"
    ),
]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpora")


def test_replies_keep_own_text_and_lose_the_quoted(unpacked: Path) -> None:
    figures = corpora.check_replies(corpora.unpack("mail_corpora", unpacked), corpora.REPLIES)
    assert figures["whole"] == figures["fixtures"]
    assert figures["removed"] == figures["fixtures"]


def test_signatures_never_take_own_text(unpacked: Path) -> None:
    figures = corpora.check_replies(corpora.unpack("mail_corpora", unpacked), corpora.SIGNATURES)
    assert figures["whole"] == figures["fixtures"]
    assert figures["removed"] >= figures["fixtures"] - 2


def test_decoded_texts_match_mime4j(unpacked: Path) -> None:
    figures = corpora.compare_with_mime4j(corpora.unpack("mail_corpora", unpacked))
    assert figures["same"] >= 100
    assert figures["differs"] <= 2


@pytest.mark.slow
@pytest.mark.parametrize("name", corpora.CORPORA)
def test_no_message_crashes_or_takes_a_second(unpacked: Path, name: str) -> None:
    figures = corpora.measure_speed(corpora.unpack(name, unpacked))
    assert figures["crashes"] == 0
    assert figures["slowest_ms"] < 1000
    assert figures["messages"] > 600
