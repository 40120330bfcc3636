"""text/plain, text/enriched and format=flowed → lines; lumps of encoded data inside a text are marked.

Knows nothing of replies and signatures.
"""

import re

from mailroom.mail.segments import ENCODED, Line

# Far more than is ever kept: room for an attachment that an old mailer put into the text.
_MAX_CHARS = 1_000_000
_MAX_LINES = 50_000

UNSEEN = re.compile(r"[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad\u034f]")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_BLANKS = re.compile(r"\n[ \t]*\n[ \t]*(?:\n[ \t]*)+")
_LONE_CR = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_TRAILING = re.compile(r"[ \t]{1,1000}$", re.MULTILINE)

_UU_BEGIN = re.compile(r"begin(?:-base64)? [0-7]{3,4} \S")
_UU_LINE = re.compile(r"[\x20-\x60]{1,62}$")
_YENC_BEGIN = re.compile(r"=ybegin ")
_BASE64_LINE = re.compile(r"[A-Za-z0-9+/]{55,}={0,2}$")
_UU_FULL_LINE = re.compile(r"M[\x20-\x60]{60,61}$")
_ARMOR_BEGIN = re.compile(r"-----BEGIN (?:PGP|CERTIFICATE|[A-Z0-9 ]{0,40}KEY|PKCS7)[A-Z0-9 ]{0,40}-----$")
_ARMOR_END = re.compile(r"-----END [A-Z0-9 ]{1,60}-----$")
_LUMP_LINES = 3
_ENRICHED = re.compile(r"</?[a-zA-Z][^<>]{0,60}>")


def normalise(text: str) -> str:
    """Line ends to \\n, NBSP to blanks, invisible and control characters out, blank runs squeezed."""
    if "\r" in text or not text.isascii() or "\x0b" in text or "\x0c" in text:
        text = _LONE_CR.sub("\n", text)
    if not text.isascii():
        text = UNSEEN.sub("", text).replace("\u00a0", " ")
        text = text.encode("utf-8", "replace").decode("utf-8") if _has_surrogates(text) else text
    return _BLANKS.sub("\n\n\n", _CONTROL.sub("", text))


def plain_to_lines(text: str) -> list[Line]:
    """Plain text as lines, with uuencoded, yEnc, base64 and armoured lumps marked."""
    lines = normalise(text[:_MAX_CHARS]).split("\n", _MAX_LINES)
    return _mark_lumps([line.rstrip() for line in lines[:_MAX_LINES]])


def unflow(text: str, delete_space: bool) -> str:
    """Join the soft-broken lines of format=flowed (RFC 3676); `-- ` and quotes keep their lines."""
    joined: list[str] = []
    flowing, depth_before = False, 0
    for line in text[:_MAX_CHARS].replace("\r\n", "\n").split("\n"):
        content = line.lstrip(">")
        depth = len(line) - len(content)
        content = content.removeprefix(" ")
        is_signature = content == "-- "
        # Pieces, not lines, are collected: a line that grows by a word at a time takes quadratic time.
        if not (flowing and depth == depth_before and not is_signature):
            joined.append("\n" + (">" * depth + " " if depth else ""))
        flowing = content.endswith(" ") and not is_signature
        joined.append(content[:-1] if flowing and delete_space else content)
        depth_before = depth
    return "".join(joined).removeprefix("\n")


def unenrich(text: str) -> str:
    """Take the commands out of text/enriched and text/richtext (RFC 1896)."""
    return _ENRICHED.sub("", re.sub(r"<param>[^<]{0,200}</param>", "", text.replace("<<", "<")))


def _has_surrogates(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _mark_lumps(lines: list[str]) -> list[Line]:
    marked: list[Line] = []
    number = 0
    while number < len(lines):
        line = lines[number]
        end = _lump_end(lines, number) if len(line) > 8 else number
        if end > number:
            marked += [Line(text, ENCODED) for text in lines[number:end]]
            number = end
        else:
            marked.append(Line(line))
            number += 1
    return marked


def _lump_end(lines: list[str], start: int) -> int:
    """Where the lump ends that begins at `start`; `start` itself where none does."""
    line = lines[start]
    if line.startswith("begin") and _UU_BEGIN.match(line):
        return _end_of_run(lines, start + 1, _UU_LINE, ("end",), start)
    if line.startswith("=y") and _YENC_BEGIN.match(line):
        return _end_at(lines, start, "=yend")
    if line.startswith("-----BEGIN") and _ARMOR_BEGIN.match(line):
        if "SIGNED MESSAGE" in line:
            return _end_of_armor_header(lines, start)
        return _end_of_armor(lines, start)
    pattern = _BASE64_LINE if _BASE64_LINE.match(line) else _UU_FULL_LINE
    if pattern.match(line):
        return _end_of_run(lines, start, pattern, (), start)
    return start


def _end_of_run(
    lines: list[str], at: int, pattern: re.Pattern[str], closing: tuple[str, ...], start: int
) -> int:
    first = at
    while at < len(lines) and lines[at] not in closing and pattern.match(lines[at]):
        at += 1
    if at - first < _LUMP_LINES and not (closing and at < len(lines) and lines[at] in closing):
        return start
    # The last line of a lump is shorter than the others.
    if not closing and at < len(lines) and re.fullmatch(r"[A-Za-z0-9+/]{4,}={1,2}", lines[at]):
        return at + 1
    return at + 1 if at < len(lines) and lines[at] in closing else at


def _end_at(lines: list[str], start: int, closing: str) -> int:
    for at in range(start + 1, len(lines)):
        if lines[at].startswith(closing):
            return at + 1
    return len(lines)


def _end_of_armor(lines: list[str], start: int) -> int:
    for at in range(start + 1, min(len(lines), start + 5000)):
        if _ARMOR_END.match(lines[at]):
            return at + 1
        if lines[at].startswith("-----BEGIN"):
            break
    return start


def _end_of_armor_header(lines: list[str], start: int) -> int:
    at = start + 1
    while at < len(lines) and at < start + 6 and lines[at].strip():
        at += 1
    return at
