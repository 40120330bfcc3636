"""Hostile and random mail: a result or MailParseError, never another error, in bounded time."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailroom.config import MailSettings
from mailroom.mail.read import read_email
from mailroom.mail.show import to_dict
from mailroom.mail.sources import Message, iter_messages

LIMITS = MailSettings()
MIB = 1 << 20
HEAD = b"From: a@example.com\nSubject: s\n"
# A guard, not a speed figure: each takes a fraction of a second, and minutes where time grows with the square
# of a message. So a slow or busy machine cannot fail it.
LONGEST_SECONDS = 5.0

SEED = """\
From: Ann <ann@example.com>
To: =?utf-8?q?B=C3=B6b?= <b@example.com>
Subject: Re: =?utf-8?b?R3LDvMOfZQ==?=
Date: Mon, 1 Jan 2024 10:00:00 +0200
Message-ID: <1@example.com>
References: <0@example.com>
Content-Type: multipart/mixed; boundary="A"

--A
Content-Type: multipart/alternative; boundary=B

--B
Content-Type: text/plain; charset=utf-8; format=flowed
Content-Transfer-Encoding: quoted-printable

Gr=C3=BC=C3=9Fe\x20
On 1/2/2024 10:00, B <b@example.com> wrote:
> hi
--\x20
Ann
--B
Content-Type: text/html

<div>Hi<blockquote type="cite">old</blockquote></div>
--B--
--A
Content-Type: message/rfc822

Subject: inner

begin 644 a
#ABC
end
--A
Content-Type: text/calendar

BEGIN:VEVENT
SUMMARY:x
END:VEVENT
--A
Content-Disposition: attachment; filename*0="a"; filename*1=".pdf"
Content-Transfer-Encoding: base64

QUJD
--A--
""".replace("\n", "\r\n").encode()


def check(data: bytes) -> None:
    """Read one message; whatever comes must be a whole record that can be written as UTF-8 JSON."""
    read = read_email(Message("x", "rfc822", data, len(data), False), LIMITS)
    assert read.email.id
    assert not set(read.email.id) & set(" \r\n\t\0")
    assert len(read.email.body) <= LIMITS.max_text_chars
    json.dumps(to_dict(read), ensure_ascii=False).encode()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=2000))
def test_random_bytes_never_crash(data: bytes) -> None:
    check(data)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(SEED)), st.integers(0, 30), st.binary(max_size=12)), max_size=12)
)
def test_damaged_messages_never_crash(edits: list[tuple[int, int, bytes]]) -> None:
    data = SEED
    for at, length, replacement in edits:
        data = data[:at] + replacement + data[at + length :]
    check(data)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=1000))
def test_random_text_never_crashes(text: str) -> None:
    source = text.encode("utf-8", "surrogatepass")
    check(HEAD + b"\n" + source)
    check(HEAD + b"Content-Type: text/html\n\n" + source)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=3000))
def test_random_files_give_messages_or_a_clear_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    for message in iter_messages(tmp_path, LIMITS):
        assert message.position_bytes <= len(data)
        if message.error is None:
            read_email(message, LIMITS)


def plain(body: bytes) -> bytes:
    return HEAD + b"Content-Type: text/plain; charset=utf-8\n\n" + body


def html(body: bytes) -> bytes:
    return HEAD + b"Content-Type: text/html; charset=utf-8\n\n" + body


def mixed(body: bytes) -> bytes:
    return HEAD + b"Content-Type: multipart/mixed; boundary=b\n\n" + body


def nested(depth: int) -> bytes:
    levels = (b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(depth))
    return HEAD + b"".join(levels) + b"\ntext\n"


HOSTILE: dict[str, Callable[[], bytes]] = {
    "quote marks": lambda: plain(b">" * MIB),
    "angle brackets": lambda: plain(b"<" * MIB),
    "blanks": lambda: plain(b" " * (8 * MIB)),
    "blank lines": lambda: plain(b" \n" * (4 * MIB)),
    "short lines": lambda: plain(b"a\n" * (4 * MIB)),
    "quoted lines": lambda: plain(b"> q\n" * 500_000),
    "alternating quotes": lambda: plain(b"> q\nown\n" * 300_000),
    "header lines": lambda: plain(b"From: a@b\n" * 500_000),
    "attributions": lambda: plain(b"On 1 Jan 2020 a@b.c wrote:\n" * 300_000),
    "half attributions": lambda: plain(b"On 1 Jan\n" * 500_000),
    "delimiters": lambda: plain(b"--\n" * 500_000),
    "armour": lambda: plain(b"-----BEGIN PGP MESSAGE-----\n" * 200_000),
    "uuencode": lambda: plain(b"begin 644 x\n" * 300_000),
    "links": lambda: plain(b"http://a.b/?utm_x=1 " * 400_000),
    "at signs": lambda: plain(b"a@" * MIB),
    "mojibake": lambda: plain("Ã¼".encode() * MIB),
    "mixed charsets": lambda: plain(b"caf\xe9\nna\xc3\xafve\n" * 500_000),
    "flowed": lambda: HEAD + b"Content-Type: text/plain; format=flowed\n\n" + b"a \n" * 2_000_000,
    "NUL bytes": lambda: b"\0" * (20 * MIB),
    "broken base64": lambda: HEAD + b"Content-Transfer-Encoding: base64\n\n" + b"!A" * (10 * MIB),
    "nested tags": lambda: html(b"<div>" * 200_000),
    "formatting made again": lambda: html(b"".join(b"<font color=%d><p>" % n for n in range(40_000))),
    "unclosed formatting": lambda: html(b"<p><i><b><u><s><a></p>" + b"<p>x</p>" * 100_000),
    "nested tables": lambda: html(b"<table><tr><td>" * 70_000),
    "lists": lambda: html(b"<ul><li>" * 100_000),
    "attributes": lambda: html(b"<a " + b"".join(b"a%d=1 " % n for n in range(100_000)) + b">x"),
    "inline image": lambda: html(b'<img src="data:image/png;base64,' + b"A" * (7 * MIB) + b'">hello'),
    "10,000 nested parts": lambda: nested(10_000),
    "100,000 nested messages": lambda: HEAD + b"Content-Type: message/rfc822\n\n" * 100_000,
    "two million parts": lambda: mixed(b"--b\n\nx\n" * 2_000_000),
    "false boundaries": lambda: mixed(b"--bx\n" * 4_000_000),
    "huge header": lambda: HEAD + b"X: " + b"x" * (24 * MIB),
    "folded header": lambda: HEAD + b"X: x\n" + b" y\n" * 5_000_000,
    "header junk": lambda: HEAD + b"junk\nX: y\n" * 1_000_000,
    "encoded words": lambda: b"Subject: " + b"=?a?q?" * 40_000 + b"\n\nx",
    "parameters": lambda: b"Subject: x\nContent-Type: text/plain; " + b";" * 200_000 + b"\n\nx",
    "references": lambda: b"Subject: x\nReferences: " + b"<" * 200_000 + b"\n\nx",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_message_is_read_in_bounded_time(name: str) -> None:
    data = HOSTILE[name]()[: LIMITS.max_message_bytes]
    start = time.thread_time()
    check(data)
    assert time.thread_time() - start < LONGEST_SECONDS


def test_truncated_base64_gives_its_beginning_and_a_warning() -> None:
    data = HEAD + b"Content-Transfer-Encoding: base64\n\nSGVsbG8gd29ybGQgdGhpcyBpcyB0ZXh0I"
    read = read_email(Message("x", "rfc822", data, 0, False), LIMITS)
    assert read.email.body == "Hello world this is text"
    assert read.warnings == ("base64 text was truncated",)


def test_text_behind_an_inline_image_is_read() -> None:
    read = read_email(Message("x", "rfc822", HOSTILE["inline image"](), 0, False), LIMITS)
    assert read.email.body == "hello"
