"""What a durable answer costs in each store: `python -m benchmarks.store_commit`.

As the service does it: one look-up whether the email is known, then a commit that it shares with others.
Time is CPU time an email, of this process and of the database server, so that it means something on a busy
machine; the round trips are those of one commit, counted in PostgreSQL's driver.
"""

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.load_service import POSTGRESQL, SQLITE, store_url
from benchmarks.log import LABELS, REVISION, entry
from mailroom.records import Email
from mailroom.store.database import Database, open_database
from mailroom.store.prediction_log import LogEntry, PredictionLog

EMAILS = 480
EMAILS_A_COMMIT = (1, 4, 16)
ROW = "{store:<11}{size:>9}{look_up:>14}{commit:>14}{trips:>8}{wall:>9}"


def main() -> None:
    """A line a store and size of commit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stores", type=lambda text: text.split(","), default=[SQLITE, POSTGRESQL])
    heads = {"look_up": "look-up ms", "commit": "commit ms", "trips": "trips", "wall": "wall ms"}
    print("CPU milliseconds an email: this process + the server")
    print(ROW.format(store="", size="a commit", **heads))
    for store in parser.parse_args().stores:
        with tempfile.TemporaryDirectory() as folder, store_url(store) as url:
            place = f"sqlite:///{folder}/mailroom.db" if store == SQLITE else url
            with open_database(place) as database, counted_trips() as trips:
                for size in EMAILS_A_COMMIT:
                    print(measure(database, store, size, trips), flush=True)


def measure(database: Database, store: str, size: int, trips: list[int]) -> str:
    """Look every email up, then commit them `size` at a time."""
    log = PredictionLog(database)
    log.register_taxonomy(REVISION, LABELS)
    log.append_once(entries(1, f"first-{size}"))
    found = entries(EMAILS, f"{size}")
    looked_up = cost(lambda: [log.known([one.email.id]) for one in found])
    trips[0] = 0
    committed = cost(
        lambda: [log.append_once(found[start : start + size]) for start in range(0, EMAILS, size)]
    )
    return ROW.format(
        store=store.partition(":")[0], size=size, look_up=spent(looked_up), commit=spent(committed),
        trips=f"{trips[0] * size / EMAILS:.0f}", wall=f"{looked_up[2] + committed[2]:.2f}",
    )  # fmt: skip


def entries(count: int, name: str) -> list[LogEntry]:
    """Short emails of ids of their own, with 20 candidates each."""
    rng = random.Random(count)
    emails = [
        Email(f"<{name}.{number}@example.org>", f"Subject {number}", "Some words of a body. " * 20, {},
              datetime.now(UTC))
        for number in range(count)
    ]  # fmt: skip
    made = [entry(email, rng) for email in emails]
    return [replace(one, prediction=replace(one.prediction, model="v1")) for one in made]


def cost(work: Callable[[], Any]) -> tuple[float, float, float]:
    """Milliseconds an email: CPU here, CPU of the server, and by the clock."""
    here, there, clock = time.process_time(), server_seconds(), time.perf_counter()
    work()
    taken = (time.process_time() - here, server_seconds() - there, time.perf_counter() - clock)
    here, there, clock = (1000 * seconds / EMAILS for seconds in taken)
    return here, there, clock


def spent(taken: tuple[float, float, float]) -> str:
    """This process's part and the server's."""
    return f"{taken[0]:.2f} + {taken[1]:.2f}"


def server_seconds() -> float:
    """CPU time of all processes called `postgres` on this machine."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text(encoding="utf-8").startswith("postgres"):
                fields = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        except OSError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def counted_trips() -> Iterator[list[int]]:
    """How often PostgreSQL's driver waits for the server, in the list's only place."""
    from pg8000.core import CoreConnection

    trips, wait = [0], CoreConnection.handle_messages

    def count(connection: CoreConnection, context: Any) -> None:
        trips[0] += 1
        wait(connection, context)

    CoreConnection.handle_messages = count
    try:
        yield trips
    finally:
        CoreConnection.handle_messages = wait


if __name__ == "__main__":
    main()
