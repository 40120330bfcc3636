"""One raw `Message` → the `Email` that the models read, with what was taken out of it.

Message-ID, thread and date come from the headers; of a JSON row only the body is cleaned.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mailroom.config import MailSettings
from mailroom.errors import MailParseError
from mailroom.mail.clean import clean_sections, kept_text
from mailroom.mail.headers import clean_id, date_header, message_ids, text_header
from mailroom.mail.parse import Parsed, parse_message
from mailroom.mail.plain import normalise, plain_to_lines
from mailroom.mail.segments import Line, Section, Segment, asides, group
from mailroom.mail.sources import Message
from mailroom.records import Aside, Email

_SUBJECT_CHARS = 1000
_END_OF_HEADERS = re.compile(rb"\r?\n\r?\n")
_ADDRESS_CHARS = 500
_ROW_FIELDS = frozenset(("id", "subject", "body", "text", "metadata", "label", "received_at"))


@dataclass(frozen=True, slots=True)
class ReadEmail:
    """An email with its true label (JSON rows only), warnings, segments in order, and a row's other keys."""

    email: Email
    label: str | None
    warnings: tuple[str, ...]
    segments: tuple[Segment, ...]
    record: Mapping[str, Any]

    @property
    def asides(self) -> tuple[Aside, ...]:
        """What people see of the email and the models do not."""
        return asides(self.segments)


def read_email(message: Message, limits: MailSettings) -> ReadEmail:
    """Parse and clean one message; MailParseError only where the source said that it is unreadable."""
    if message.error:
        raise MailParseError(message.error)
    if message.kind == "json":
        return _read_row(message, limits)
    return _read_mail(message, limits)


def _read_mail(message: Message, limits: MailSettings) -> ReadEmail:
    parsed = parse_message(message.data, limits)
    warnings = list(parsed.warnings)
    if message.cut:
        warnings.insert(0, f"message was cut at {limits.max_message_bytes} bytes")
    lines, body, cut = _clean(parsed.sections, limits)
    metadata = _mail_metadata(parsed, message.data)
    if message.cut or parsed.cut or cut:
        metadata["cut"] = True
    ids = message_ids(parsed.header, "message-id")
    subject = text_header(parsed.header, "subject")[:_SUBJECT_CHARS]
    email = Email(
        id=ids[0] if ids else hashlib.sha256(message.data).hexdigest(),
        subject=subject,
        body=body,
        metadata=metadata,
        received_at=date_header(parsed.header),
        content_sha256=_content_sha256(subject, _raw_body(message.data)),
    )
    return ReadEmail(email, None, tuple(warnings), group(lines), {})


def _clean(sections: list[Section], limits: MailSettings) -> tuple[list[Line], str, bool]:
    lines, cut = clean_sections(sections, limits.max_text_chars)
    body = kept_text(lines)
    if cut or len(body) > limits.max_text_chars:
        # Marked, not warned of: no model reads that far, so a long text is nothing to act on.
        return lines, body[: limits.max_text_chars].rstrip(), True
    return lines, body, False


def _raw_body(data: bytes) -> bytes:
    """What stands below the headers, with line ends that do not depend on how the mail was exported."""
    end = _END_OF_HEADERS.search(data)
    return data[end.end() :].replace(b"\r\n", b"\n").strip() if end else b""


def _content_sha256(subject: str, body: bytes) -> str:
    return hashlib.sha256(subject.encode("utf-8", "surrogatepass") + b"\0" + body).hexdigest()


def _mail_metadata(parsed: Parsed, data: bytes) -> dict[str, Any]:
    header = parsed.header
    own = message_ids(header, "message-id")
    thread = message_ids(header, "references") or message_ids(header, "in-reply-to") or own
    date = date_header(header)
    return {
        "from": text_header(header, "from")[:_ADDRESS_CHARS],
        "to": text_header(header, "to")[:_ADDRESS_CHARS],
        "date": date.isoformat() if date else None,
        "list_id": clean_id(text_header(header, "list-id").rpartition("<")[2]) or None,
        "attachments": parsed.attachments,
        "thread_id": thread[0] if thread else hashlib.sha256(data).hexdigest(),
    }


def _read_row(message: Message, limits: MailSettings) -> ReadEmail:
    row = _parse_row(message)
    subject = " ".join(normalise(_as_text(row.get("subject"))).split())[:_SUBJECT_CHARS]
    source = _as_text(row.get("body", row.get("text")))
    given = row.get("metadata")
    metadata = {str(key): value for key, value in given.items()} if isinstance(given, dict) else {}
    warnings: list[str] = []
    if len(source) > limits.max_decoded_bytes:
        source = source[: limits.max_decoded_bytes]
        warnings.append(f"text was cut at {limits.max_decoded_bytes} bytes")
    section = Section(plain_to_lines(source), sender=_as_text(metadata.get("from")), subject=subject)
    lines, body, cut = _clean([section], limits)
    if cut or warnings:
        metadata["cut"] = True
    email = Email(
        id=clean_id(_as_text(row.get("id"))) or hashlib.sha256(message.data).hexdigest(),
        subject=subject,
        body=body,
        metadata=metadata,
        received_at=_moment(row.get("received_at") or metadata.get("date")),
        content_sha256=_content_sha256(subject, source.encode("utf-8", "surrogatepass")),
    )
    label = row.get("label")
    record = {key: value for key, value in row.items() if key not in _ROW_FIELDS}
    return ReadEmail(email, _as_text(label) or None, tuple(warnings), group(lines), record)


def _parse_row(message: Message) -> dict[str, Any]:
    try:
        row = json.loads(message.data.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as exc:
        raise MailParseError(f"{message.origin}: expected a JSON object, got text that is not JSON") from exc
    if not isinstance(row, dict):
        raise MailParseError(f"{message.origin}: expected a JSON object, got a JSON {type(row).__name__}")
    return row


def _as_text(value: Any) -> str:
    """A JSON value as text; surrogates that JSON may carry cannot be encoded, so they go."""
    if value is None or isinstance(value, (dict, list)):
        return ""
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _moment(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
