"""Taxonomy revisions → the assignable labels they had, in the order that logged candidates refer to."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mailroom.errors import StoreError
from mailroom.store import packing
from mailroom.store.database import Database
from mailroom.store.rows import insert_missing
from mailroom.store.schema import taxonomies


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The assignable labels of one taxonomy revision, in its order."""

    key: int
    ids: tuple[str, ...]
    paths: Mapping[str, tuple[str, ...]]
    ordinals: Mapping[str, int]


class LabelSets:
    """The label sets of one database, each loaded once; safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._loaded: dict[str, LabelSet] = {}

    def register(self, revision: str, labels: packing.LabelPaths) -> None:
        """Make a revision known with its assignable labels (id, path), in order; once is enough."""
        with self._database.read() as connection:
            if self._load(connection, revision) is not None:
                return
        row = {
            "revision": revision,
            "labels": packing.pack_labels(labels),
            "created_at": datetime.now(UTC),
        }
        with self._database.write() as connection:
            insert_missing(connection, taxonomies, [row], "revision")

    def get(self, connection: Connection, revision: str) -> LabelSet:
        """The labels of a registered revision; StoreError where it is not registered."""
        labels = self._loaded.get(revision) or self._load(connection, revision)
        if labels is None:
            raise StoreError(
                f"{self._database.place}: expected a registered taxonomy, got revision {revision!r}; "
                "register_taxonomy comes before append"
            )
        return labels

    def ever_known(self) -> set[str]:
        """The ids of all labels that any registered revision has had."""
        with self._database.read() as connection:
            packed = connection.execute(sa.select(taxonomies.c.labels)).scalars().all()
        return {label_id for labels in packed for label_id, _ in packing.unpack_labels(labels)}

    def _load(self, connection: Connection, revision: str) -> LabelSet | None:
        query = sa.select(taxonomies.c.key, taxonomies.c.labels).where(taxonomies.c.revision == revision)
        row = connection.execute(query).first()
        if row is None:
            return None
        labels = packing.unpack_labels(row.labels)
        ids = tuple(label_id for label_id, _ in labels)
        loaded = LabelSet(row.key, ids, dict(labels), {label_id: i for i, label_id in enumerate(ids)})
        self._loaded[revision] = loaded
        return loaded
