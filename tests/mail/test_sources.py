import io
import json
import os
import sys
import tracemalloc
from pathlib import Path

import pytest

from mailroom.config import MailSettings
from mailroom.errors import MailParseError
from mailroom.mail.sources import Message, given_message, iter_messages, source_size_bytes

MESSAGE = b"From: a@example.com\nSubject: one\n\nbody of one\n"
SEPARATOR = b"From a@example.com Mon Jan  1 10:00:00 2024\n"


def read_all(path: Path, **limits: int) -> list[Message]:
    return list(iter_messages(path, MailSettings(**limits)))


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_message_file_of_any_name_is_one_message(tmp_path: Path) -> None:
    path = write(tmp_path, "54473", MESSAGE)
    (message,) = read_all(path)
    assert (message.kind, message.data, message.origin) == ("rfc822", MESSAGE, str(path))
    assert message.position_bytes == len(MESSAGE) == source_size_bytes(path)


def test_text_without_headers_is_a_message(tmp_path: Path) -> None:
    (message,) = read_all(write(tmp_path, "note.txt", b"cancel my order\n"))
    assert message.data == b"cancel my order\n"


@pytest.mark.parametrize(
    ("first", "what"),
    [
        (b"subject,body,label\nOrder,Where is it?,late\n", "a table"),
        (b'"Label";"Text"\r\n"late";"Where is it?"\r\n', "a table"),
        (b"labels:\n  - name: Billing\n", "a label tree"),
    ],
)
def test_what_other_commands_read_is_no_mail(tmp_path: Path, first: bytes, what: str) -> None:
    (tmp_path / "given").write_bytes(first)
    with pytest.raises(MailParseError, match=f"expected mail, got {what}"):
        list(iter_messages(tmp_path / "given", MailSettings()))


@pytest.mark.parametrize(
    "first",
    [
        b"body, text and soul\n",
        b"Subject: one, two\n\nbody\n",
        b"labels: none\n",
        b"text\n",
        b"id,price\n1,2\n",
    ],
)
def test_mail_that_begins_like_a_table_is_mail(tmp_path: Path, first: bytes) -> None:
    (tmp_path / "given").write_bytes(first)
    assert len(list(iter_messages(tmp_path / "given", MailSettings()))) == 1


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_mbox_is_split_at_separators_only(tmp_path: Path, newline: bytes) -> None:
    first = b"Subject: 1\n\nFrom here on all is text at 10:00.\n\nFrom me to you\n\n>From quoted\n"
    second = b"Subject: 2\n\n>>From twice\n"
    mbox = (SEPARATOR + first + b"\n" + SEPARATOR + second).replace(b"\n", newline)
    messages = read_all(write(tmp_path, "box", mbox))
    assert [message.origin.rpartition("#")[2] for message in messages] == ["1", "2"]
    assert b"\nFrom quoted" in messages[0].data
    assert b"From me to you" in messages[0].data
    assert b">From twice" in messages[1].data
    assert messages[-1].position_bytes == len(mbox)


def test_content_length_protects_a_separator_inside_a_body(tmp_path: Path) -> None:
    body = b"text\n\n" + SEPARATOR + b"Subject: quoted mail\n\nend\n"
    mbox = SEPARATOR + b"Subject: 1\nContent-Length: %d\n\n" % len(body) + body + b"\n" + SEPARATOR + MESSAGE
    messages = read_all(write(tmp_path, "box", mbox))
    assert len(messages) == 2
    assert messages[0].data.endswith(b"end\n\n")


def test_wrong_content_length_is_not_believed(tmp_path: Path) -> None:
    mbox = SEPARATOR + b"Subject: 1\nContent-Length: 9\n\nlonger than that\n\n" + SEPARATOR + MESSAGE
    assert len(read_all(write(tmp_path, "box", mbox))) == 2


def test_maildir_reads_new_and_cur_but_not_tmp(tmp_path: Path) -> None:
    for box in ("new", "cur", "tmp", ".Sent/new", ".Sent/cur"):
        write(tmp_path, f"{box}/1.host:2,S", MESSAGE.replace(b"one", box.encode()))
    write(tmp_path, "dovecot-uidlist", b"3 V1\n")
    subjects = [message.data.split(b"Subject: ")[1].split(b"\n")[0] for message in read_all(tmp_path)]
    assert subjects == [b"new", b"cur", b".Sent/new", b".Sent/cur"]


def test_folder_is_recursive_sorted_and_mixed(tmp_path: Path) -> None:
    write(tmp_path, "b/2", MESSAGE)
    write(tmp_path, "a", SEPARATOR + MESSAGE + b"\n" + SEPARATOR + MESSAGE)
    write(tmp_path, "c.txt", b'{"subject": "s", "body": "b"}\n')
    write(tmp_path, ".hidden", MESSAGE)
    messages = read_all(tmp_path)
    origins = [message.origin.removeprefix(f"{tmp_path}/") for message in messages]
    assert origins == ["a#1", "a#2", "b/2", "c.txt:1"]
    positions = [message.position_bytes for message in messages]
    assert positions == sorted(positions)
    assert positions[-1] == source_size_bytes(tmp_path)


def test_symlink_loop_ends(tmp_path: Path) -> None:
    write(tmp_path, "a/1", MESSAGE)
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert len(read_all(tmp_path)) == 1


def test_json_lines_report_bad_lines_and_go_on(tmp_path: Path) -> None:
    lines = [b'{"subject": "s", "body": "b"}', b"not json", b"", b"[1]", b'{"other": 1}', b'{"body": "last"}']
    messages = read_all(write(tmp_path, "mail.jsonl", b"\n".join(lines)))
    assert [message.origin.rpartition(":")[2] for message in messages] == ["1", "2", "4", "5", "6"]
    assert [message.error is not None for message in messages] == [False, True, True, True, False]
    assert "not JSON" in str(messages[1].error)
    assert "JSON list" in str(messages[2].error)


def test_long_lines_and_messages_are_cut_without_being_held(tmp_path: Path) -> None:
    line = json.dumps({"body": "x" * 5000}).encode()
    too_long, short = read_all(
        write(tmp_path, "m.jsonl", line + b'\n{"body": "s"}\n'), max_message_bytes=1024
    )
    assert too_long.cut
    assert "max_message_bytes" in str(too_long.error)
    assert short.error is None
    (message,) = read_all(write(tmp_path, "m.eml", MESSAGE + b"x" * 5000), max_message_bytes=1024)
    assert (message.cut, len(message.data), message.position_bytes) == (True, 1024, len(MESSAGE) + 5000)


def test_mbox_runs_in_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / "big"
    huge = SEPARATOR + b"Subject: huge\n\n" + b"y" * (8 << 20) + b"\n\n"
    path.write_bytes(huge + (SEPARATOR + MESSAGE + b"z" * 70 + b"\n\n") * 20_000)
    tracemalloc.start()
    count = sum(1 for _ in iter_messages(path, MailSettings(max_message_bytes=64 * 1024)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_001
    assert peak < 1 << 20


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"PK\x03\x04\x14\x00xl/workbook.xml", "xlsx"),
        (b"PK\x03\x04\x14\x00other", "ZIP"),
        (b"!BDN\x00", "pst"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Outlook .msg"),
        (b"\xff\xfeF\x00r\x00", "UTF-16"),
        (b'[{"subject": "s"}]', "JSON array"),
        (bytes(100) + b"\x01", "binary"),
    ],
)
def test_wrong_file_is_named(tmp_path: Path, head: bytes, name: str) -> None:
    path = write(tmp_path, "file", head)
    with pytest.raises(MailParseError, match=name):
        read_all(path)
    write(tmp_path, "mail", MESSAGE)
    wrong, right = read_all(tmp_path)
    assert name in str(wrong.error)
    assert right.error is None


def test_a_message_that_was_handed_over_is_held_to_what_a_file_is(tmp_path: Path) -> None:
    for number, data in enumerate((b"PK\x03\x04 and more", bytes(range(256)) * 4)):
        path = write(tmp_path, f"{number}.eml", data)
        with pytest.raises(MailParseError) as of_file:
            read_all(path)
        with pytest.raises(MailParseError) as of_bytes:
            given_message(data, "api")
        assert str(of_file.value) == f"{path}: {of_bytes.value}"
    with pytest.raises(MailParseError, match="expected a message, got an empty one"):
        given_message(b" \r\n", "api")
    assert given_message(b"\xef\xbb\xbfSubject: x\n\nhi", "api").data == b"Subject: x\n\nhi"


def test_pretty_printed_json_is_named_once(tmp_path: Path) -> None:
    path = write(tmp_path, "mail.json", json.dumps({"subject": "s", "body": "b"}, indent=2).encode())
    with pytest.raises(MailParseError, match="one JSON object a line"):
        read_all(path)


def test_unreadable_folder_is_reported_and_the_rest_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a/1", MESSAGE)
    write(tmp_path, "b/1", MESSAGE)
    scan = os.scandir

    def refuse(folder: Path) -> object:
        if folder.name == "a":
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    refused, right = read_all(tmp_path)
    assert "cannot be read" in str(refused.error)
    assert right.error is None


def test_missing_path_and_empty_file(tmp_path: Path) -> None:
    with pytest.raises(MailParseError, match="No such file"):
        read_all(tmp_path / "none")
    assert read_all(write(tmp_path, "empty", b"")) == []
    assert source_size_bytes(tmp_path / "none") is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_in_a_folder_is_reported(tmp_path: Path) -> None:
    write(tmp_path, "a", MESSAGE).chmod(0)
    (message,) = read_all(tmp_path)
    assert "Permission denied" in str(message.error)


class Pipe(io.BytesIO):
    """A stream that cannot seek, like a pipe."""

    def seekable(self) -> bool:
        return False


@pytest.mark.parametrize("count", [1, 3, 400])
def test_standard_input_is_recognised_without_seeking(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    data = (SEPARATOR + MESSAGE + b"\n") * count
    stdin = io.TextIOWrapper(Pipe(data))
    monkeypatch.setattr(sys, "stdin", stdin)
    messages = list(iter_messages("-", MailSettings()))
    assert [message.origin for message in messages] == [f"stdin#{number}" for number in range(1, count + 1)]
    assert source_size_bytes("-") is None


def test_a_workspace_is_no_mail_and_is_passed_over_inside_a_folder(tmp_path: Path) -> None:
    desk = tmp_path / "desk"
    desk.mkdir()
    (desk / "mailroom.toml").write_text("", encoding="utf-8")
    (desk / "notes.txt").write_text("not mail", encoding="utf-8")
    (tmp_path / "one.eml").write_text("Subject: hi\n\nhello\n", encoding="utf-8")
    assert [message.origin for message in iter_messages(tmp_path, MailSettings())] == [
        str(tmp_path / "one.eml")
    ]
    with pytest.raises(MailParseError, match="got a mailroom workspace"):
        list(iter_messages(desk, MailSettings()))


def test_bytes_without_sense_are_no_mail_but_odd_charsets_are(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 40)
    with pytest.raises(MailParseError, match="binary data"):
        list(iter_messages(path, MailSettings()))
    for text, charset in (
        ("Где моя посылка?", "koi8-r"),
        ("荷物はどこですか", "iso2022_jp"),
        ("Wo ist es? äöü", "latin-1"),
    ):
        path.write_bytes(text.encode(charset) * 50)
        assert len(list(iter_messages(path, MailSettings()))) == 1
