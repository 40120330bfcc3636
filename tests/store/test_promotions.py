from datetime import UTC, datetime

import pytest

from mailroom.errors import PromotionRefused
from mailroom.store.database import Database
from mailroom.store.promotions import Promotion, PromotionLog, before_current


def test_no_version_is_current_before_the_first_promotion(database: Database) -> None:
    assert PromotionLog(database).current() is None


def test_the_last_promotion_is_in_force_and_none_is_forgotten(database: Database) -> None:
    promotions = PromotionLog(database)
    for version, reason in (("v0001-a", "made"), ("v0002-b", "better"), ("v0001-a", "rolled back")):
        promotions.promote(version, "ann", reason)
    assert PromotionLog(database).current() == "v0001-a"
    history = promotions.history()
    assert [(entry.version, entry.reason) for entry in history] == [
        ("v0001-a", "made"),
        ("v0002-b", "better"),
        ("v0001-a", "rolled back"),
    ]
    assert all(entry.promoted_by == "ann" for entry in history)
    assert all(entry.promoted_at <= datetime.now(UTC) for entry in history)


def test_a_version_replaces_the_one_it_was_compared_with_alone(database: Database) -> None:
    promotions = PromotionLog(database)
    promotions.promote("v0001-a", "ann", "made")
    promotions.promote("v0002-b", "cycle", "better", instead_of="v0001-a")
    with pytest.raises(PromotionRefused, match="v0003-c was to replace v0001-a, but v0002-b"):
        promotions.promote("v0003-c", "cycle", "better", instead_of="v0001-a")
    assert promotions.current() == "v0002-b"
    assert len(promotions.history()) == 2


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ("", None),
        ("a", None),
        ("ab", "a"),
        ("abc", "b"),
        ("abcb", "a"),
        ("abcba", None),
        ("abad", "a"),
        ("aba", None),
        ("abab", "a"),
        ("abb", "a"),
    ],
)
def test_a_rollback_goes_back_one_step_each_time(versions: str, expected: str | None) -> None:
    history = [Promotion(version, datetime.now(UTC), "ann", "") for version in versions]
    assert before_current(history) == expected
