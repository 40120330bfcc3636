"""MIME as bytes: header | body, multipart body → parts, transfer encodings → content.

The boundaries are searched here rather than by the standard library's feed parser, which takes time
that grows with depth × lines and recurses once a level. Never raises. Knows nothing of text.
"""

import binascii
import re
from collections.abc import Iterator

_BLANK_LINE = (b"\n\n", b"\n\r\n")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=\s]")
_WORDS_ON_A_LINE = re.compile(rb"[A-Za-z0-9+/=]+[ \t]+[A-Za-z0-9+/=]+[ \t]+[A-Za-z0-9+/=]")
_SOFT_BREAK_WITH_BLANKS = re.compile(rb"=[ \t]+(?=\r?\n)")
_GUESSED_BOUNDARY = re.compile(rb"(?:\A|\n)--([^\s-][^\r\n]{0,99}?)[ \t]*\r?\n(?=Content-)", re.IGNORECASE)
_NOT_IN_ALPHABET = bytes(byte for byte in range(256) if _NOT_BASE64.match(bytes([byte])))
_GUESS_BYTES = 64 * 1024
_UUENCODED_BYTES = 1_500_000
_CANDIDATES_A_PART = 10


def split_header(data: bytes) -> tuple[bytes, bytes]:
    """Header block and body, at the first blank line; without one everything is header."""
    if data.startswith((b"\n", b"\r\n")):
        return b"", data[1:] if data.startswith(b"\n") else data[2:]
    ends = [(at, len(blank)) for blank in _BLANK_LINE if (at := data.find(blank)) >= 0]
    if not ends:
        return data, b""
    at, width = min(ends)
    return data[: at + 1], data[at + width :]


def split_multipart(body: bytes, boundary: bytes, max_parts: int) -> Iterator[bytes]:
    """The parts between the lines `--boundary`; a missing last line is forgiven. At most `max_parts` + 1."""
    marker = b"\n--" + boundary
    start = -1
    at = 0 if body.startswith(marker[1:]) else body.find(marker) + 1
    found = 0
    for _ in range((max_parts + 1) * _CANDIDATES_A_PART):
        if at <= 0 and not (at == 0 and start < 0 and body.startswith(marker[1:])):
            break
        after = at + len(marker) - 1
        line_end = body.find(b"\n", after)
        line_end = len(body) if line_end < 0 else line_end
        tail = body[after : min(line_end, after + 80)].strip()
        if not tail or tail.startswith(b"--"):
            if start >= 0:
                yield _without_last_newline(body[start:at])
                found += 1
            start = -1 if tail.startswith(b"--") else line_end + 1
            if start < 0 or found > max_parts:
                return
        at = body.find(marker, after) + 1
    if start >= 0:
        yield body[start:]


def guess_boundary(body: bytes) -> bytes | None:
    """The boundary that a multipart body evidently uses, where the header names none or another."""
    found = _GUESSED_BOUNDARY.search(body[:_GUESS_BYTES])
    return found[1].rstrip() if found else None


def transfer_decode(body: bytes, encoding: str, max_bytes: int) -> tuple[bytes, str | None]:
    """Undo a Content-Transfer-Encoding; returns at most `max_bytes`, and a warning where it was broken."""
    encoding = encoding.split(";")[0].strip().lower()
    if encoding == "base64":
        return _decode_base64(body, max_bytes)
    if encoding == "quoted-printable":
        source = body[: max_bytes * 3]
        if b"= " in source or b"=\t" in source:
            source = _SOFT_BREAK_WITH_BLANKS.sub(b"=", source)
        return binascii.a2b_qp(source)[:max_bytes], None
    if encoding in ("x-uuencode", "uuencode", "x-uue", "uue"):
        return _decode_uuencode(body[:_UUENCODED_BYTES])[:max_bytes], None
    return body[:max_bytes], None


def _decode_base64(body: bytes, max_bytes: int) -> tuple[bytes, str | None]:
    source = body[: max_bytes * 4 // 3 + 1024]
    if _WORDS_ON_A_LINE.match(source.lstrip()):
        return body[:max_bytes], "text declared as base64 is none; read as it is"
    stray = _NOT_BASE64.search(source)
    if stray:
        # What follows base64 is a footer that a mailing list appended; it is no part of the text.
        line = max(source.rfind(b"\n", 0, stray.start()), 0)
        source = source[:line] if line else source.translate(None, _NOT_IN_ALPHABET)
    source = b"".join(source.split())
    letters = source.rstrip(b"=")
    missing = len(letters) % 4 == 1
    letters = letters[:-1] if missing else letters
    try:
        data = binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))
    except binascii.Error:
        data = b""
    whole = not missing and (len(source) % 4 == 0 or len(body) > len(source) * 2)
    return data[:max_bytes], None if whole else "base64 text was truncated"


def _decode_uuencode(body: bytes) -> bytes:
    lines = body.split(b"\n")
    starts = [number for number, line in enumerate(lines) if line.startswith(b"begin ")]
    pieces: list[bytes] = []
    for line in lines[starts[0] + 1 if starts else 0 :]:
        if line.strip() in (b"end", b"`"):
            break
        try:
            pieces.append(binascii.a2b_uu(line.rstrip(b"\r")))
        except binascii.Error:
            continue
    return b"".join(pieces)


def _without_last_newline(part: bytes) -> bytes:
    """The line break before a boundary belongs to the boundary (RFC 2046)."""
    if part.endswith(b"\r\n"):
        return part[:-2]
    return part[:-1] if part.endswith(b"\n") else part
