"""Runs of the learning loop: one at a time, each step's result kept, so that a killed one goes on.

Knows no step by name and no result by shape: results are JSON values.
"""

import json
import os
import socket
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
import uuid_utils
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from mailroom.errors import CycleBusyError, StoreError
from mailroom.store.database import Database
from mailroom.store.rows import uuid_bytes
from mailroom.store.schema import cycles

HEARTBEAT_SECONDS = 30.0
# A process that has not been heard of for so long is taken for dead, wherever it ran.
STALE_AFTER = timedelta(minutes=10)

# Owners of this process: its own pid says nothing about a cycle that an earlier process of that pid left.
_OWN: set[str] = set()


@dataclass(frozen=True, slots=True)
class Cycle:
    """One run of the loop as it stands: `steps` maps a step's name to its result, in the order of saving.

    `owner` names the process that runs it now, `takeovers` how often another one went on with it;
    `ended_at`, `outcome` and `summary` are None while it runs, `model` until it made a version.
    """

    id: str
    owner: str
    host: str
    pid: int
    started_at: datetime
    heartbeat_at: datetime
    takeovers: int
    steps: Mapping[str, Any]
    model: str | None
    ended_at: datetime | None
    outcome: str | None
    summary: str | None

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON-ready values, keyed by field name; times in ISO 8601 UTC."""
        return {
            "id": self.id,
            "host": self.host,
            "pid": self.pid,
            "started_at": _iso(self.started_at),
            "heartbeat_at": _iso(self.heartbeat_at),
            "takeovers": self.takeovers,
            "steps": dict(self.steps),
            "model": self.model,
            "ended_at": _iso(self.ended_at),
            "outcome": self.outcome,
            "summary": self.summary,
        }


class CycleLog:
    """The cycles of one database; every process and host that shares it sees the same one running."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self) -> Cycle:
        """Start a cycle, or go on with the one whose process died: its `steps` say how far it came.

        CycleBusyError while another process is at work. A process is dead when its host says so, or when it
        has given no sign of life for STALE_AFTER.
        """
        now = datetime.now(UTC)
        claim = {
            "owner": uuid.uuid4().hex,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "heartbeat_at": now,
        }
        with self._database.write() as connection:
            running = connection.execute(sa.select(cycles).where(cycles.c.running == 1)).first()
            if running is None:
                key = _insert(connection, claim, now)
            else:
                _refuse_living(running, now)
                key = _take_over(connection, running, claim)
            cycle = _cycle(connection.execute(sa.select(cycles).where(cycles.c.key == key)).one())
        _OWN.add(cycle.owner)
        return cycle

    def heartbeat(self, cycle: Cycle) -> None:
        """Say that the cycle's process lives; CycleBusyError where another process has taken it over."""
        self._update(cycle, {"heartbeat_at": datetime.now(UTC)})

    @contextmanager
    def kept_alive(self, cycle: Cycle, every_seconds: float = HEARTBEAT_SECONDS) -> Iterator[None]:
        """Send heartbeats from a thread while the body runs; a database that fails for a moment is borne."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(every_seconds):
                try:
                    self.heartbeat(cycle)
                except CycleBusyError:
                    return  # the body meets the same error at its next step
                except StoreError:
                    continue

        thread = threading.Thread(target=beat, name="cycle-heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def save_step(self, cycle: Cycle, step: str, result: Any, model: str | None = None) -> Cycle:
        """Keep a step's result (JSON-ready), durably; returns the cycle as it stands then.

        `model` names the model version that the cycle has made. CycleBusyError where another process has
        taken the cycle over.
        """
        steps = {**cycle.steps, step: result}
        values: dict[str, Any] = {"steps": _to_json(steps), "heartbeat_at": datetime.now(UTC)}
        if model is not None:
            values["model"] = model
        self._update(cycle, values)
        return self._reread(cycle)

    def finish(self, cycle: Cycle, outcome: str, summary: str) -> Cycle:
        """End the cycle, whatever came out: `outcome` is a word, `summary` a line for people."""
        now = datetime.now(UTC)
        ended = {"running": None, "heartbeat_at": now, "ended_at": now, "outcome": outcome}
        self._update(cycle, {**ended, "summary": summary})
        _OWN.discard(cycle.owner)
        return self._reread(cycle)

    def release(self, cycle: Cycle) -> None:
        """Leave the cycle unfinished for the next `begin`, which goes on with it at once."""
        self._update(cycle, {"heartbeat_at": datetime.fromtimestamp(0, UTC)})
        _OWN.discard(cycle.owner)

    def get(self, cycle_id: str) -> Cycle | None:
        """The cycle with this id, or None."""
        key = uuid_bytes(cycle_id)
        return None if key is None else self._first(sa.select(cycles).where(cycles.c.id == key))

    def running(self) -> Cycle | None:
        """The cycle that has not ended, its process alive or dead, or None."""
        return self._first(sa.select(cycles).where(cycles.c.running == 1))

    def history(self, limit: int | None = None) -> list[Cycle]:
        """The cycles, the newest first."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(cycles).order_by(cycles.c.key.desc()).limit(limit)).all()
        return [_cycle(row) for row in rows]

    def _first(self, statement: sa.Select[Any]) -> Cycle | None:
        with self._database.read() as connection:
            row = connection.execute(statement).first()
        return None if row is None else _cycle(row)

    def _reread(self, cycle: Cycle) -> Cycle:
        found = self.get(cycle.id)
        if found is None:
            raise StoreError(f"{self._database.place}: expected cycle {cycle.id}, found none")
        return found

    def _update(self, cycle: Cycle, values: Mapping[str, Any]) -> None:
        own = sa.and_(cycles.c.id == uuid_bytes(cycle.id), cycles.c.owner == cycle.owner)
        with self._database.write() as connection:
            done = connection.execute(sa.update(cycles).where(own, cycles.c.running == 1).values(**values))
            if done.rowcount != 1:
                raise CycleBusyError(
                    f"expected to be the process that runs cycle {cycle.id}, but it has ended or another "
                    "process has taken it over; nothing was written"
                )


def _insert(connection: Connection, claim: Mapping[str, Any], now: datetime) -> int:
    row = {
        **claim,
        "id": uuid.UUID(str(uuid_utils.uuid7())).bytes,
        "running": 1,
        "started_at": now,
        "takeovers": 0,
        "steps": "{}",
    }
    try:
        made = connection.execute(sa.insert(cycles).returning(cycles.c.key), row)
        key: int = made.scalar_one()
    except IntegrityError as exc:
        raise CycleBusyError("another process has just begun a learning cycle; wait for it to end") from exc
    return key


def _take_over(connection: Connection, running: Any, claim: Mapping[str, Any]) -> int:
    same = sa.and_(cycles.c.key == running.key, cycles.c.owner == running.owner)
    done = connection.execute(sa.update(cycles).where(same).values(**claim, takeovers=running.takeovers + 1))
    if done.rowcount != 1:
        raise CycleBusyError("another process has just gone on with the learning cycle; wait for it to end")
    key: int = running.key
    return key


def _refuse_living(running: Any, now: datetime) -> None:
    silent = now - running.heartbeat_at
    if silent < STALE_AFTER and _may_live(running):
        raise CycleBusyError(
            f"a learning cycle has been running since {_iso(running.started_at)} "
            f"(host {running.host}, process {running.pid}); wait for it to end, or end that process"
        )


def _may_live(running: Any) -> bool:
    if running.host != socket.gethostname():
        return True
    if running.pid == os.getpid():
        return running.owner in _OWN
    try:
        os.kill(running.pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _cycle(row: Any) -> Cycle:
    return Cycle(
        id=str(uuid.UUID(bytes=row.id)),
        owner=row.owner,
        host=row.host,
        pid=row.pid,
        started_at=row.started_at,
        heartbeat_at=row.heartbeat_at,
        takeovers=row.takeovers,
        steps=json.loads(row.steps),
        model=row.model,
        ended_at=row.ended_at,
        outcome=row.outcome,
        summary=row.summary,
    )


def _to_json(steps: Mapping[str, Any]) -> str:
    try:
        return json.dumps(steps, allow_nan=False)
    except (TypeError, ValueError) as exc:
        raise StoreError(f"expected a step's result as JSON values, got: {exc}") from exc


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")
