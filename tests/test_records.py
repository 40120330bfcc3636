import json
from dataclasses import fields, replace
from datetime import UTC, datetime

from mailroom.config import MailSettings
from mailroom.mail.read import read_email
from mailroom.mail.sources import Message
from mailroom.records import Email, Feedback


def read(raw: bytes) -> Email:
    return read_email(Message("test", "rfc822", raw, len(raw), False), MailSettings()).email


MAIL = b"Message-ID: <1@example.org>\nReceived: here\nSubject: Hello\n\nMy words.\n\n> their words\n"


def test_text_is_subject_and_body() -> None:
    assert Email("1", "Hello", "World").text == "Hello\nWorld"
    assert Email("1", "", " World ").text == "World"


def test_content_is_the_same_over_other_headers_and_line_ends() -> None:
    other = MAIL.replace(b"Received: here", b"Received: there").replace(b"\n", b"\r\n")
    assert read(MAIL).content_sha256 == read(other).content_sha256


def test_content_tells_two_messages_with_one_id_apart() -> None:
    assert read(MAIL).content_sha256 != read(MAIL.replace(b"My", b"Other")).content_sha256
    assert read(MAIL).content_sha256 != read(MAIL.replace(b"Hello", b"Re: Hello")).content_sha256


def test_content_does_not_depend_on_what_cleaning_takes_out() -> None:
    assert "their words" not in read(MAIL).body
    assert read(MAIL).content_sha256 != read(MAIL.replace(b"their", b"your")).content_sha256


def test_an_email_made_by_hand_is_its_own_content() -> None:
    email = Email("1", "Hello", "World")
    assert email.content_sha256 == Email("2", "Hello", "World").content_sha256
    assert email.content_sha256 != Email("1", "Hello", "world").content_sha256
    assert replace(email, id="2").content_sha256 == email.content_sha256


def test_feedback_is_json_ready() -> None:
    word = Feedback(
        "f1", "e1", "refund", "invoice", None, "Ada", "audit", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    )
    content = word.to_dict()
    assert json.loads(json.dumps(content)) == content
    assert set(content) == {field.name for field in fields(Feedback)}
    assert content["created_at"] == "2026-01-02T03:04:05.000+00:00"
