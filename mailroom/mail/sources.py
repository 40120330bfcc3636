"""A path or standard input → raw messages, streamed: .eml, mbox, Maildir, folders, JSON lines.

Memory stays constant whatever the size of the source: one message at a time, none longer than the limit.
Knows nothing of what a message says.
"""

import io
import json
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

from mailroom.config import CONFIG_NAME, MailSettings
from mailroom.errors import MailParseError
from mailroom.mail.mbox import LINE_BYTES, LineReader, split_mbox
from mailroom.mail.recognise import HEAD_BYTES, recognise

_UTF8_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Message:
    """One raw message; `position_bytes`: the source's bytes consumed so far, `error`: why to skip it."""

    origin: str
    kind: Literal["rfc822", "json"]
    data: bytes
    position_bytes: int
    cut: bool
    error: str | None = None


def iter_messages(path: Path | Literal["-"], limits: MailSettings) -> Iterator[Message]:
    """Yield every message of a file, a folder or standard input (`-`), in a stable order.

    Raises MailParseError where the whole source is unusable; a single bad message comes with `error`.
    """
    if path == "-":
        yield from _read_stream(sys.stdin.buffer, "stdin", limits)
        return
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except OSError as exc:
        raise MailParseError(
            f"{path}: expected a message, a mailbox, a folder or JSON lines: {exc.strerror}"
        ) from exc
    if stat.S_ISDIR(mode):
        if (path / CONFIG_NAME).exists():
            raise MailParseError(
                f"{path}: expected mail, got a mailroom workspace; name the mailbox or folder"
            )
        yield from _read_folder(path, limits)
        return
    try:
        with path.open("rb") as stream:
            yield from _read_stream(stream, str(path), limits)
    except OSError as exc:
        raise MailParseError(f"{path}: cannot be read: {exc.strerror}") from exc


def given_message(data: bytes, origin: str) -> Message:
    """The message that somebody handed over as one, held to the same first look as a file.

    Raises MailParseError where it is empty, or recognised as something else than mail.
    """
    found = recognise(data[:HEAD_BYTES])
    if found.problem:
        raise MailParseError(found.problem)
    if found.format == "empty":
        raise MailParseError("expected a message, got an empty one")
    return Message(origin, "rfc822", data.removeprefix(_UTF8_BOM), len(data), cut=False)


def source_size_bytes(path: Path | Literal["-"]) -> int | None:
    """Bytes that `iter_messages` will consume, for a progress bar; None where nobody can know."""
    if path == "-":
        return None
    path = Path(path)
    try:
        if path.is_dir():
            return sum(_size(file) for file, _ in _walk(path, set()))
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def _read_stream(stream: BinaryIO, origin: str, limits: MailSettings) -> Iterator[Message]:
    """Recognise one stream by its first bytes and read it; a stream that is no mail raises MailParseError."""
    head = stream.read(HEAD_BYTES)
    found = recognise(head)
    if found.problem:
        raise MailParseError(f"{origin}: {found.problem}")
    if stream.seekable():
        stream.seek(0)
    else:
        stream = io.BufferedReader(_Rejoined(head, stream), LINE_BYTES)
    if found.format == "mbox":
        yield from _read_mbox(stream, origin, limits)
    elif found.format == "jsonl":
        yield from _read_json_lines(stream, origin, limits)
    elif found.format == "message":
        yield _read_message(stream, origin, limits)


def _read_mbox(stream: BinaryIO, origin: str, limits: MailSettings) -> Iterator[Message]:
    lines = LineReader(stream)
    for number, (data, cut) in enumerate(split_mbox(lines, limits.max_message_bytes), 1):
        yield Message(f"{origin}#{number}", "rfc822", data, lines.position_bytes, cut)


def _read_message(stream: BinaryIO, origin: str, limits: MailSettings) -> Message:
    data = stream.read(limits.max_message_bytes)
    consumed = len(data)
    while rest := stream.read(1024 * 1024):
        consumed += len(rest)
        if stream.seekable():
            consumed = stream.seek(0, os.SEEK_END)
    return Message(origin, "rfc822", data.removeprefix(_UTF8_BOM), consumed, consumed > len(data))


def _read_json_lines(stream: BinaryIO, origin: str, limits: MailSettings) -> Iterator[Message]:
    position, number = 0, 0
    while line := stream.readline(limits.max_message_bytes + 1):
        number += 1
        position += len(line)
        too_long = len(line) > limits.max_message_bytes
        while too_long and not line.endswith(b"\n") and (line := stream.readline(LINE_BYTES)):
            position += len(line)
        where = f"{origin}:{number}"
        if number == 1 and line.strip() == b"{":
            raise MailParseError(
                f"{origin}: expected one JSON object a line, got one over several; write it with `jq -c .`"
            )
        if too_long:
            limit = f"longer than max_message_bytes ({limits.max_message_bytes})"
            yield Message(
                where, "json", b"", position, True, f"{where}: expected a JSON object, got a line {limit}"
            )
        elif line.strip():
            yield Message(where, "json", line.strip(), position, False, _json_problem(line, where, number))


def _json_problem(line: bytes, where: str, number: int) -> str | None:
    try:
        value = json.loads(line.removeprefix(_UTF8_BOM) if number == 1 else line)
    except (ValueError, RecursionError):
        return f"{where}: expected one JSON object a line, got text that is not JSON"
    if not isinstance(value, dict):
        return f"{where}: expected a JSON object, got a JSON {type(value).__name__}"
    if not any(key in value for key in ("subject", "body", "text")):
        return (
            f"{where}: expected an object with `subject` and `body`, got keys {', '.join(sorted(value)[:8])}"
        )
    return None


def _read_folder(folder: Path, limits: MailSettings) -> Iterator[Message]:
    """Every file below a folder; one that cannot be read becomes a message with `error`."""
    done = 0
    for file, in_maildir in _walk(folder, set()):
        size = _size(file)
        try:
            yield from _read_file(file, in_maildir, done, limits)
        except MailParseError as exc:
            yield Message(str(file), "rfc822", b"", done + size, False, str(exc))
        except OSError as exc:
            yield Message(
                str(file), "rfc822", b"", done + size, False, f"{file}: cannot be read: {exc.strerror}"
            )
        done += size


def _read_file(file: Path, in_maildir: bool, done: int, limits: MailSettings) -> Iterator[Message]:
    with file.open("rb") as stream:
        # A Maildir holds one message a file, even where an old delivery left a "From " line on top.
        if in_maildir:
            yield replace(
                found := _read_message(stream, str(file), limits), position_bytes=done + found.position_bytes
            )
            return
        for message in _read_stream(stream, str(file), limits):
            yield replace(message, position_bytes=done + message.position_bytes)


def _walk(folder: Path, ancestors: set[tuple[int, int]]) -> Iterator[tuple[Path, bool]]:
    """Files below `folder` as (path, is it in a Maildir), by name; dot-files and link loops left out."""
    try:
        status = folder.stat()
        names = sorted(entry.name for entry in os.scandir(folder))
    except OSError:
        # Handed on as a file, it fails to open and is reported, and the rest goes on.
        yield folder, False
        return
    identity = (status.st_dev, status.st_ino)
    if identity in ancestors or CONFIG_NAME in names:
        return  # a loop of links, or a workspace: its models and settings are no mail
    inside = ancestors | {identity}
    maildir = {"cur", "new"} <= set(names) and (folder / "cur").is_dir() and (folder / "new").is_dir()
    if maildir:
        yield from _walk_maildir(folder)
        names = [name for name in names if name not in ("cur", "new", "tmp")]
    for name in names:
        child = folder / name
        # Maildir++ keeps subfolders in dot-folders; every other dot-file is somebody's bookkeeping.
        if name.startswith(".") and not (maildir and (child / "cur").is_dir()):
            continue
        if child.is_dir():
            yield from _walk(child, inside)
        elif child.is_file() and not maildir:
            yield child, False


def _walk_maildir(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Delivered messages of one Maildir: `new`, then `cur`; `tmp` holds half-written ones."""
    for box in ("new", "cur"):
        try:
            names = sorted(entry.name for entry in os.scandir(folder / box))
        except OSError:
            yield folder / box, True
            continue
        for name in names:
            if not name.startswith(".") and (folder / box / name).is_file():
                yield folder / box / name, True


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


class _Rejoined(io.RawIOBase):
    """The bytes already read from a pipe, followed by the rest of it."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        chunk = self._head[: len(buffer)] or self._rest.read(len(buffer))
        self._head = self._head[len(buffer) :]
        buffer[: len(chunk)] = chunk
        return len(chunk)
