"""Many predictions at once, by row key, by id, by the end of an id, or the newest of each email."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from mailroom.records import Prediction
from mailroom.store.database import Database
from mailroom.store.label_sets import LabelSets
from mailroom.store.log_query import prediction_from_row, select_predictions
from mailroom.store.packing import id_digest
from mailroom.store.rows import CHUNK, select_in, uuid_bytes
from mailroom.store.schema import emails, predictions

# The digits at the end of a prediction's id by which people name it; the first ones are the time, and alike.
ENDING_DIGITS = 8


class PredictionReader:
    """The predictions of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._label_sets = LabelSets(database)

    def by_key(self, connection: Connection, keys: Sequence[int]) -> dict[int, Prediction]:
        """The predictions with these row keys."""
        found: dict[int, Prediction] = {}
        for start in range(0, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK]
            statement = select_predictions(predictions.c.key).where(predictions.c.key.in_(chunk))
            for row in connection.execute(statement):
                labels = self._label_sets.get(connection, row.taxonomy)
                found[row.key] = prediction_from_row(row, labels)
        return found

    def by_id(self, prediction_ids: Sequence[str]) -> dict[str, Prediction]:
        """Those of the predictions that are in the log, by the id as it was asked for."""
        asked = {key: text for text in prediction_ids if (key := uuid_bytes(text)) is not None}
        with self._database.read() as connection:
            rows = select_in(connection, predictions.c.id, list(asked), predictions.c.key)
            found = self.by_key(connection, [row.key for row in rows])
        return {asked[row.id]: found[row.key] for row in rows}

    def by_ending(self, ending: str) -> list[Prediction]:
        """The predictions whose ids end in these ENDING_DIGITS hexadecimal digits; mostly one, or none."""
        tail = bytes.fromhex(ending)
        statement = sa.select(predictions.c.key).where(
            sa.func.substr(predictions.c.id, 17 - len(tail)) == tail
        )
        with self._database.read() as connection:
            keys = connection.execute(statement.limit(CHUNK)).scalars().all()
            return list(self.by_key(connection, keys).values())

    def newest_of(self, email_ids: Sequence[str]) -> dict[str, Prediction]:
        """The newest prediction of every email that has one, by email id."""
        digests = [id_digest(email_id) for email_id in email_ids]
        newest = (
            sa.select(sa.func.max(predictions.c.key))
            .where(predictions.c.email_key == emails.c.key)
            .scalar_subquery()
        )
        with self._database.read() as connection:
            rows = select_in(connection, emails.c.id_digest, digests, newest.label("newest_key"))
            found = self.by_key(connection, [row.newest_key for row in rows if row.newest_key is not None])
        return {prediction.email_id: prediction for prediction in found.values()}
