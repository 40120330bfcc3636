"""Bytes and a declared charset → text, whatever the declaration is worth.

UTF-8 is tried first: text in another charset hardly ever passes for it. Never raises. Knows nothing of MIME.
"""

import codecs
import re
from functools import lru_cache

from charset_normalizer import from_bytes

# Names that mail carries and Python does not know, or that mean another charset in practice: browsers read
# latin-1 and ASCII as cp1252, gb2312 as its superset, and so does every mailer that people use.
_MEANT = {
    "ascii": "cp1252",
    "us-ascii": "cp1252",
    "ansi_x3.4-1968": "cp1252",
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-6-i": "iso-8859-6",
    "iso-8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "x-sjis": "cp932",
    "x-gbk": "gb18030",
    "windows-31j": "cp932",
    "unicode-1-1-utf-7": "utf-7",
    "utf8mb4": "utf-8",
    "cp-850": "cp850",
    "x-mac-roman": "mac-roman",
    "macintosh": "mac-roman",
}
# Codecs that are no charsets, or whose decoders are known to take quadratic time.
_REFUSED = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"})
_SEVEN_BIT = frozenset({"iso2022_jp", "iso2022_jp_1", "iso2022_jp_2", "iso2022_kr", "hz", "utf-7"})
_GUESS_BYTES = 4096
# Line by line is slow, and a million characters are more than is ever kept.
_MIXED_BYTES = 1_000_000
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
# What UTF-8 looks like once it was read as cp1252 and encoded again: Ã¼, â€™, Â£ …
_MOJIBAKE = re.compile(r"[ÃÂ][\u0080-¿ŒœŠšŸŽžƒˆ˜–—‘’‚“”„†‡•…‰‹›€™]|â€|ðŸ")


def decode(data: bytes, declared: str | None) -> str:
    """Decode text of which the charset is declared rightly, wrongly or not at all."""
    for bom, name in _BOMS:
        if data.startswith(bom):
            return data[len(bom) :].decode(name, "replace")
    codec = codec_name(declared)
    if codec and (codec in _SEVEN_BIT or codec.startswith(("utf-16", "utf-32"))):
        return _repair(_decode_strict(data, codec) or data.decode(codec, "replace"))
    if data.isascii():
        return data.decode("ascii")
    text = _decode_strict(data, "utf-8")
    if text is None and codec and codec != "utf-8":
        text = _decode_strict(data, codec)
        # cp1252 reads nearly anything: where it was only assumed, let statistics have a say.
        if text is not None and codec == "cp1252" and _looks_foreign(text):
            text = _guess(data) or text
    if text is None:
        text = _decode_mixed(data, codec)
    return _repair(text)


@lru_cache(maxsize=256)
def codec_name(declared: str | None) -> str | None:
    """The codec that a declared charset means in practice, or None where it names none."""
    if not declared:
        return None
    name = declared.strip().strip("\"'").strip().lower().replace(" ", "")
    name = _MEANT.get(name, name)
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError, UnicodeError):
        return None
    if found.name in _REFUSED or not getattr(found, "_is_text_encoding", True):
        return None
    return found.name


def _decode_strict(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except (UnicodeError, ValueError):
        return None


def _decode_mixed(data: bytes, codec: str | None) -> str:
    """Text that no single charset reads: each line in UTF-8 where it can be, else in the other one."""
    if codec in (None, "utf-8", "cp1252"):
        other = "cp1252"
        if _utf8_lines_are_rare(data) and (guessed := _guess(data)):
            return guessed
    else:
        other = str(codec)
    lines = data[:_MIXED_BYTES].split(b"\n")
    return "\n".join(_decode_line(line, other) for line in lines)


def _decode_line(line: bytes, other: str) -> str:
    text = _decode_strict(line, "utf-8")
    if text is None:
        text = _decode_strict(line, other)
    if text is None:
        text = line.decode(other, "replace")
    return text.replace("\ufffd", "") if other == "cp1252" else text


def _utf8_lines_are_rare(data: bytes) -> bool:
    """Whether a declaration of UTF-8 (or of nothing) is refuted, not merely broken in one place."""
    lines = _high_lines(data)
    valid = sum(_decode_strict(line, "utf-8") is not None for line in lines)
    return valid * 3 < len(lines)


def _high_lines(data: bytes) -> list[bytes]:
    """The first lines with bytes beyond ASCII."""
    return [line for line in data[: 16 * _GUESS_BYTES].split(b"\n") if not line.isascii()]


def _looks_foreign(text: str) -> bool:
    """Whether cp1252 text has more accented capitals and symbols than any western language."""
    sample = text[:_GUESS_BYTES]
    high = sum(1 for char in sample if char > "\x7f")
    return high * 4 > len(sample) and high > 10


def _guess(data: bytes) -> str | None:
    """The charset by statistics (slow, so on a sample and only where all else failed)."""
    sample = b"\n".join(_high_lines(data))[:_GUESS_BYTES]
    high = sum(1 for byte in sample if byte > 0x7F)
    # Statistics of a few accents among Latin letters are noise; another script shows in every word.
    if high < 16 or high * 4 < len(sample):
        return None
    best = from_bytes(sample, steps=3, chunk_size=256, enable_fallback=False).best()
    if best is None or codec_name(best.encoding) is None:
        return None
    return data.decode(best.encoding, "replace")


def _repair(text: str) -> str:
    """Undo UTF-8 that was read as cp1252 and encoded again, where the way back is exact."""
    if "Ã" not in text and "â€" not in text and "Â" not in text:
        return text
    if len(_MOJIBAKE.findall(text[:20_000])) < 2:
        return text
    return "\n".join(_repair_line(line) for line in text.split("\n"))


def _repair_line(line: str) -> str:
    if not _MOJIBAKE.search(line):
        return line
    try:
        return line.encode("cp1252").decode("utf-8")
    except (UnicodeError, ValueError):
        return line
