from datetime import timedelta

import pytest
import sqlalchemy as sa

from mailroom.errors import ConfigError
from mailroom.store.audit import AuditLog
from mailroom.store.database import Database
from mailroom.store.keys import ApiKeys
from mailroom.store.promotions import PromotionLog
from mailroom.store.schema import api_keys, web_sessions

HOUR = timedelta(hours=1)


@pytest.fixture
def keys(database: Database) -> ApiKeys:
    return ApiKeys(database)


def test_a_key_is_found_by_its_token_alone(keys: ApiKeys) -> None:
    key, token = keys.create("ann", {"review"}, "root")
    assert keys.find(token) == key
    for wrong in ("", token[:-1], token[:-1] + ("A" if token[-1] != "A" else "B"), f"mr_{key.id}_", "mr_x_y"):
        assert keys.find(wrong) is None


def test_the_store_holds_nothing_that_opens_the_door(keys: ApiKeys, database: Database) -> None:
    _, token = keys.create("ann", {"admin"}, "root")
    begun = keys.log_in(token, HOUR)
    assert begun is not None
    with database.read() as connection:
        held = repr([connection.execute(sa.select(table)).all() for table in (api_keys, web_sessions)])
    # The secret may hold underscores of its own.
    assert token.split("_", 2)[2] not in held
    assert begun[1] not in held


@pytest.mark.parametrize(
    ("scopes", "may"),
    [({"classify"}, {"classify"}), ({"review", "classify"}, {"review", "classify"}),
     ({"admin"}, {"classify", "review", "admin"})],
)  # fmt: skip
def test_scopes_say_what_a_key_may_do_and_admin_may_do_all(
    keys: ApiKeys, scopes: set[str], may: set[str]
) -> None:
    key, _ = keys.create("ann", scopes, "root")
    assert {scope for scope in ("classify", "review", "admin") if key.allows(scope)} == may


@pytest.mark.parametrize(
    ("name", "scopes"), [("", {"admin"}), ("x" * 101, {"admin"}), ("a", set()), ("a", {"root"})]
)
def test_an_unusable_key_is_refused(keys: ApiKeys, name: str, scopes: set[str]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        keys.create(name, scopes, "root")
    assert not keys.any()


def test_two_active_keys_never_share_a_name_that_feedback_is_kept_under(keys: ApiKeys) -> None:
    key, _ = keys.create("ann", {"review"}, "root")
    with pytest.raises(ConfigError, match="no active key has"):
        keys.create(" ann ", {"review"}, "root")
    keys.revoke(key.id, "root")
    keys.create("ann", {"review"}, "root")


def test_a_revoked_key_and_its_sessions_are_dead_at_once_and_stay_listed(keys: ApiKeys) -> None:
    key, token = keys.create("ann", {"review"}, "root")
    begun = keys.log_in(token, HOUR)
    assert begun is not None
    assert keys.of_session(begun[1]) == key
    keys.revoke(key.id, "root")
    assert keys.find(token) is None
    assert keys.of_session(begun[1]) is None
    assert keys.log_in(token, HOUR) is None
    assert [listed.id for listed in keys.all()] == [key.id]
    assert keys.any()
    with pytest.raises(ConfigError, match="revoked key"):
        keys.revoke(key.id, "root")


def test_a_session_ends_by_time_and_by_logging_out(keys: ApiKeys) -> None:
    _, token = keys.create("ann", {"review"}, "root")
    over, fresh = keys.log_in(token, -HOUR), keys.log_in(token, HOUR)
    assert over is not None
    assert fresh is not None
    assert keys.of_session(over[1]) is None
    assert keys.of_session(fresh[1]) is not None
    keys.log_out(fresh[1])
    assert keys.of_session(fresh[1]) is None


def test_every_change_is_in_the_audit_log_with_who_made_it(keys: ApiKeys, database: Database) -> None:
    key, token = keys.create("ann", {"review"}, "root")
    keys.log_in(token, HOUR)
    PromotionLog(database).promote("v0002-aaaaaaaa", "eve", "better")
    keys.revoke(key.id, "bob")
    entries = [(entry.action, entry.actor, entry.target) for entry in AuditLog(database).entries()]
    assert entries == [
        ("key.revoke", "bob", key.id),
        ("model.promote", "eve", "v0002-aaaaaaaa"),
        ("session.begin", "ann", key.id),
        ("key.create", "root", key.id),
    ]
    assert token not in repr(AuditLog(database).entries())
    assert len(AuditLog(database).entries(limit=2)) == 2
