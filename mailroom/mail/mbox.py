"""An mbox as a binary stream → its raw messages, one at a time, in constant memory.

Reads mboxo, mboxrd, mboxcl and mboxcl2, with LF or CRLF: the "From " line must follow a blank line, carry a
time or an address, and stand before a header. A Content-Length is believed only if it ends at a separator.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

from mailroom.mail.recognise import HEADER_LINE, is_separator

LINE_BYTES = 64 * 1024
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)
_BLANK = (b"\n", b"\r\n", b"")


class LineReader:
    """Lines of a binary stream with a count of consumed bytes and pushback."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.position_bytes = 0
        self._pushed: list[bytes] = []
        self._seekable = stream.seekable()

    def readline(self) -> bytes:
        """The next line, in pieces of `LINE_BYTES` where it is longer; empty at the end."""
        line = self._pushed.pop() if self._pushed else self.stream.readline(LINE_BYTES)
        self.position_bytes += len(line)
        return line

    def push(self, line: bytes) -> None:
        """Give one line back, to be read again."""
        self._pushed.append(line)
        self.position_bytes -= len(line)

    def separator_after(self, count: int) -> bool:
        """Whether a "From " line or the end stands `count` bytes ahead; False where it cannot be known."""
        if not self._seekable or self._pushed or count <= 0:
            return False
        here = self.stream.tell()
        size = self.stream.seek(0, 2)
        self.stream.seek(min(here + count, size))
        ahead = self.stream.read(7)
        self.stream.seek(here)
        return here + count <= size and (not ahead.strip() or ahead.lstrip(b"\r\n").startswith(b"From "))


def split_mbox(lines: LineReader, max_bytes: int) -> Iterator[tuple[bytes, bool]]:
    """Yield (raw message, was it cut) in order; no more than `max_bytes` of a message are ever held."""
    line = lines.readline()
    while line and not line.startswith(b"From ") and line.strip(b"\xef\xbb\xbf\r\n\t ") == b"":
        line = lines.readline()
    while line:
        data, cut = _read_message(lines, max_bytes)
        yield data, cut
        line = lines.readline()


def _read_message(lines: LineReader, max_bytes: int) -> tuple[bytes, bool]:
    """Read up to the next separator, which is pushed back."""
    kept: list[bytes] = []
    size, cut = 0, False
    in_header, previous_blank, line_start = True, False, True
    trusted_end = -1
    while line := lines.readline():
        start = lines.position_bytes - len(line)
        if line_start and previous_blank and start >= trusted_end and _starts_message(lines, line):
            lines.push(line)
            break
        room = max_bytes - size
        if room > 0:
            kept.append(line[:room])
        cut = cut or len(line) > room
        size += len(line)
        if in_header and line in _BLANK:
            in_header = False
            trusted_end = _content_end(lines, b"".join(kept))
        previous_blank = line_start and line in _BLANK
        line_start = line.endswith(b"\n")
    data = b"".join(kept)
    return (_QUOTED_FROM.sub(rb"\1", data) if b">From " in data else data), cut


def _starts_message(lines: LineReader, line: bytes) -> bool:
    """Whether a "From " line separates: it looks like one, and a header (or the end) comes next."""
    if not is_separator(line):
        return False
    following = lines.readline()
    if following:
        lines.push(following)
    return not following or following.startswith((b">From ", b"From ")) or bool(HEADER_LINE.match(following))


def _content_end(lines: LineReader, header: bytes) -> int:
    """Where the body ends by a Content-Length that proves true, else −1."""
    match = re.search(rb"^content-length:[ \t]*(\d{1,12})[ \t]*\r?$", header, re.IGNORECASE | re.MULTILINE)
    if match and lines.separator_after(int(match[1])):
        return lines.position_bytes + int(match[1])
    return -1
