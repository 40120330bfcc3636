"""A text/calendar part (RFC 5545) → a few lines that say what, when and where."""

import re

_FOLD = re.compile(r"\r?\n[ \t]")
_WANTED = {"SUMMARY": "", "DTSTART": "When: ", "LOCATION": "Where: ", "DESCRIPTION": ""}
_ESCAPES = {"\\n": "\n", "\\N": "\n", "\\,": ",", "\\;": ";", "\\\\": "\\"}
_ESCAPED = re.compile(r"\\[nN,;\\]")
_STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)\d\d(Z?))?")
_MAX_CHARS = 100_000
_MAX_LINES = 60


def calendar_lines(source: str) -> list[str]:
    """The first event's method, summary, start, location and description as lines of text."""
    found: dict[str, str] = {}
    method, in_event = "", False
    for line in _FOLD.sub("", source[:_MAX_CHARS]).splitlines():
        name, _, value = line.partition(":")
        name = name.split(";")[0].strip().upper()
        if name == "METHOD":
            method = value.strip().lower()
        elif name == "BEGIN" and value.strip().upper() in ("VEVENT", "VTODO"):
            in_event = True
        elif name == "END" and in_event and value.strip().upper() in ("VEVENT", "VTODO"):
            break
        elif in_event and name in _WANTED and name not in found:
            found[name] = _unescape(value)
    lines = [f"Calendar {method}"] if method and found else []
    for name, prefix in _WANTED.items():
        value = _readable_time(found.get(name, "")) if name == "DTSTART" else found.get(name, "")
        if value.strip():
            lines += f"{prefix}{value}".split("\n")
    return lines[:_MAX_LINES]


def _unescape(value: str) -> str:
    return _ESCAPED.sub(lambda found: _ESCAPES[found[0]], value).strip()


def _readable_time(stamp: str) -> str:
    found = _STAMP.match(stamp)
    if not found:
        return stamp
    day = f"{found[1]}-{found[2]}-{found[3]}"
    return f"{day} {found[4]}:{found[5]}{' UTC' if found[6] else ''}" if found[4] else day
