import base64
import quopri
from email.message import EmailMessage

import pytest

from mailroom.config import MailSettings
from mailroom.errors import MailParseError
from mailroom.mail.charset import decode
from mailroom.mail.headers import decode_words
from mailroom.mail.html import html_to_lines
from mailroom.mail.read import read_email
from mailroom.mail.sources import Message
from tests.mail.conftest import Read


def test_headers_become_metadata(read: Read) -> None:
    result = read(
        b"Message-ID: < a b@example.com >\nFrom: =?utf-8?q?J=C3=B6rg?= <j@example.com>\nTo: x@example.com\n"
        b"Subject: =?utf-8?b?R3LDvMOf?= =?utf-8?b?ZQ==?=\n zwei\nDate: Mon, 1 Jan 2024 10:00:00 +0200\n"
        b"List-Id: News <news.example.com>\nReferences: <root@x> <mid@x>\nIn-Reply-To: <mid@x>\n\nHi\n"
    )
    email = result.email
    assert (email.id, email.subject) == ("ab@example.com", "Grüße zwei")
    assert email.metadata["from"] == "Jörg <j@example.com>"
    assert email.metadata["list_id"] == "news.example.com"
    assert email.metadata["thread_id"] == "root@x"
    assert email.received_at is not None
    assert email.received_at.isoformat() == "2024-01-01T08:00:00+00:00"
    assert "cut" not in email.metadata


def test_id_without_message_id_is_the_content_hash(read: Read) -> None:
    first, second = read(b"Subject: a\n\nx"), read(b"Subject: a\n\ny")
    assert len(first.email.id) == 64
    assert first.email.id != second.email.id
    assert first.email.metadata["thread_id"] == first.email.id


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("=?utf-8?b?w6Q=?= =?utf-8?b?w7Y=?=", "äö"),
        ("=?iso-8859-1?q?caf=E9_au_lait?=", "café au lait"),
        ("=?unknown-8bit?q?caf=E9?=", "café"),
        ("=?utf-8?q?broken", "=?utf-8?q?broken"),
        ("pre =?utf-8?q?a?b?= post", "pre a?b post"),
        ("plain", "plain"),
    ],
)
def test_encoded_words(raw: str, text: str) -> None:
    assert decode_words(raw) == text


@pytest.mark.parametrize(
    ("data", "declared", "text"),
    [
        ("Grüße".encode(), None, "Grüße"),
        ("Grüße".encode(), "iso-8859-1", "Grüße"),
        ("Grüße €".encode("cp1252"), "iso-8859-1", "Grüße €"),
        ("Grüße".encode("latin-1"), "utf-8", "Grüße"),
        ("Grüße".encode("latin-1"), "no-such-charset", "Grüße"),
        ("žluťoučký".encode("iso-8859-2"), "iso-8859-2", "žluťoučký"),
        ("日本語".encode("iso2022_jp"), "iso-2022-jp", "日本語"),
        ("中文信息".encode("gbk"), "gb2312", "中文信息"),
        ("Привет, как дела".encode("koi8-r"), "koi8-r", "Привет, как дела"),
        (b"caf\xe9\n" + "naïve\n".encode() * 3, "utf-8", "café\nnaïve\nnaïve\nnaïve\n"),
        ("schÃ¶ne GrÃ¼ÃŸe".encode(), "utf-8", "schöne Grüße"),
        (b"\xef\xbb\xbfhi", None, "hi"),
        (b"idna.example", "idna", "idna.example"),
    ],
)
def test_charset_is_repaired(data: bytes, declared: str | None, text: str) -> None:
    assert decode(data, declared) == text


def test_best_alternative_is_read(read: Read) -> None:
    message = EmailMessage()
    message["Subject"] = "x"
    message.set_content("The plain one says it all, and is long enough to stand for the mail.")
    message.add_alternative("<p>The <b>HTML</b> one</p>", subtype="html")
    assert read(message.as_bytes()).email.body.startswith("The plain one")
    message = EmailMessage()
    message["Subject"] = "x"
    message.set_content("No HTML?")
    message.add_alternative("<p>The invoice 42 is wrong, and I want my money back.</p>", subtype="html")
    assert read(message.as_bytes()).email.body == "The invoice 42 is wrong, and I want my money back."


def test_attachments_are_known_by_name_only(read: Read) -> None:
    message = EmailMessage()
    message["Subject"] = "x"
    message.set_content("See the file.")
    message.add_attachment(b"secret", maintype="application", subtype="pdf", filename="Rechnung März.pdf")
    message.add_attachment("secret text", filename="../notes.txt")
    email = read(message.as_bytes()).email
    assert email.body == "See the file."
    assert email.metadata["attachments"] == ["Rechnung März.pdf", "notes.txt"]


def test_forwarded_message_is_read(read: Read) -> None:
    inner = EmailMessage()
    inner["Subject"] = "broken"
    inner["From"] = "Bob <bob@example.com>"
    inner.set_content("The lamp is broken.\n\n-- \nBob\n")
    outer = EmailMessage()
    outer["Subject"] = "Fwd: broken"
    outer.set_content("Please help him.\n")
    outer.add_attachment(inner)
    assert read(outer.as_bytes()).email.body == "Please help him.\n\nThe lamp is broken."


def test_calendar_part_says_what_when_and_where(read: Read) -> None:
    calendar = (
        "BEGIN:VCALENDAR\nMETHOD:REQUEST\nBEGIN:VEVENT\nSUMMARY:Site\n  visit\\, Berlin\n"
        "DTSTART;TZID=Europe/Berlin:20240102T090000\nLOCATION:Room 5\nEND:VEVENT\nEND:VCALENDAR\n"
    )
    body = read(f"Subject: x\nContent-Type: text/calendar\n\n{calendar}".encode()).email.body
    assert body == "Calendar request\nSite visit, Berlin\nWhen: 2024-01-02 09:00\nWhere: Room 5"


def test_flowed_text_is_joined(read: Read) -> None:
    head = b"Subject: x\nContent-Type: text/plain; format=flowed"
    assert read(head + b"\n\none \ntwo\nthree\n").email.body == "one two\nthree"
    assert read(head + b"; delsp=yes\n\nzusammen \ngesetzt\n").email.body == "zusammengesetzt"


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("base64", base64.encodebytes("Grüße an alle".encode())),
        ("base64", base64.encodebytes("Grüße an alle".encode()) + b"\n____\nlist footer, see the web\n"),
        ("quoted-printable", quopri.encodestring("Grüße an alle".encode()).replace(b"an", b"= \r\nan")),
        ("8bit", "Grüße an alle".encode()),
    ],
)
def test_transfer_encodings(read: Read, encoding: str, data: bytes) -> None:
    head = f"Subject: x\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: {encoding}\n\n"
    assert read(head.encode() + data).email.body == "Grüße an alle"


def test_broken_structures_still_give_their_text(read: Read) -> None:
    wrong_boundary = (
        b"Subject: x\nContent-Type: multipart/mixed; boundary=A\n\n--B\nContent-Type: text/plain\n\nhi\n--B--"
    )
    assert read(wrong_boundary).email.body == "hi"
    assert "boundary" in read(wrong_boundary).warnings[0]
    unclosed = b"Subject: x\nContent-Type: multipart/mixed; boundary=A\n\n--A\nContent-Type: text/plain\n\nhi"
    assert read(unclosed).email.body == "hi"
    assert read(b"Subject: x\nstray line\nTo: me\n\nhi").email.metadata["to"] == "me"
    assert read(b"Subject: x\r\rhi\r").email.body == "hi"
    assert read(b"").email.body == ""
    assert read(b"Hello: this is no header\nbut a text").email.body == "Hello: this is no header\nbut a text"


def test_html_gives_blocks_and_marks_quotes() -> None:
    source = (
        "<html><head><title>t</title><style>p{}</style></head><body>"
        '<div style="display:none">preheader</div><p>One <a href="https://x.example/?utm=1">link</a><br>two</p>'
        "<table><tr><td>Item</td><td>3</td></tr></table><ul><li>first</li></ul>"
        '<img src="https://track.example/p.gif">'
        '<div class="gmail_quote">On Monday:<blockquote>old</blockquote></div>'
        '<div class="gmail_signature">Ann</div></body></html>'
    )
    lines, warning = html_to_lines(source)
    assert warning is None
    by_reason: dict[str, list[str]] = {}
    for line in lines:
        if line.text:
            by_reason.setdefault(line.reason, []).append(line.text)
    assert by_reason == {
        "hidden text": ["preheader"],
        "": ["One link", "two", "Item 3", "- first"],
        "quoted reply": ["On Monday:", "old"],
        "signature": ["Ann"],
    }


def test_limits_cut_and_mark(limits: MailSettings) -> None:
    small = MailSettings(max_parts=3, max_depth=2, max_text_chars=100, max_header_bytes=1024)

    def read_small(data: bytes) -> tuple[str, tuple[str, ...], object]:
        result = read_email(Message("x", "rfc822", data, 0, False), small)
        return result.email.body, result.warnings, result.email.metadata.get("cut")

    head = b"Subject: x\nContent-Type: multipart/mixed; boundary=A\n\n"
    body, warnings, cut = read_small(head + b"--A\n\nhi\n" * 10)
    assert (body, cut) == ("hi\n\nhi", True)
    assert "more than 3 parts" in warnings[0]
    body, warnings, cut = read_small(b"Subject: x\n\n" + b"word " * 100)
    assert (len(body), cut) == (99, True)
    assert read_small(b"Subject: x\nX: " + b"y" * 5000 + b"\n\nhi")[0] == "hi"
    cut_source = read_email(Message("x", "rfc822", b"Subject: x\n\nhi", 0, True), limits)
    assert cut_source.email.metadata["cut"] is True
    assert "message was cut" in cut_source.warnings[0]


def test_error_of_the_source_is_raised(limits: MailSettings) -> None:
    with pytest.raises(MailParseError, match="why"):
        read_email(Message("x", "rfc822", b"", 0, False, "why"), limits)
