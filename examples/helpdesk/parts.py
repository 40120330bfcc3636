"""MIME parts as bytes: text in a charset and transfer encoding, attachments, header values.

Written out by hand rather than with the standard library's generator, so that the bytes do not depend
on the Python version.
"""

import base64
import hashlib
import quopri
import re
import textwrap
from dataclasses import dataclass
from email.header import Header
from email.utils import formataddr, parseaddr
from typing import Any

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
    b"2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
)
FILE_TYPES = {
    "pdf": ("application/pdf", PDF),
    "png": ("image/png", PIXEL),
    "jpg": ("image/jpeg", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xd9"),
    "heic": ("image/heic", b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00heicmif1"),
    "mp4": ("video/mp4", b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"),
    "docx": (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        b"PK\x05\x06" + bytes(18),
    ),
    "xlsx": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", b"PK\x05\x06" + bytes(18)),
    "zip": ("application/zip", b"PK\x05\x06" + bytes(18)),
    "txt": (
        "text/plain",
        b"2026-05-11T06:02:11Z hub uplink lost, retry in 30 s\n2026-05-11T06:02:41Z hub uplink up\n",
    ),
    "log": ("text/plain", b"E (4121) wifi: assoc timeout\nE (9177) wifi: assoc timeout\n"),
    "vcf": ("text/vcard", b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Sales Desk\r\nEND:VCARD\r\n"),
}


@dataclass(frozen=True)
class Part:
    """A MIME part: header lines without Content-Type's boundary, and bytes or further parts."""

    headers: list[tuple[str, str]]
    content: "bytes | list[Part]"

    def render(self, seed: str) -> bytes:
        """Header lines, an empty line, the body; boundaries follow from `seed`."""
        if isinstance(self.content, bytes):
            return self._head(self.headers) + b"\n" + self.content
        boundary = "=_" + hashlib.sha256(seed.encode()).hexdigest()[:24]
        kind = dict(self.headers)["Content-Type"]
        headers = [
            *((k, v) for k, v in self.headers if k != "Content-Type"),
            ("Content-Type", f'{kind}; boundary="{boundary}"'),
        ]
        pieces = [part.render(f"{seed}/{number}") for number, part in enumerate(self.content)]
        body = b"".join(b"--" + boundary.encode() + b"\n" + piece.rstrip(b"\n") + b"\n" for piece in pieces)
        return self._head(headers) + b"\n" + body + b"--" + boundary.encode() + b"--\n"

    @staticmethod
    def _head(headers: list[tuple[str, str]]) -> bytes:
        return "".join(f"{name}: {value}\n" for name, value in headers).encode("ascii", "strict")


def encode(data: bytes, encoding: str) -> bytes:
    """Bytes in a Content-Transfer-Encoding."""
    if encoding == "base64":
        return base64.encodebytes(data)
    return quopri.encodestring(data) if encoding == "quoted-printable" else data


def text_part(text: str, kind: str, spec: dict[str, Any]) -> Part:
    """A text part in the charset and transfer encoding that the source asks for."""
    charset = spec.get("charset", "utf-8")
    data = text.encode(charset)
    ascii_only = all(byte < 128 for byte in data) and max(map(len, data.split(b"\n"))) < 900
    encoding = spec.get("encoding") or ("7bit" if ascii_only else "quoted-printable")
    flowed = "; format=flowed" if spec.get("flowed") and kind == "plain" else ""
    content_type = f'text/{kind}; charset="{charset}"{flowed}'
    headers = [("Content-Type", content_type), ("Content-Transfer-Encoding", encoding)]
    return Part(headers, encode(data, encoding))


def flow(text: str) -> str:
    """RFC 3676: lines of at most 72 characters, a space before each soft break."""
    out = []
    for line in text.split("\n"):
        mark, rest = re.match(r"((?:> ?)*)(.*)", line, re.DOTALL).groups()  # type: ignore[union-attr]
        while len(mark + rest) > 72 and " " in rest[: 71 - len(mark)]:
            cut = rest.rindex(" ", 0, 71 - len(mark)) + 1
            out.append(mark + rest[:cut])
            rest = rest[cut:]
        out.append(mark + rest)
    return "\n".join(out)


def fold(text: str) -> str:
    """Lines of at most 76 characters, broken for good, as webmail does in its plain part."""
    wrapper = textwrap.TextWrapper(76, break_long_words=False, break_on_hyphens=False)
    out = []
    for line in text.split("\n"):
        mark = re.match(r"((?:> ?)*)", line)[1]  # type: ignore[index]
        pieces = wrapper.wrap(line[len(mark) :]) if len(line) > 76 else [line[len(mark) :]]
        out += [mark + piece for piece in pieces]
    return "\n".join(out)


def parameter(name: str, value: str) -> str:
    """A header parameter, in RFC 2231 form where it is not ASCII."""
    if value.isascii():
        return f'; {name}="{value}"'
    return f"; {name}*=utf-8''" + "".join(
        c if re.match(r"[\w.-]", c) and c.isascii() else "".join(f"%{b:02X}" for b in c.encode())
        for c in value
    )


def attachment(name: str) -> Part:
    """A tiny file whose type follows from its suffix."""
    kind, data = FILE_TYPES[name.rsplit(".", 1)[-1].lower()]
    return Part(
        [
            ("Content-Type", kind + parameter("name", name)),
            ("Content-Transfer-Encoding", "base64"),
            ("Content-Disposition", "attachment" + parameter("filename", name)),
        ],
        base64.encodebytes(data),
    )


def header_text(text: str, charset: str = "utf-8") -> str:
    """A header value, in RFC 2047 words where it is not ASCII."""
    if text.isascii():
        return text
    return Header(text, charset, maxlinelen=70).encode()


def header_address(address: str, charset: str = "utf-8") -> str:
    """`Name <box@host>` with the name encoded as needed."""
    name, box = parseaddr(address)
    return f"{header_text(name, charset)} <{box}>" if not name.isascii() else formataddr((name, box))
