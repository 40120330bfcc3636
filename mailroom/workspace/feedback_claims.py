"""Rows of labelled history → claims: who says which label of which email, or why a row is of no use."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from mailroom.config import MailSettings
from mailroom.curate.content import content_key, content_words
from mailroom.errors import DataError
from mailroom.mail.read import read_email
from mailroom.mail.sources import Message
from mailroom.records import Email, Prediction
from mailroom.store.email_reader import EmailReader, StoredEmail
from mailroom.store.prediction_log import distinct_id
from mailroom.store.prediction_reader import PredictionReader
from mailroom.workspace.corrections import Corrections
from mailroom.workspace.feedback_rows import FeedbackRow
from mailroom.workspace.workspace import Workspace

Reason = Literal["unreadable", "label", "email", "time", "duplicate", "contradiction"]

# Clocks of two machines differ by less; a word said later than now would never be superseded.
_CLOCK_SKEW = timedelta(minutes=10)
_SHOWN_CHARS = 80
# Of two mails in a mailbox 99 in 100 share less of the shorter one's words (the helpdesk example), and copies
# of one mail nearly all.
_SAME_EMAIL_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row that was not taken, where it begins, and why; `values` is the row as it stood."""

    line: int
    reason: Reason
    problem: str
    values: Mapping[str, Any]


@dataclass(slots=True)
class Claim:
    """A row that says something of an email.

    `email` is given where the store lacks it; `content` is the key of what it says, "" where its text was not
    kept. `is_dated` where the row tells when it was said.
    """

    row: FeedbackRow
    label: str
    reviewer: str
    created_at: datetime
    is_dated: bool
    email_id: str = ""
    email: Email | None = None
    prediction: Prediction | None = None
    content: str = ""

    def refused(self, reason: Reason, problem: str) -> SetAside:
        """The row as one that is not taken."""
        return SetAside(self.row.line, reason, problem, self.row.values)


class _RefusedError(Exception):
    """A row is of no use."""

    def __init__(self, reason: Reason, problem: str) -> None:
        super().__init__(problem)
        self.reason: Reason = reason


class ClaimReader:
    """Reads rows with what one workspace knows: its labels, predictions and emails."""

    def __init__(self, workspace: Workspace, reviewer: str) -> None:
        self._limits, self._reviewer = workspace.settings.mail, reviewer
        self._corrections = Corrections(workspace)
        self._emails = EmailReader(workspace.database)
        self._predictions = PredictionReader(workspace.database)
        self._now = datetime.now(UTC)

    def read(self, rows: Sequence[FeedbackRow]) -> tuple[list[Claim], list[SetAside]]:
        """What the rows claim, their emails as the rows name them, and the rows that claim nothing usable."""
        named = [str(row.values["prediction_id"]) for row in rows if row.values.get("prediction_id")]
        predictions = self._predictions.by_id(named)
        claims: list[Claim] = []
        refused: list[SetAside] = []
        for row in rows:
            try:
                claims.append(self._claim(row, predictions))
            except _RefusedError as exc:
                refused.append(SetAside(row.line, exc.reason, str(exc), row.values))
        return claims, refused

    def place(self, claims: Sequence[Claim]) -> tuple[list[Claim], list[SetAside]]:
        """Give every claim the email of the store that it is about, or leave it its own, which is new."""
        found = self._emails.by_id(list({claim.email_id for claim in claims}))
        same = self._emails.ids_by_content({c.email.content_sha256 for c in claims if c.email is not None})
        placed: list[Claim] = []
        refused: list[SetAside] = []
        for claim in claims:
            try:
                _place(claim, found, same)
                placed.append(claim)
            except _RefusedError as exc:
                refused.append(claim.refused(exc.reason, str(exc)))
        self._find_predictions(placed)
        return placed, refused

    def _claim(self, row: FeedbackRow, predictions: Mapping[str, Prediction]) -> Claim:
        if row.problem is not None:
            raise _RefusedError("unreadable", row.problem)
        try:
            label = self._corrections.label(row.values["label"].strip())
        except DataError as exc:
            raise _RefusedError("label", str(exc)) from exc
        moment = _moment(row.values.get("created_at"), self._now)
        reviewer = str(row.values.get("reviewer") or self._reviewer)
        claim = Claim(row, label.id, reviewer, moment or self._now, moment is not None)
        self._name_email(claim, predictions)
        return claim

    def _name_email(self, claim: Claim, predictions: Mapping[str, Prediction]) -> None:
        values = claim.row.values
        if named := values.get("prediction_id"):
            claim.prediction = predictions.get(str(named))
            if claim.prediction is None:
                raise _RefusedError("email", f"prediction {str(named)[:_SHOWN_CHARS]!r} is not in the log")
            claim.email_id = claim.prediction.email_id
        elif any(values.get(key) for key in ("subject", "body", "text")):
            claim.email = _email(claim.row, self._limits)
            claim.email_id = claim.email.id
            if not claim.email.text:
                raise _RefusedError("email", "expected some text, found none after cleaning")
        else:
            claim.email_id = str(values.get("email_id") or values.get("id"))

    def _find_predictions(self, claims: Iterable[Claim]) -> None:
        """Where a row names an email of the store, it is the newest answer that it judges."""
        judging = [claim for claim in claims if claim.prediction is None and claim.email is None]
        newest = self._predictions.newest_of(list({claim.email_id for claim in judging}))
        for claim in judging:
            claim.prediction = newest.get(claim.email_id)


def _place(claim: Claim, found: Mapping[str, StoredEmail], same: Mapping[str, str]) -> None:
    stored = found.get(claim.email_id)
    if claim.email is None:
        if stored is None:
            shown = claim.email_id[:_SHOWN_CHARS]
            raise _RefusedError("email", f"email {shown!r} is not in the store, and the row has no text")
        claim.content = content_key(stored.text, fold_numbers=False) if stored.text else ""
        return
    claim.content = content_key(claim.email.text, fold_numbers=False)
    known = same.get(claim.email.content_sha256)
    if stored is not None and (claim.row.values.get("email_id") or _is_same_email(stored, claim.email)):
        claim.email = None
    elif known is not None:
        claim.email_id, claim.email = known, None
    elif stored is not None:
        # Row numbers of two files are alike; what they stand for is not.
        claim.email = replace(claim.email, id=distinct_id(claim.email))
        claim.email_id = claim.email.id


def _is_same_email(stored: StoredEmail, email: Email) -> bool:
    """Whether a row means the email that the store has under its id, or numbers rows as another file does.

    A row's text is often copied from a mail reader, with or without what cleaning takes out: one of the two
    holds most of the other's words.
    """
    if stored.content_sha256 == email.content_sha256:
        return True
    kept = stored.text or ""
    one, other = set(content_words(kept)), set(content_words(email.text[: len(kept)]))
    return bool(kept) and len(one & other) >= _SAME_EMAIL_SHARE * min(len(one), len(other))


def _email(row: FeedbackRow, limits: MailSettings) -> Email:
    """The email of a row with text, cleaned as mail is cleaned before the models read it.

    Without an id of its own it is known by its content, whatever label stands beside it.
    """
    email_id = row.values.get("email_id") or row.values.get("id")
    values = {key: row.values[key] for key in ("subject", "body", "text") if row.values.get(key)}
    metadata = row.values.get("metadata")
    if not isinstance(metadata, dict):
        metadata = {"thread_id": row.values.get("thread_id")}
    data = json.dumps({**values, "id": email_id, "metadata": metadata}).encode()
    email = read_email(Message(f"line {row.line}", "json", data, row.position_bytes, False), limits).email
    return email if email_id else replace(email, id=email.content_sha256)


def _moment(value: Any, now: datetime) -> datetime | None:
    """When a row was said; None where it does not tell."""
    if value in (None, ""):
        return None
    try:
        moment = datetime.fromisoformat(str(value).strip())
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        shown = str(value)[:40]
        expected = "an ISO time such as 2026-03-31T09:30:00Z"
        raise _RefusedError("time", f"created_at: expected {expected}, got {shown!r}") from exc
    if moment > now + _CLOCK_SKEW:
        raise _RefusedError("time", f"created_at: expected a time that has passed, got {moment.isoformat()}")
    return moment
