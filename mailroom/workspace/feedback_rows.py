"""A file of labelled history (JSON lines or CSV) → rows with their line numbers, whatever is wrong with some.

Knows what a row may hold, and nothing of taxonomy and store.
"""

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from mailroom.errors import DataError
from mailroom.mail.charset import decode

MAX_ROW_BYTES = 25 * 1024 * 1024

# The keys a row may have; whatever else it has is left alone.
KEYS = (
    "prediction_id", "email_id", "id", "subject", "body", "text", "label", "reviewer", "created_at"
)  # fmt: skip
_TARGETS = ("prediction_id", "email_id", "id", "subject", "body", "text")
_BOM = b"\xef\xbb\xbf"
_DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """One row: `line` is where it begins, counted from 1; `position_bytes` what of the file was read with it.

    `problem` says why it cannot be read; `values` is then what could be read of it.
    """

    line: int
    position_bytes: int
    values: Mapping[str, Any]
    problem: str | None = None


def read_rows(path: Path | Literal["-"]) -> Iterator[FeedbackRow]:
    """Yield every row of a file; `-` is standard input. DataError where the file as a whole is unusable."""
    if path == "-":
        yield from _rows(_Counted(sys.stdin.buffer), "standard input")
        return
    if path.is_dir():
        raise DataError(f"{path}: expected a file of labelled emails, got a folder")
    try:
        with path.open("rb") as stream:
            yield from _rows(_Counted(stream), str(path))
    except OSError as exc:
        raise DataError(f"{path}: cannot be read: {exc.strerror}") from exc


class _Counted:
    """Lines of a stream as bytes, with how many bytes were read; longer ones come in pieces."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.position_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        while line := self._stream.readline(MAX_ROW_BYTES + 1):
            self.position_bytes += len(line)
            yield line


def _rows(lines: _Counted, place: str) -> Iterator[FeedbackRow]:
    stream = enumerate(lines, 1)
    for number, line in stream:
        line = line.removeprefix(_BOM) if number == 1 else line
        if not line.strip():
            continue
        if b"\0" in line[:4096]:
            raise DataError(f"{place}: expected JSON lines or CSV as UTF-8 text, got binary data or UTF-16")
        if line.lstrip().startswith(b"["):
            raise DataError(
                f"{place}: expected one JSON object a line, got an array; write it with `jq -c '.[]'`"
            )
        if line.lstrip().startswith(b"{"):
            yield _json_row(line, number, lines.position_bytes)
            yield from _json_rows(stream, lines)
        else:
            yield from _csv_rows(line, number, stream, lines, place)


def _json_rows(stream: Iterator[tuple[int, bytes]], lines: _Counted) -> Iterator[FeedbackRow]:
    for number, line in stream:
        if line.strip():
            yield _json_row(line, number, lines.position_bytes)


def _json_row(line: bytes, number: int, position: int) -> FeedbackRow:
    if len(line) > MAX_ROW_BYTES:
        return FeedbackRow(number, position, {}, f"expected a row of at most {MAX_ROW_BYTES} bytes, got more")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return FeedbackRow(number, position, {}, "expected one JSON object a line, got text that is not JSON")
    if not isinstance(value, dict):
        problem = f"expected a JSON object, got a JSON {type(value).__name__}"
        return FeedbackRow(number, position, {}, problem)
    return FeedbackRow(number, position, value, _missing(value))


def _csv_rows(
    header: bytes, header_line: int, stream: Iterator[tuple[int, bytes]], lines: _Counted, place: str
) -> Iterator[FeedbackRow]:
    head = decode(header, None)
    delimiter = max(_DELIMITERS, key=head.count)
    names = [name.strip().lower() for name in next(csv.reader(io.StringIO(head), delimiter=delimiter))]
    _check_header(names, place)
    csv.field_size_limit(MAX_ROW_BYTES)
    # Excel writes the charset of the country where it does not write UTF-8; a line tells which.
    # Strict: a quote that is never closed would otherwise take the rest of the file for one text.
    reader = csv.reader((decode(line, None) for _, line in stream), delimiter=delimiter, strict=True)
    before = 0
    while True:
        line = header_line + before + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            before = reader.line_num
            upto = header_line + before
            expected = f"expected CSV up to line {upto}, got: {exc}; is a quote in a text not doubled?"
            yield FeedbackRow(line, lines.position_bytes, {}, expected)
            continue
        before = reader.line_num
        if not any(cell.strip() for cell in cells):
            continue
        values = dict(zip(names, cells, strict=False))
        problem: str | None = _missing(values)
        if len(cells) != len(names):
            unquoted = f"; is a text with {delimiter!r} unquoted?" if len(cells) > len(names) else ""
            problem = f"expected {len(names)} cells, got {len(cells)}{unquoted}"
        yield FeedbackRow(line, lines.position_bytes, values, problem)


def _check_header(names: list[str], place: str) -> None:
    if "label" not in names or not set(names) & set(_TARGETS):
        shown = ", ".join(name[:40] for name in names[:8])
        raise DataError(
            f"{place}: expected JSON lines, or CSV whose first line names the columns: `label`, and one of "
            f"{', '.join(_TARGETS)}; got: {shown}"
        )
    twice = next((name for name in names if name in KEYS and names.count(name) > 1), None)
    if twice:
        raise DataError(f"{place}: expected every column once, got two named {twice!r}")


def _missing(values: Mapping[str, Any]) -> str | None:
    label = values.get("label")
    if not isinstance(label, str) or not label.strip():
        return "expected a label, found none"
    if not any(values.get(key) not in (None, "") for key in _TARGETS):
        return f"expected one of {', '.join(_TARGETS)}, found none"
    return None
