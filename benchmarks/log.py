"""Bytes and time that a prediction costs in the log, on newsgroup mail: `python -m benchmarks.log`.

Predictions carry 20 candidates drawn at random, with scores; emails get Message-IDs, senders and origins of
the usual length, since the corpus has none. The size is that of the file after the log was written back.
"""

import argparse
import json
import os
import random
import resource
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import sqlalchemy as sa
import uuid_utils

from mailroom.config import StoreSettings
from mailroom.records import Candidate, Email, Prediction
from mailroom.store.database import Database, open_database
from mailroom.store.log_query import LogFilter
from mailroom.store.prediction_log import LogEntry, PredictionLog

DATA = Path(os.environ.get("MAILROOM_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
LABELS = [(f"label-{i}", ("Group", f"Label {i}")) for i in range(50)]
REVISION = "0123456789ab"


def emails(path: Path) -> Iterator[Email]:
    """The corpus's texts under Message-IDs of the usual length."""
    rng = random.Random(1)
    with path.open(encoding="utf-8") as file:
        for row in map(json.loads, file):
            message_id = f"<{rng.randbytes(12).hex()}.{rng.randrange(10**10)}@mail.example.org>"
            metadata = {
                "from": f"Some Body {rng.randrange(10**4)} <some.body{rng.randrange(10**4)}@example.org>"
            }
            yield Email(message_id, row["subject"], row["body"], metadata, datetime.now(UTC))


def entry(email: Email, rng: random.Random) -> LogEntry:
    """A prediction with 20 candidates for one email."""
    chosen = rng.sample(LABELS, 20)
    candidates = tuple(Candidate(label, rng.random(), rng.gauss(0, 5), rng.random()) for label, _ in chosen)
    prediction = Prediction(
        id=str(uuid_utils.uuid7()),
        email_id=email.id,
        label=chosen[0][0],
        path=chosen[0][1],
        probability=rng.random(),
        margin=rng.random(),
        needs_review=rng.random() < 0.2,
        candidates=candidates,
        model="20261122-0123456789ab",
        taxonomy=REVISION,
        decided_by="cross-encoder",
        created_at=datetime.now(UTC),
        latency_ms={step: rng.random() for step in ("parse", "clean", "embed", "retrieve", "rerank")},
    )
    return LogEntry(prediction, email, f"Maildir/cur/{rng.randbytes(16).hex()}:2,S")


def fill(database: Database, entries: list[LogEntry], settings: StoreSettings) -> float:
    """Append in batches as the classifier does; seconds."""
    log = PredictionLog(database, settings)
    log.register_taxonomy(REVISION, LABELS)
    started = time.perf_counter()
    for start in range(0, len(entries), settings.commit_every_predictions):
        log.append(entries[start : start + settings.commit_every_predictions])
    return time.perf_counter() - started


def table_bytes(database: Database) -> dict[str, int]:
    """Bytes by table and index, where SQLite was built to tell."""
    query = sa.text("SELECT name, sum(pgsize) AS size FROM dbstat GROUP BY name ORDER BY 2 DESC")
    with database.engine.connect() as connection:
        try:
            return {row.name: row.size for row in connection.execute(query)}
        except sa.exc.OperationalError:
            return {}


def measure(folder: Path, title: str, entries: list[LogEntry], settings: StoreSettings) -> None:
    """Fill a log and print what it cost."""
    path = folder / f"{title.replace(' ', '-')}.db"
    url = sa.URL.create("sqlite", database=str(path))
    with open_database(url) as database:
        seconds = fill(database, entries, settings)
        sizes = table_bytes(database)
        reading = time.perf_counter()
        rows = sum(1 for _ in PredictionLog(database).query(LogFilter()))
        reading = time.perf_counter() - reading
    size, count = path.stat().st_size, len(entries)
    print(
        f"{title:<28} {size / count:7.0f} B each  "
        f"{count / seconds:7.0f} appended/s  {rows / reading:7.0f} read/s"
    )
    for name, part in sizes.items():
        if part / count >= 5:
            print(f"    {name:<40} {part / count:7.1f} B each")


def main() -> None:
    """Measure with and without the text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--corpus", type=Path, default=DATA / "20news" / "train.jsonl")
    parser.add_argument("--limit", type=int, default=None, help="emails; all by default")
    parser.add_argument("--folder", type=Path, default=None, help="where the databases are made")
    arguments = parser.parse_args()
    rng = random.Random(2)
    entries = [entry(email, rng) for email in islice(emails(arguments.corpus), arguments.limit)]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        print(f"{len(entries):,} emails of {arguments.corpus.parent.name}, 64 predictions a commit")
        measure(Path(folder), "with 4,000 characters", entries, StoreSettings())
        measure(Path(folder), "without text", entries, StoreSettings(keep_text=False))
        measure(Path(folder), "one a commit", entries[:1000], StoreSettings(commit_every_predictions=1))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
