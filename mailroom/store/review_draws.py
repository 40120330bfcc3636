"""Emails that wait for a person's word, and who has been handed which: so that no two get the same one.

An email drawn for audit was drawn at random. It stays an audit until it is answered, whoever skips it or
walks away: a random sample that loses its hard members is none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mailroom.records import Prediction
from mailroom.store.database import Database
from mailroom.store.packing import id_digest, storable
from mailroom.store.prediction_reader import PredictionReader
from mailroom.store.rows import CHUNK, Names, insert_missing, select_in
from mailroom.store.schema import emails, feedback, names, predictions, review_draws

DrawKind = Literal["uncertain", "audit"]


@dataclass(frozen=True, slots=True)
class Draw:
    """An email that a reviewer is to be handed, and why."""

    email_id: str
    kind: DrawKind


class ReviewDraws:
    """What waits for review in one database; every process that shares it sees the same draws."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._names = Names()
        self._predictions = PredictionReader(database)

    def unsure(self, limit: int, marked: bool = True) -> list[Prediction]:
        """Answers on emails that wait for a word and are in nobody's hands.

        Those marked for review, the newest first; or (`marked` False) the others, the smallest margin first.
        """
        p = predictions.c
        newest = sa.select(sa.func.max(p.key)).where(p.email_key == emails.c.key).correlate(emails)
        waiting = (
            sa.select(p.key)
            .join(emails, p.email_key == emails.c.key)
            .where(p.key == newest.scalar_subquery(), _is_free(), ~_is_audit(), emails.c.text.is_not(None))
            .where(p.needs_review if marked else sa.not_(p.needs_review))
            .order_by(p.key.desc() if marked else p.margin)
            .limit(limit)
        )
        with self._database.read() as connection:
            keys = connection.execute(waiting).scalars().all()
            found = self._predictions.by_key(connection, keys)
        return [found[key] for key in keys]

    def audits(self, limit: int) -> list[Prediction]:
        """The newest answers on the next emails of the audit: first those drawn and not answered, then new.

        The order is that of the hash of the email's id: random, and nobody's choice.
        """
        p = predictions.c
        newest = sa.select(sa.func.max(p.key)).where(p.email_key == emails.c.key).correlate(emails)
        newest_key = newest.scalar_subquery()
        waiting = sa.select(newest_key).where(
            _is_free(), sa.exists().where(p.email_key == emails.c.key), emails.c.text.is_not(None)
        )
        with self._database.read() as connection:
            open_ones = _open_audits(connection)[:CHUNK]
            drawn = waiting.where(emails.c.key.in_(open_ones)).order_by(emails.c.id_digest).limit(limit)
            keys = list(connection.execute(drawn).scalars()) if open_ones else []
            fresh = waiting.where(~_is_audit()).order_by(emails.c.id_digest).limit(limit - len(keys))
            keys += connection.execute(fresh).scalars()
            found = self._predictions.by_key(connection, keys)
        return [found[key] for key in keys]

    def take(self, draws: Sequence[Draw], reviewer: str, lease: timedelta) -> list[Draw]:
        """Put emails into a reviewer's hands; returns those that nobody else took or answered meanwhile."""
        now = datetime.now(UTC)
        with self._database.write() as connection:
            name_keys = self._names.intern(connection, {storable(reviewer)})
            keys = _email_keys(connection, draws)
            free = _still_free(connection, list(keys.values()))
            taken = [draw for draw in draws if keys.get(draw.email_id) in free]
            rows = [
                {
                    "email_key": keys[draw.email_id],
                    "kind": draw.kind,
                    "reviewer_key": name_keys[storable(reviewer)],
                    "drawn_at": now,
                    "expires_at": now + lease,
                }
                for draw in taken
            ]
            insert_missing(connection, review_draws, rows, "email_key")
            _renew(connection, rows)
        self._names.remember(name_keys)
        return taken

    def give_back(self, email_ids: Sequence[str]) -> None:
        """Let others have what was not answered; an email drawn for audit stays one."""
        with self._database.write() as connection:
            found = select_in(
                connection, emails.c.id_digest, [id_digest(name) for name in email_ids], emails.c.key
            )
            open_draw = sa.and_(
                review_draws.c.email_key == sa.bindparam("email"), review_draws.c.answered_at.is_(None)
            )
            ended = sa.update(review_draws).where(open_draw).values(expires_at=datetime.now(UTC))
            if found:
                connection.execute(ended, [{"email": row.key} for row in found])

    def kinds_of(self, email_ids: Sequence[str]) -> dict[str, DrawKind]:
        """Why those of the emails were drawn that ever were, answered or not, by email id."""
        asked = {id_digest(email_id): email_id for email_id in email_ids}
        digests = list(asked)
        kinds: dict[str, DrawKind] = {}
        with self._database.read() as connection:
            for start in range(0, len(digests), CHUNK):
                statement = (
                    sa.select(emails.c.id_digest, review_draws.c.kind)
                    .join(review_draws, review_draws.c.email_key == emails.c.key)
                    .where(emails.c.id_digest.in_(digests[start : start + CHUNK]))
                )
                kinds |= {asked[row.id_digest]: row.kind for row in connection.execute(statement)}
        return kinds

    def in_hand(self) -> list[str]:
        """Ids of the emails that are in somebody's hands now."""
        d = review_draws.c
        held = (
            sa.select(emails.c.id)
            .join(emails, d.email_key == emails.c.key)
            .where(d.answered_at.is_(None), d.expires_at > datetime.now(UTC))
            .order_by(d.key)
        )
        with self._database.read() as connection:
            return list(connection.execute(held).scalars())

    def taken_by(self) -> dict[str, int]:
        """How many emails each reviewer has in hand now."""
        d = review_draws.c
        counted = (
            sa.select(names.c.name, sa.func.count().label("emails"))
            .join(names, d.reviewer_key == names.c.key)
            .where(d.answered_at.is_(None), d.expires_at > datetime.now(UTC))
            .group_by(names.c.name)
        )
        with self._database.read() as connection:
            return {row.name: row.emails for row in connection.execute(counted)}


def _is_free() -> sa.ColumnElement[bool]:
    """True of an email without a word that is in nobody's hands."""
    d = review_draws.c
    spoken = sa.exists().where(feedback.c.email_key == emails.c.key)
    held = sa.exists().where(d.email_key == emails.c.key, d.expires_at > datetime.now(UTC))
    return sa.and_(~spoken, ~held)


def _open_audits(connection: Connection) -> list[int]:
    """The keys of emails drawn for audit that wait for an answer, the longest waiting first."""
    d = review_draws.c
    found = sa.select(d.email_key).where(d.kind == "audit", d.answered_at.is_(None)).order_by(d.key)
    return list(connection.execute(found).scalars())


def _is_audit() -> sa.ColumnElement[bool]:
    return sa.exists().where(review_draws.c.email_key == emails.c.key, review_draws.c.kind == "audit")


def _email_keys(connection: Connection, draws: Sequence[Draw]) -> dict[str, int]:
    asked = {id_digest(draw.email_id): draw.email_id for draw in draws}
    rows = select_in(connection, emails.c.id_digest, list(asked), emails.c.key)
    return {asked[row.id_digest]: row.key for row in rows}


def _still_free(connection: Connection, email_keys: Sequence[int]) -> set[int]:
    free: set[int] = set()
    for start in range(0, len(email_keys), CHUNK):
        wanted = sa.select(emails.c.key).where(emails.c.key.in_(email_keys[start : start + CHUNK]))
        # In PostgreSQL another transaction may be taking the same ones; the second waits here, then looks.
        connection.execute(wanted.with_for_update()).all()
        free |= set(connection.execute(wanted.where(_is_free())).scalars())
    return free


def _renew(connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
    """Hand over draws that were there before; a kind may become audit, and never the other way."""
    d = review_draws.c
    now_audit = sa.case((d.kind == "audit", "audit"), else_=sa.bindparam("new_kind"))
    handed = (
        sa.update(review_draws)
        .where(d.email_key == sa.bindparam("email"))
        .values(
            kind=now_audit,
            reviewer_key=sa.bindparam("new_reviewer"),
            drawn_at=sa.bindparam("now"),
            expires_at=sa.bindparam("until"),
        )
    )
    if rows:
        connection.execute(
            handed,
            [
                {
                    "email": row["email_key"],
                    "new_kind": row["kind"],
                    "new_reviewer": row["reviewer_key"],
                    "now": row["drawn_at"],
                    "until": row["expires_at"],
                }
                for row in rows
            ],
        )
