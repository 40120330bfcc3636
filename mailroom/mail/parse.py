"""Raw bytes of one message → headers, sections of text lines, attachment names, warnings.

The limits of `MailSettings` are applied here: what lies beyond is left out and named in a warning.
Knows nothing of quotes and signatures in prose (`clean`) nor of labels.
"""

import re
from dataclasses import dataclass, field
from email.message import EmailMessage

from mailroom.config import MailSettings
from mailroom.mail.calendar_part import calendar_lines
from mailroom.mail.charset import decode
from mailroom.mail.headers import (
    charset_of,
    content_type,
    parameter,
    parse_header,
    raw_header,
    text_header,
)
from mailroom.mail.html import MAX_HTML_CHARS, drop_data_urls, html_to_lines, looks_like_html
from mailroom.mail.mime import guess_boundary, split_header, split_multipart, transfer_decode
from mailroom.mail.plain import plain_to_lines, unenrich, unflow
from mailroom.mail.segments import RETURNED, Line, Section

_PART_HEADER_BYTES = 8 * 1024
_SHORT_TEXT_CHARS = 200
# No charset takes more than four bytes a character, and no more than a million characters are looked at.
_TEXT_BYTES = 4_000_000
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s{0,5}=\s{0,5}[\"']?([\w-]{2,30})", re.IGNORECASE)
_KNOWN_HEADER = re.compile(
    rb"^(?:from|to|cc|bcc|subject|date|received|message-id|content-[\w-]+|mime-version|return-path|delivered-to|reply-to"
    rb"|sender|newsgroups|path|organization|in-reply-to|references|x-[\w-]+|lines"
    rb"|resent-[\w-]+|list-[\w-]+|status)[ \t]*:",
    re.IGNORECASE | re.MULTILINE,
)
_REPLY_SUBJECT = re.compile(
    r"\s*(?:re|aw|sv|vs|antw|odp|ref|rif|res|回复|答复|返信)\s*(?:\[\d+\])?\s*[:：]", re.IGNORECASE
)
_FORWARD_SUBJECT = re.compile(
    r"\s*(?:fwd?|wg|tr|rv|enc|i|vb|vl|pd|doorst|fs|转发|転送|전달)\s*(?:\[\d+\])?\s*[:：]|\s*\[fwd?:",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Parsed:
    """What one message holds; `sections[0]` is the message itself, further ones were attached to it."""

    header: EmailMessage
    sections: list[Section] = field(default_factory=list)
    attachments: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    cut: bool = False


@dataclass(slots=True)
class _Walk:
    """The state of one walk over the parts."""

    limits: MailSettings
    parsed: Parsed
    parts: int = 0
    decoded_bytes: int = 0
    html_chars: int = 0

    def warn(self, text: str, *, cut: bool = False) -> None:
        if text not in self.parsed.warnings:
            self.parsed.warnings.append(text)
        self.parsed.cut = self.parsed.cut or cut


@dataclass(slots=True)
class _Part:
    header: EmailMessage
    body: bytes
    media_type: str
    depth: int
    top: bool = False


def parse_message(data: bytes, limits: MailSettings) -> Parsed:
    """Parse one raw message of any quality; never raises."""
    data = data.lstrip(b"\r\n")
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    while data.startswith((b"From ", b">From ")) and b"\n" in data:
        data = data[data.index(b"\n") + 1 :]
    warnings: list[str] = []
    block, body = split_header(data)
    if len(block) > limits.max_header_bytes:
        warnings.append(f"headers were cut at {limits.max_header_bytes} bytes")
        block = block[: limits.max_header_bytes]
    if not _KNOWN_HEADER.search(block):
        block, body = b"", data
    header, rest = parse_header(block)
    if rest.strip():
        body = rest + b"\n" + body
    walk = _Walk(limits, Parsed(header, warnings=warnings, cut=bool(warnings)))
    _add_message(walk, header, body, 0, forwarded=False)
    return walk.parsed


def _add_message(walk: _Walk, header: EmailMessage, body: bytes, depth: int, *, forwarded: bool) -> None:
    """Append the section of one message, then those of the messages attached to it."""
    subject = text_header(header, "subject")
    number = len(walk.parsed.sections)
    walk.parsed.sections.append(Section([]))
    part = _Part(header, body, content_type(header), depth, top=True)
    lines = _read_part(walk, part)
    bulk = any(raw_header(header, name) for name in ("list-id", "list-unsubscribe", "precedence"))
    walk.parsed.sections[number] = Section(
        lines,
        sender=text_header(header, "from"),
        subject=subject,
        forwarded=forwarded or bool(_FORWARD_SUBJECT.match(subject)),
        reply=bool(_REPLY_SUBJECT.match(subject) or raw_header(header, "in-reply-to")),
        bulk=bulk,
    )


def _read_part(walk: _Walk, part: _Part) -> list[Line]:
    """Lines of a part and everything in it, within the limits."""
    walk.parts += 1
    if walk.parts > walk.limits.max_parts:
        walk.warn(f"more than {walk.limits.max_parts} parts; the others were left out", cut=True)
        return []
    if part.depth > walk.limits.max_depth:
        walk.warn(f"nested deeper than {walk.limits.max_depth} levels; the rest was left out", cut=True)
        return []
    main, _, sub = part.media_type.partition("/")
    if main == "multipart":
        return _read_multipart(walk, part, sub)
    if main == "message":
        return _read_attached_message(walk, part, sub)
    if main == "text" and not _is_attachment(part):
        return _read_text(walk, part, sub)
    _note_attachment(walk, part)
    return []


def _read_multipart(walk: _Walk, part: _Part, sub: str) -> list[Line]:
    children = _children(walk, part, sub)
    if not children:
        return _read_text(walk, part, "plain")
    if sub == "alternative":
        return _read_alternative(walk, children)
    if sub == "signed":
        children = children[:1]
    lines: list[Line] = []
    for number, child in enumerate(children):
        if sub == "related" and number and child.media_type.startswith(("image/", "text/css")):
            continue
        # A named text after the first one is a file that the mailer chose to show inline.
        if lines and child.media_type.startswith("text/") and _file_name(child.header):
            _note_attachment(walk, child)
            continue
        if sub == "report" and child.media_type.startswith(("message/", "text/rfc822")):
            lines += [Line(line.text, RETURNED) for line in _returned_lines(walk, child)]
            continue
        more = _read_part(walk, child)
        lines += [Line(""), *more] if lines and more else more
    return lines


def _children(walk: _Walk, part: _Part, sub: str) -> list[_Part]:
    body = _decoded_container(walk, part)
    named = parameter(part.header, "boundary").encode("utf-8", "replace").rstrip()
    room = max(walk.limits.max_parts - walk.parts, 0) + 1
    sources = list(split_multipart(body, named, room)) if named else []
    if not sources and (guessed := guess_boundary(body)):
        walk.warn("the MIME boundary was missing or wrong; guessed from the text")
        sources = list(split_multipart(body, guessed, room))
    default = "message/rfc822" if sub == "digest" else "text/plain"
    return [_child(source, default, part.depth + 1) for source in sources]


def _child(source: bytes, default: str, depth: int) -> _Part:
    block, body = split_header(source)
    if not re.match(rb"[!-9;-~]{1,100}[ \t]*:", block.lstrip()[:120]):
        block, body = b"", source
    header, rest = parse_header(block[:_PART_HEADER_BYTES])
    if rest.strip():
        body = rest + b"\n" + body
    return _Part(header, body, content_type(header, default), depth)


def _read_alternative(walk: _Walk, children: list[_Part]) -> list[Line]:
    """The one version of a text that says most: plain text, unless it is a stub for the HTML one."""
    best: list[Line] = []
    extra: list[Line] = []
    for child in children:
        if child.media_type == "text/calendar":
            extra = _read_part(walk, child)
        elif child.media_type in ("text/x-amp-html", "text/watch-html"):
            continue
        elif not best or (_chars(best) < _SHORT_TEXT_CHARS and not child.media_type.startswith("image/")):
            lines = _read_part(walk, child)
            if not best or _chars(lines) > 4 * _chars(best):
                best = lines
    known = {line.text.strip() for line in best}
    extra = [line for line in extra if line.text.strip() not in known]
    return [*best, Line(""), *extra] if extra else best


def _read_attached_message(walk: _Walk, part: _Part, sub: str) -> list[Line]:
    if sub not in ("rfc822", "global", "news"):
        if sub == "partial" or sub == "external-body":
            walk.warn(f"message/{sub}: the rest of the text is elsewhere")
        return (
            [Line(line.text, RETURNED) for line in _returned_lines(walk, part)]
            if sub != "external-body"
            else []
        )
    block, body = split_header(_decoded_container(walk, part).lstrip(b"\r\n"))
    header, rest = parse_header(block[:_PART_HEADER_BYTES])
    if rest.strip():
        body = rest + b"\n" + body
    _add_message(walk, header, body, part.depth + 1, forwarded=True)
    return []


def _returned_lines(walk: _Walk, part: _Part) -> list[Line]:
    """The machine-readable rest of a delivery report: shown as taken out, never read."""
    source = part.body[:_PART_HEADER_BYTES]
    walk.decoded_bytes += len(source)
    return plain_to_lines(decode(source, None))


def _read_text(walk: _Walk, part: _Part, sub: str) -> list[Line]:
    room = walk.limits.max_decoded_bytes - walk.decoded_bytes
    # HTML may hold inline images, and its text stands behind them.
    room = room if sub == "html" else min(room, _TEXT_BYTES)
    if room <= 0:
        walk.warn(f"more than {walk.limits.max_decoded_bytes} bytes of text; the rest was left out", cut=True)
        return []
    data, problem = transfer_decode(part.body, raw_header(part.header, "content-transfer-encoding"), room + 1)
    if problem:
        walk.warn(problem)
    if len(data) > room:
        data = data[:room]
        walk.warn(f"text was cut at {room} bytes", cut=True)
    walk.decoded_bytes += len(data)
    if data.count(0) * 10 > len(data) and not (charset_of(part.header) or "").lower().startswith("utf-"):
        walk.warn("text full of NUL bytes")
    return _text_to_lines(walk, part, sub, data)


def _text_to_lines(walk: _Walk, part: _Part, sub: str, data: bytes) -> list[Line]:
    charset = charset_of(part.header)
    if charset is None and sub == "html" and (found := _META_CHARSET.search(data[:4096])):
        charset = found[1].decode("ascii")
    text = decode(data, charset)
    if sub == "calendar":
        return [Line(line) for line in calendar_lines(text)]
    if sub in ("html", "xhtml", "xml") or (sub == "plain" and looks_like_html(text[:600])):
        return _read_html(walk, text)
    if sub in ("enriched", "richtext"):
        text = unenrich(text)
    if parameter(part.header, "format").lower() == "flowed":
        text = unflow(text, parameter(part.header, "delsp").lower() == "yes")
    return plain_to_lines(text)


def _read_html(walk: _Walk, text: str) -> list[Line]:
    """Lines of an HTML text; all of a message's parts share one allowance, since layout is slow to undo."""
    text = drop_data_urls(text)
    room = MAX_HTML_CHARS - walk.html_chars
    if len(text) > room:
        walk.warn(f"HTML was cut at {MAX_HTML_CHARS} characters", cut=True)
    walk.html_chars += len(text)
    lines, problem = html_to_lines(text[: max(room, 0)])
    if problem:
        walk.warn(problem, cut=True)
    return lines


def _decoded_container(walk: _Walk, part: _Part) -> bytes:
    """The body of a multipart or message; an encoded one is forbidden by RFC 2045, and common."""
    encoding = raw_header(part.header, "content-transfer-encoding").lower()
    if encoding not in ("base64", "quoted-printable"):
        return part.body
    data, _ = transfer_decode(part.body, encoding, walk.limits.max_message_bytes)
    return data if b"\n" in data or b":" in data else part.body


def _is_attachment(part: _Part) -> bool:
    if part.top:
        return False
    if raw_header(part.header, "content-disposition").lower().startswith("attachment"):
        return True
    return part.media_type in (
        "text/x-vcard",
        "text/vcard",
        "text/directory",
        "text/css",
        "text/csv",
        "text/rtf",
    )


def _note_attachment(walk: _Walk, part: _Part) -> None:
    name = _file_name(part.header) or part.media_type
    if part.media_type not in ("application/pgp-signature", "application/pkcs7-signature"):
        walk.parsed.attachments.append(name)


def _file_name(header: EmailMessage) -> str:
    name = parameter(header, "filename", "content-disposition") or parameter(header, "name")
    return name.replace("\\", "/").rsplit("/", 1)[-1][:200]


def _chars(lines: list[Line]) -> int:
    return sum(len(line.text) for line in lines if not line.reason)
