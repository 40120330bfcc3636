from datetime import UTC, datetime

from mailroom.store.database import Database
from mailroom.store.promotions import PromotionLog


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
