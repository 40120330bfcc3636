"""Build the example mailbox: source/*.yaml → mailbox.mbox (messages) and gold.jsonl (true labels).

    python examples/helpdesk/build.py [FOLDER]

writes both files beside this script, or into FOLDER. The same sources give the same bytes: nothing is
drawn by chance and the clock is not read. The keys of a source entry are described in README.md.
"""

import base64
import hashlib
import json
import re
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime, parseaddr
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parent))
from markup import markup
from parts import Part, attachment, flow, fold, header_address, header_text, text_part
from plaintext import Quoted, Written, as_read, attribution, plain

HERE = Path(__file__).parent
DESK = "Varnbrook Support <help@varnbrook.example>"
YEAR = 2026
MULTIPLE = ("gmail", "outlook")  # clients that send a plain and an HTML part
HTML_ONLY = ("webform", "campaign")
MAILERS = {
    "outlook": "Microsoft Outlook 16.0",
    "apple": "iPhone Mail (22F76)",
    "thunderbird": "Mozilla Thunderbird",
    "mutt": "Mutt/2.2.13",
    "campaign": "MailerPro 9.1",
}


def when(spec: dict[str, Any]) -> datetime:
    """`MM-DD hh:mm` of the source as a time in the writer's zone."""
    month, day, hour, minute = map(int, re.split(r"[- :]", spec["date"]))
    summer = 1 if (3, 29) <= (month, day) < (10, 25) else 0
    hours = spec.get("tz", {"en": 0}.get(spec["locale"], 1) + summer)
    return datetime(
        YEAR,
        month,
        day,
        hour,
        minute,
        int(digest(spec)[:4], 16) % 60,
        tzinfo=timezone(timedelta(hours=hours)),
    )


def digest(spec: dict[str, Any]) -> str:
    """Hex that is stable for one entry of the sources."""
    return hashlib.sha256(spec["key"].encode()).hexdigest()


def message_id(spec: dict[str, Any]) -> str:
    """A Message-ID in the shape that the writer's client gives, without angle brackets."""
    family, hexes = spec["client"].split("-")[0], digest(spec)
    host = parseaddr(spec["from"])[1].rpartition("@")[2]
    token = base64.urlsafe_b64encode(bytes.fromhex(hexes)).decode().rstrip("=")
    if family == "gmail":
        return f"CA{token[:36]}@mail.{host}"
    if family == "outlook":
        server = f"AM9PR0{hexes[0].upper()}MB"
        return f"{server}{int(hexes[:6], 16) % 9000 + 1000}{hexes[6:26].upper()}@{server}.eurprd.{host}"
    if family == "apple":
        return f"{str(uuid.UUID(hexes[:32])).upper()}@{host}"
    if family == "mutt":
        return f"{when(spec):%Y%m%d%H%M%S}.GA{int(hexes[:5], 16) % 90000 + 1000}@{host}"
    return f"{uuid.UUID(hexes[:32])}@{host}"


def quoted_of(spec: dict[str, Any]) -> Quoted | None:
    """The answered or forwarded message of an entry; by default the helpdesk wrote it to the sender."""
    kind = "reply" if "quote" in spec else "forward"
    inner = spec.get("quote", spec.get("forward"))
    if inner is None:
        return None
    if isinstance(inner, str):
        inner = {"body": inner}
    hours = 3 + int(digest(spec)[4:6], 16) % 40
    date = (
        when({**spec, "date": inner["date"]})
        if "date" in inner
        else when(spec) - timedelta(hours=hours, minutes=hours)
    )
    name, address = parseaddr(inner.get("from", DESK))
    to = inner.get("to", spec["from"] if kind == "reply" else DESK)
    subject = inner.get(
        "subject", re.sub(r"^((re|fwd?|aw|wg|tr|rv):\s*)+", "", spec["subject"], flags=re.IGNORECASE)
    )
    return Quoted(name, address, to, date, subject, inner["body"], kind)


def written_of(spec: dict[str, Any]) -> Written:
    """The words of an entry, ready for its client."""
    return Written(
        client=spec["client"],
        lang=spec["locale"] if spec["locale"] in ("de", "fr", "es") else "en",
        body=spec["body"],
        signature=spec.get("sig", "").rstrip("\n"),
        quoted=None if spec.get("forward_as") == "attachment" else quoted_of(spec),
        charset=spec.get("charset", "utf-8"),
        top=spec.get("top", spec["client"].split("-")[0] not in ("thunderbird", "mutt")),
        form=spec.get("form", {}),
    )


def text_of(spec: dict[str, Any]) -> Part:
    """The text of the message: plain, HTML only, or both as alternatives."""
    written, family = written_of(spec), spec["client"].split("-")[0]
    if spec.get("html") == "only" or family in HTML_ONLY:
        return text_part(markup(written), "html", spec)
    text = plain(written)
    shape = flow if spec.get("flowed") else fold if family == "gmail" else str
    plain_part = text_part(shape(text), "plain", spec)
    if family not in MULTIPLE or spec.get("html") == "none":
        return plain_part
    return Part(
        [("Content-Type", "multipart/alternative")], [plain_part, text_part(markup(written), "html", spec)]
    )


def attached_message(spec: dict[str, Any]) -> Part:
    """The forwarded message as a message/rfc822 part."""
    quoted = quoted_of(spec)
    assert quoted is not None
    inner = text_part(quoted.body, "plain", {})
    headers = [
        ("From", header_address(f"{quoted.name} <{quoted.address}>")),
        ("To", header_address(quoted.to)),
        ("Subject", header_text(quoted.subject)),
        ("Date", format_datetime(quoted.date)),
        ("Message-ID", f"<{digest(spec)[:20]}.inner@{quoted.address.rpartition('@')[2]}>"),
        ("MIME-Version", "1.0"),
        *inner.headers,
    ]
    return Part(
        [("Content-Type", "message/rfc822")], Part(headers, inner.content).render(spec["key"] + "/inner")
    )


def calendar_part(spec: dict[str, Any]) -> Part:
    """An invitation or the answer to one (RFC 5546)."""
    event = spec["calendar"]
    lines = [
        "BEGIN:VCALENDAR",
        "PRODID:-//Example//Calendar 1.0//EN",
        "VERSION:2.0",
        f"METHOD:{event['method']}",
        "BEGIN:VEVENT",
        f"UID:{digest(spec)[:16]}@varnbrook.example",
        f"DTSTAMP:{when(spec):%Y%m%dT%H%M%S}",
        f"DTSTART:{event['start']}",
        f"DTEND:{event['end']}",
        f"SUMMARY:{event['summary']}",
        f"LOCATION:{event['location']}",
        f"ORGANIZER:mailto:{event['organizer']}",
        "STATUS:CONFIRMED",
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    ]
    headers = [
        ("Content-Type", f'text/calendar; charset="utf-8"; method={event["method"]}'),
        ("Content-Transfer-Encoding", "base64"),
    ]
    return Part(headers, base64.encodebytes("\r\n".join(lines).encode()))


def body_of(spec: dict[str, Any]) -> Part:
    """Text, and whatever hangs on it, as one part."""
    part = text_of(spec)
    if "calendar" in spec:
        inner = part.content if isinstance(part.content, list) else [part]
        part = Part([("Content-Type", "multipart/alternative")], [*inner, calendar_part(spec)])
    extras = [attachment(name) for name in spec.get("attach", [])]
    if spec.get("forward_as") == "attachment":
        extras.append(attached_message(spec))
    return Part([("Content-Type", "multipart/mixed")], [part, *extras]) if extras else part


def thread_headers(spec: dict[str, Any], by_key: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """In-Reply-To and References: the customer's earlier mails and the helpdesk's answers between them."""
    answers = "quote" in spec or "after" in spec or (spec["subject"] or "").lower().startswith("re:")
    if not answers:
        return []
    chain, current = [], spec
    while True:
        chain.append(f"<{digest(current)[10:26]}.ticket@varnbrook.example>")
        if "after" not in current:
            break
        current = by_key[current["after"]]
        chain.append(f"<{message_id(current)}>")
    return [("In-Reply-To", chain[0]), ("References", "\n ".join(reversed(chain)))]


def message(spec: dict[str, Any], by_key: dict[str, dict[str, Any]]) -> bytes:
    """One entry of the sources as a whole message."""
    date, family, charset = when(spec), spec["client"].split("-")[0], spec.get("charset", "utf-8")
    host = parseaddr(spec["from"])[1].rpartition("@")[2]
    received = (
        f"from mail.{host} (mail.{host} [192.0.2.{int(digest(spec)[:2], 16) % 250 + 1}])\n"
        f"\tby mx1.varnbrook.example with ESMTPS id {digest(spec)[:12]};\n"
        f"\t{format_datetime(date + timedelta(seconds=4))}"
    )
    headers = [
        ("Return-Path", f"<{parseaddr(spec['from'])[1]}>"),
        ("Received", received),
        ("From", header_address(spec["from"], charset)),
        ("To", header_address(spec.get("to", DESK))),
        *([] if spec["subject"] is None else [("Subject", header_text(spec["subject"], charset))]),
        ("Date", format_datetime(date)),
        ("Message-ID", f"<{message_id(spec)}>"),
        *thread_headers(spec, by_key),
        *([("X-Mailer", MAILERS[family])] if family in MAILERS else []),
        *((name, header_text(value)) for name, value in spec.get("headers", {}).items()),
        ("MIME-Version", "1.0"),
    ]
    body = body_of(spec)
    return Part([*headers, *body.headers], body.content).render(spec["key"])


def gold_line(spec: dict[str, Any]) -> dict[str, str]:
    """What a person would copy from a mail reader, with the true label."""
    body = plain(written_of(spec), write_links=False)
    if spec.get("forward_as") == "attachment":
        quoted = quoted_of(spec)
        assert quoted is not None
        head = attribution(Written(client="outlook", lang="en", body="", quoted=quoted))
        body += f"\n{head}\n\n{as_read(quoted.body)}"
    line = {
        "id": message_id(spec),
        "label": spec["label"],
        "subject": spec["subject"] or "",
        "body": body.strip("\n"),
    }
    return line | ({"note": spec["note"]} if "note" in spec else {})


def read_sources(folder: Path = HERE / "source") -> list[dict[str, Any]]:
    """All entries, oldest first, with defaults filled in and the label of the heading they stand under."""
    specs: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.yaml")):
        for label, entries in yaml.safe_load(path.read_text("utf-8")).items():
            for entry in entries:
                defaults = {"label": label, "client": "gmail", "lang": "en", "subject": "", "body": ""}
                spec = defaults | entry
                spec.setdefault("key", f"{spec['from']}|{spec['date']}")
                spec.setdefault("locale", spec["lang"])
                specs.append(spec)
    return sorted(specs, key=lambda spec: (when(spec), spec["key"]))


def mbox_lines(specs: list[dict[str, Any]]) -> Iterator[bytes]:
    """The messages in mbox form (mboxrd: body lines that begin with `From ` get a `>`)."""
    by_key = {spec["key"]: spec for spec in specs}
    for spec in specs:
        stamp = when(spec).astimezone(UTC).strftime("%a %b %d %H:%M:%S %Y")
        text = re.sub(rb"^(>*From )", rb">\1", message(spec, by_key), flags=re.MULTILINE)
        yield f"From {parseaddr(spec['from'])[1]} {stamp}\n".encode() + text.rstrip(b"\n") + b"\n\n"


def build(folder: Path) -> None:
    """Write mailbox.mbox and gold.jsonl into `folder`."""
    specs = read_sources()
    (folder / "mailbox.mbox").write_bytes(b"".join(mbox_lines(specs)))
    lines = [json.dumps(gold_line(spec), ensure_ascii=False) + "\n" for spec in specs]
    (folder / "gold.jsonl").write_bytes("".join(lines).encode())


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
