"""Reads every message of the raw corpora and prints robustness, speed and quality as a table or JSON.

    python benchmarks/mail_corpora.py [--json] [--unpacked DIR]

The archives are looked for in $MAILROOM_DATA (default: ../shared/data beside the checkout) and unpacked to
a temporary folder, unless --unpacked names one that holds them already.
"""

import argparse
import json
import os
import re
import resource
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mailroom.config import MailSettings
from mailroom.mail.parse import parse_message
from mailroom.mail.read import ReadEmail, read_email
from mailroom.mail.segments import QUOTED, REPLY_HEADER, SIGNATURE
from mailroom.mail.sources import Message, iter_messages

DATA = Path(os.environ.get("MAILROOM_DATA", Path(__file__).parents[2] / "shared" / "data"))
CORPORA = ("mail_corpora", "spamassassin")
LIMITS = MailSettings()

# What a person who reads the fixture takes for the reply: (file, own words, words of the quoted part).
_FINE = ["Hi. I am fine.", "Alex"]
_HOW = ["How are you?", "Sasha"]
_STANDARD = "mailgun_talon/tests/fixtures/standard_replies"
_HTML = "mailgun_talon/tests/fixtures/html_replies"
_STRIPPED = "mailgun_talon/tests/fixtures/signature/emails/stripped"
_GITHUB = "github_email_reply_parser/test/emails"
_TEXT_REPLIES = (
    "android", "aol", "apple_mail", "apple_mail_2", "comcast", "gmail", "hotmail", "iphone",
    "sparrow", "thunderbird",
    "yahoo",
)  # fmt: skip
_HTML_REPLIES = (
    "gmail", "hotmail", "mail_ru", "ms_outlook_2003", "ms_outlook_2007", "ms_outlook_2010", "thunderbird",
    "windows_mail", "yandex_ru",
)  # fmt: skip
REPLIES: list[tuple[str, list[str], list[str]]] = [
    *((f"{_STANDARD}/{name}.eml", ["Hello"], ["Hi", "wrote", "Original"]) for name in _TEXT_REPLIES),
    *((f"{_HTML}/{name}.html", _FINE, _HOW) for name in _HTML_REPLIES),
    (f"{_STANDARD}/outlook.eml", ["Hello"], ["Loop", "commented", "From:"]),
    ("mailgun_talon/tests/fixtures/OLK_SRC_BODY_SECTION.html", ["Reply"], ["From:", "Hi"]),
    ("mailgun_talon/tests/fixtures/reply-separated-by-hr.html", ["Hi", "there", "Bob"], ["Hello", "From:"]),
    ("mailgun_talon/tests/fixtures/reply-quotations-share-block.eml",
     ["Hi Katharine.", "menu and proposal."], ["New Booking Inquiry", "From:"]),
    (f"{_GITHUB}/email_1_2.txt",
     ["Hi,", "You can list the keys", "Something like:", "riakClient.delete(bucket, key);", "would do it.",
      "delete them all individually."], ["What is the best way", "wrote:"]),
    (f"{_GITHUB}/email_1_3.txt", ["Oh thanks.", "Having the function would be great."],
     ["You can list", "wrote:"]),
    (f"{_GITHUB}/email_1_4.txt", ["Awesome! I haven't had another problem with it."], ["Loader", "wrote:"]),
    (f"{_GITHUB}/email_1_6.txt", ["I get proper rendering as well."], ["Was this caching", "wrote:"]),
    (f"{_GITHUB}/email_1_7.txt", [":+1:"], ["Steps 0-2", "wrote:"]),
    (f"{_GITHUB}/email_1_8.txt", ["I will reply under this one", "and under this."], ["okay?", "hi there"]),
    (f"{_GITHUB}/email_2_1.txt", ["Outlook with a reply"], ["Dear Google", "Sent:"]),
    (f"{_GITHUB}/email_2_2.txt", ["Outlook with a reply directly above line"], ["A new comment", "Sent:"]),
    (f"{_GITHUB}/email_2_3.txt", ["Outlook with a reply directly above line"], ["A new comment", "Sent:"]),
    (f"{_GITHUB}/email_bullets.txt", ["test 2 this should list second",
    "- and another"], ["Give us", "wrote:"]),
    (f"{_GITHUB}/email_long_quote.txt", ["What is the best way to clear"], [">>>>>>>>>>>>\n"]),
    (f"{_GITHUB}/email_one_is_not_on.txt", ["One outstanding question I had:",
    "when I run..."], ["The good news"]),
    (f"{_GITHUB}/greedy_on.txt", ["On your remote host you can run:", "fails, the tunnel is not working."],
     ["I am having an odd issue", "wrote:"]),
    (f"{_GITHUB}/pathological.txt", ["I think you're onto something.", "get back to a computer."],
     ["I think your code", "wrote:"]),
]  # fmt: skip
# (file, own words, words of the signature); sender names are not given, as in the fixtures' plain bodies.
SIGNATURES: list[tuple[str, list[str], list[str]]] = [
    (f"{_GITHUB}/correct_sig.txt", ["with a correct -- signature."], ["rick"]),
    (f"{_GITHUB}/email_1_1.txt", ["I am currently using the Java HTTP API."], ["mailing list"]),
    (f"{_GITHUB}/email_BlackBerry.txt", ["Here is another email"], ["Sent from"]),
    (f"{_GITHUB}/email_iPhone.txt", ["Here is another email"], ["Sent from"]),
    (f"{_GITHUB}/email_multi_word_sent_from_my_mobile_device.txt", ["Here is another email"], ["Sent from"]),
    (f"{_GITHUB}/email_sent_from_my_not_signature.txt", ["Sent from my desk, is much easier"], []),
    (f"{_GITHUB}/email_sig_delimiter_in_middle_of_line.txt", ["this is not a signature.", "kthxbai"], []),
    (f"{_GITHUB}/email_1_5.txt", ["- This is the fourth bullet point", "for a while."], []),
    *((f"{_STRIPPED}/{name}_body", own, gone) for name, own, gone in (
        ("camel_case", ["Really cool shirts!"], []),
        ("jeff", ["I limited it to the"], ["via mobile"]),
        ("long", ["Sed non aliquam lacus."], ["gina@example.com", "(555)"]),
        ("short_url", ["Please let me know what you see."], ["Noam"]),
        ("sparse", ["Sed non aliquam lacus."], ["AM_LOGO_CLR", "555-931-0702"]),
        ("johndoeexamplecom", ["we wish you the best of luck"], ["President"]),
    )),
]  # fmt: skip


def unpack(name: str, folder: Path) -> Path:
    """The unpacked corpus `name` below `folder`; unpacked from its archive where it is not there yet."""
    target = folder / name
    if not target.is_dir():
        with tarfile.open(DATA / name / "raw.tar.xz") as archive:
            archive.extractall(target, filter="data")
    return target


def measure_speed(folder: Path) -> dict[str, Any]:
    """Parse and clean everything below `folder`, in seconds of one core: company counts little."""
    seconds: list[float] = []
    crashes: list[str] = []
    refused = cut = 0
    for message in iter_messages(folder, LIMITS):
        if message.error:
            refused += 1
            continue
        start = time.thread_time()
        try:
            read = read_email(message, LIMITS)
        except Exception as exc:  # noqa: BLE001 - a crash of any kind is what is counted here
            crashes.append(f"{Path(message.origin).name}: {exc!r}")
            continue
        seconds.append(time.thread_time() - start)
        cut += bool(read.email.metadata.get("cut"))
    return {
        "messages": len(seconds),
        "not_mail": refused,
        "crashes": len(crashes),
        "crashed": crashes[:5],
        "cut": cut,
        "messages_per_second": round(len(seconds) / sum(seconds)),
        "p50_ms": round(sorted(seconds)[len(seconds) // 2] * 1000, 2),
        "slowest_ms": round(max(seconds) * 1000, 1),
    }


def compare_with_mime4j(corpora: Path) -> dict[str, Any]:
    """Compare each text that mime4j decoded with ours; what differs is counted by its reason."""
    resources = corpora / "apache_james-mime4j/core/src/test/resources"
    verdicts: Counter[str] = Counter()
    unexplained: list[str] = []
    for source in sorted(resources.glob("*/*.msg")):
        parsed = parse_message(source.read_bytes(), LIMITS)
        ours = _squeeze("\n".join(line.text for section in parsed.sections for line in section.lines))
        for expected in sorted(source.parent.glob(f"{source.stem}_decoded_*.txt")):
            verdict = _verdict(expected.read_bytes(), ours, source.read_bytes(), parsed.attachments)
            verdicts[verdict] += 1
            if verdict == "differs":
                unexplained.append(expected.name)
    return {**dict(verdicts.most_common()), "differing": unexplained}


def _verdict(expected: bytes, ours: str, source: bytes, attachments: list[str]) -> str:
    texts = {_squeeze(text) for text in _decodings(expected)}
    if any(text in ours for text in texts):
        return "same"
    start = expected.lstrip()[:300].lower()
    if b"<" in start[:40] or b"<br>" in start or b"</" in start:
        return "markup rendered, or the plain alternative chosen"
    if attachments and len(ours) < sum(map(len, attachments)) + len(source):
        return "attachment, by name only"
    if re.search(rb'boundary="[^"\n]* "', source, re.IGNORECASE):
        return "boundary ending in a blank, which RFC 2046 forbids"
    if b"multipart/alternative" in source.lower():
        return "the other alternative chosen"
    return "differs"


def _decodings(data: bytes) -> Iterator[str]:
    for charset in ("utf-8", "cp1252", "iso-8859-15", "iso-8859-2", "koi8-r", "iso2022_jp"):
        try:
            yield data.decode(charset)
        except UnicodeDecodeError:
            continue


def _squeeze(text: str) -> str:
    return re.sub(r"[\s>]+", " ", text).strip()


def check_replies(corpora: Path, cases: list[tuple[str, list[str], list[str]]]) -> dict[str, Any]:
    """Share of fixtures whose other part is removed, whose own text is whole, and both."""
    removed = whole = both = 0
    failed: list[str] = []
    for name, own, gone in cases:
        body = _read_file(corpora / name).email.body
        is_whole, is_removed = all(text in body for text in own), not any(text in body for text in gone)
        removed, whole, both = removed + is_removed, whole + is_whole, both + (is_whole and is_removed)
        if not (is_whole and is_removed):
            failed.append(name.rpartition("/")[2])
    return {"fixtures": len(cases), "removed": removed, "whole": whole, "both": both, "failed": failed}


def _read_file(path: Path) -> ReadEmail:
    data = path.read_bytes()
    return read_email(Message(path.name, "rfc822", data, len(data), False), LIMITS)


def taken_out(folder: Path) -> dict[str, float]:
    """Share of messages from which each reason took something."""
    reasons: Counter[str] = Counter()
    count = 0
    for message in iter_messages(folder, LIMITS):
        if not message.error:
            count += 1
            reasons.update(
                {segment.reason for segment in read_email(message, LIMITS).segments if not segment.kept}
            )
    wanted = (QUOTED, REPLY_HEADER, SIGNATURE)
    return {reason: round(reasons[reason] / max(count, 1), 3) for reason in wanted}


def run(folder: Path) -> dict[str, Any]:
    """Every figure, as one JSON-ready mapping."""
    folders = {name: unpack(name, folder) for name in CORPORA}
    corpora = folders["mail_corpora"]
    return {
        "speed": {name: measure_speed(path) for name, path in folders.items()},
        "mime4j": compare_with_mime4j(corpora),
        "replies": check_replies(corpora, REPLIES),
        "signatures": check_replies(corpora, SIGNATURES),
        "taken_out": {name: taken_out(path) for name, path in folders.items()},
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def print_table(figures: dict[str, Any]) -> None:
    """The figures for a person, one a line."""
    for section, values in figures.items():
        if not isinstance(values, dict):
            print(f"{section:45} {values}")
            continue
        print(section)
        for name, value in values.items():
            print(f"  {name:48} {value}")


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--unpacked", type=Path, help="folder that holds, or shall hold, the unpacked corpora"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        figures = run(arguments.unpacked or Path(scratch))
    if arguments.json:
        json.dump(figures, sys.stdout, indent=2, ensure_ascii=False)
        print()
    else:
        print_table(figures)


if __name__ == "__main__":
    main()
