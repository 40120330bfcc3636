"""First bytes of a file → what kind of mail source it is, or why it is none.

Recognised by content alone: a suffix says what somebody hoped for. Knows nothing of reading messages.
"""

import re
from dataclasses import dataclass
from typing import Literal

HEAD_BYTES = 8192

Format = Literal["message", "mbox", "jsonl", "empty", "wrong"]

HEADER_LINE = re.compile(rb"[!-9;-~]{1,200}[ \t]*:")
_TIME_OF_DAY = re.compile(rb"\b\d\d?:\d\d\b")
_YEAR = re.compile(rb"\b(?:19|20)\d\d\b")
_ADDRESS_ONLY = re.compile(rb"From \S+@\S+\s*")
# Control bytes that no charset uses in text; ESC switches alphabets in ISO-2022-JP.
_CONTROLS = bytes(code for code in range(32) if code not in b"\t\n\r\f\b\x1b")
_MAX_CONTROL_SHARE = 0.03
_UTF8_BOM = b"\xef\xbb\xbf"

_EXPORT = "export it as .eml or mbox"
_UNPACK = "unpack it first, or pipe it in: `… | mailroom classify -`"
# (first bytes, what it is, what to do)
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89PNG\r\n", "a PNG image", "give a message, an mbox, a folder or JSON lines"),
    (b"\xff\xd8\xff", "a JPEG image", "give a message, an mbox, a folder or JSON lines"),
    (b"GIF8", "a GIF image", "give a message, an mbox, a folder or JSON lines"),
    (b"%PDF-", "a PDF document", "give the message it came with"),
    (b"{\\rtf", "an RTF document", "save it as plain text or .eml"),
    (b"\x1f\x8b", "gzip data", _UNPACK),
    (b"BZh", "bzip2 data", _UNPACK),
    (b"\xfd7zXZ\x00", "xz data", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "zstd data", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it first"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it first"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an OLE file (Outlook .msg, or old Office)", _EXPORT),
    (b"!BDN", "an Outlook .pst or .ost store", f"{_EXPORT}, for example with `readpst`"),
    (b"SQLite format 3\x00", "a SQLite database", "give the mailbox, not the database"),
    (b"\x7fELF", "a program", "give a message, an mbox, a folder or JSON lines"),
    (b"MZ\x90", "a Windows program", "give a message, an mbox, a folder or JSON lines"),
    (b"\x78\x9f\x3e\x22", "a TNEF part (winmail.dat)", "give the message it came with"),
    (b"\xff\xfe", "UTF-16 text", "save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text", "save it as UTF-8"),
)
# The first line of a table of mail: such cells, one of which holds the mail.
_DELIMITER = re.compile(rb"[,;\t|]")
_MAIL_COLUMNS = frozenset({b"subject", b"body", b"text"})
_COLUMN_NAMES = _MAIL_COLUMNS | {
    *(b"id", b"email_id", b"prediction_id", b"label", b"reviewer", b"created_at", b"date", b"from", b"to"),
    *(b"sender", b"category", b"path"),
}
_LABEL_TREE = re.compile(rb"labels:[ \t]*\r?\n[ \t]*-[ \t]")
# An office document is a zip whose first entries carry its name.
_ZIP_KINDS = ((b"xl/", "an Excel workbook (.xlsx)"), (b"word/", "a Word document (.docx)"))


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a source is; `problem` says what came and what to do where `format` is `wrong`."""

    format: Format
    problem: str | None = None


def recognise(head: bytes) -> Recognised:
    """Tell from the first `HEAD_BYTES` bytes how a source must be read."""
    problem = _wrong_file(head)
    if problem:
        return Recognised("wrong", problem)
    text = head.removeprefix(_UTF8_BOM).lstrip(b"\r\n\t ")
    if not text:
        return Recognised("empty")
    if text.startswith(b"From ") and is_separator(text.split(b"\n", 1)[0]):
        return Recognised("mbox")
    if text.startswith(b"{") and re.match(rb'\{\s*(?:"|\}|$)', text):
        return Recognised("jsonl")
    if re.match(rb"\[\s*(?:\{|\]|$)", text):
        return Recognised("wrong", "expected mail, got a JSON array; write one object a line (JSON lines)")
    problem = _other_input(text)
    return Recognised("wrong", problem) if problem else Recognised("message")


def is_separator(line: bytes) -> bool:
    """Whether `line` is an mbox "From " line: it holds a time and a year ("From here on …" has neither)."""
    if not line.startswith(b"From ") or len(line) > 500:
        return False
    dated = _TIME_OF_DAY.search(line) and _YEAR.search(line)
    return bool(dated or _ADDRESS_ONLY.fullmatch(line))


def _other_input(text: bytes) -> str | None:
    """What else mailroom reads, and who reads it; None for mail."""
    cells = {cell.strip(b" \t\r\"'").lower() for cell in _DELIMITER.split(text.split(b"\n", 1)[0])}
    if len(cells) > 1 and cells & _MAIL_COLUMNS and cells <= _COLUMN_NAMES:
        return (
            "expected mail, got a table (CSV); write its rows as JSON lines with `subject` and `body`, or "
            "give labelled ones to `mailroom feedback import`"
        )
    if _LABEL_TREE.match(text):
        return "expected mail, got a label tree; `mailroom init` and `mailroom taxonomy` read it"
    return None


def _wrong_file(head: bytes) -> str | None:
    if head.startswith(b"PK\x03\x04"):
        kind = next((name for mark, name in _ZIP_KINDS if mark in head), "a ZIP archive")
        advice = "unpack it first" if "ZIP" in kind else "export its rows as JSON lines"
        return f"expected mail, got {kind}; {advice}"
    for magic, kind, advice in _MAGIC:
        if head.startswith(magic):
            return f"expected mail, got {kind}; {advice}"
    # Mail with stray NUL bytes has headers all the same; data without any, and full of them, is no mail.
    controls = len(head) - len(head.translate(None, _CONTROLS))
    if controls > len(head) * _MAX_CONTROL_SHARE and not HEADER_LINE.match(head):
        return "expected mail, got binary data; give a message, an mbox, a folder or JSON lines"
    return None
