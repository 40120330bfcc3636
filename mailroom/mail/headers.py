"""A block of header bytes → a message object whose headers can be asked without fear.

The standard library's modern policy parses a header when it is read, and raises on dozens of malformed
ones; `LenientPolicy` hands out the unfolded source instead, and this module decodes it. Never raises.
"""

import binascii
import re
from datetime import UTC, datetime
from email.headerregistry import BaseHeader
from email.message import EmailMessage
from email.parser import HeaderParser
from email.policy import EmailPolicy
from email.utils import collapse_rfc2231_value, parsedate_to_datetime
from typing import Any

from mailroom.mail.charset import codec_name, decode

_VALUE_CHARS = 8192
_ID_CHARS = 250
_RESUMES = 5
# At most 1,000 characters a word: bounds the search where a header is full of opening marks.
_ENCODED_WORD = re.compile(r"=\?([\w.:+*'-]{1,60})\?([bBqQ])\?((?:[^?]|\?(?!=)){0,1000})\?=")
_BETWEEN_WORDS = re.compile(r"(\?=)[ \t\r\n]+(?==\?[\w.:+*'-]{1,60}\?[bBqQ]\?)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060\ufeff]+")
_HEADER_LINE = re.compile(r"[!-9;-~]{1,100}[ \t]*:")
_MESSAGE_ID = re.compile(r"<([^<>\s]{1,500})>")


class LenientPolicy(EmailPolicy):
    """The modern policy without parsing on access: a header is its source, unfolded."""

    def header_fetch_parse(self, name: str, value: str) -> Any:  # noqa: ARG002 - the base class calls it so
        """The header's source on one line; bytes beyond ASCII stay as latin-1 characters."""
        text = str(value) if isinstance(value, BaseHeader) else value
        return text[:_VALUE_CHARS].replace("\r", "").replace("\n", "")


_PARSER = HeaderParser(policy=LenientPolicy())


def parse_header(block: bytes) -> tuple[EmailMessage, bytes]:
    """Parse a header block; returns the message and what of the block was no header (it belongs to the body).

    A stray line between headers is skipped, as every mailer does; the standard library ends the header there.
    """
    # Latin-1 maps bytes to characters one to one; `_unescape` maps them back.
    source = block.decode("latin-1")
    message = _parse_once(source)
    rest = _payload(message)
    for _ in range(_RESUMES):
        if not rest.strip():
            return message, b""
        lines = rest.split("\n", 2)
        resumes = len(lines) > 1 and _HEADER_LINE.match(lines[1]) and len(message) > 0
        if not resumes:
            break
        more = _parse_once(rest.split("\n", 1)[1])
        for name, value in more.raw_items():
            message.set_raw(name, value)
        rest = _payload(more)
    return message, rest.encode("latin-1")


def text_header(message: EmailMessage, name: str) -> str:
    """A header as text: RFC 2047 words decoded, raw 8-bit read, control characters out; '' where missing."""
    raw = raw_header(message, name)
    if not raw:
        return ""
    return re.sub(r"\s+", " ", _CONTROL.sub(" ", decode_words(raw))).strip()


def raw_header(message: EmailMessage, name: str) -> str:
    """The first header of that name, unfolded and undecoded; '' where missing."""
    wanted = name.lower()
    for key, value in message.raw_items():
        if key.lower() == wanted:
            return str(value)[:_VALUE_CHARS].replace("\r", "").replace("\n", "").strip()
    return ""


def decode_words(raw: str) -> str:
    """Decode RFC 2047 words; neighbours of one charset are joined first: a letter may be split."""
    text = _unescape(raw)
    if "=?" not in text:
        return text
    text = _BETWEEN_WORDS.sub(r"\1", text)
    pieces: list[str] = []
    run, run_charset, end = b"", "", 0
    for word in _ENCODED_WORD.finditer(text):
        charset = word[1].split("*")[0].lower()
        if run and (word.start() > end or charset != run_charset):
            pieces.append(decode(run, run_charset))
            run = b""
        pieces.append(text[end : word.start()])
        run += _decode_word(word[2], word[3])
        run_charset, end = charset, word.end()
    pieces += [decode(run, run_charset) if run else "", text[end:]]
    return "".join(pieces)


def _decode_word(encoding: str, payload: str) -> bytes:
    data = payload.encode("ascii", "ignore")
    if encoding in "qQ":
        return binascii.a2b_qp(data, header=True)
    data = re.sub(rb"[^A-Za-z0-9+/]", b"", data)
    # Four letters make three bytes; a lone fifth one carries nothing.
    data = data[: len(data) - 1] if len(data) % 4 == 1 else data
    return binascii.a2b_base64(data + b"=" * (-len(data) % 4))


def message_ids(message: EmailMessage, name: str) -> list[str]:
    """The ids in a Message-ID, References or In-Reply-To header, without brackets, oldest first."""
    raw = _unescape(raw_header(message, name))
    found = _MESSAGE_ID.findall(raw)
    if not found and name.lower() == "message-id" and raw:
        found = [raw.strip("<> ")]
    return [clean for item in found if (clean := clean_id(item))]


def clean_id(text: str) -> str:
    """An identifier without white space and control characters, of at most 250 characters."""
    return re.sub(r"\s+", "", _CONTROL.sub("", text)).strip("<>")[:_ID_CHARS]


def date_header(message: EmailMessage) -> datetime | None:
    """The Date header as an aware UTC time; None where missing, unreadable or out of range."""
    raw = _unescape(raw_header(message, "date"))[:200]
    try:
        moment = parsedate_to_datetime(raw)
        # A date without zone means UTC (RFC 5322: `-0000`).
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError, AttributeError):
        return None


def parameter(message: EmailMessage, name: str, header: str = "content-type") -> str:
    """A parameter of a structured header, RFC 2231 and RFC 2047 decoded; '' where missing."""
    try:
        value = message.get_param(name, None, header=header)
        text = decode_words(value) if isinstance(value, str) else collapse_rfc2231_value(value or "")
    except (ValueError, TypeError, IndexError, LookupError, AttributeError):
        return ""
    return _CONTROL.sub(" ", text).strip(' "')[:_VALUE_CHARS]


def content_type(message: EmailMessage, default: str = "text/plain") -> str:
    """The media type in lower case; `default` where missing, `text/plain` where malformed (RFC 2045)."""
    raw = raw_header(message, "content-type")
    if not raw:
        return default
    found = re.match(r"\s*([\w.+-]{1,80})\s*/\s*([\w.+-]{1,80})", raw)
    if found:
        return f"{found[1]}/{found[2]}".lower()
    # Old mailers write the main type alone.
    return "text/html" if raw.lower().startswith(("html", "text/html")) else "text/plain"


def charset_of(message: EmailMessage) -> str | None:
    """The declared charset of a part, or None."""
    declared = parameter(message, "charset")
    return declared if codec_name(declared) else None


def _parse_once(source: str) -> EmailMessage:
    return _PARSER.parsestr(source)  # type: ignore[return-value]


def _payload(message: EmailMessage) -> str:
    payload = message.get_payload()
    return payload.replace("\r\n", "\n") if isinstance(payload, str) else ""


def _unescape(raw: str) -> str:
    """Raw bytes of a header (kept as latin-1 characters) → text."""
    return raw if raw.isascii() else decode(raw.encode("latin-1", "replace"), None)
