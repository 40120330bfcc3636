"""A line of text → the line with long and tracking URLs shortened to their host, and what was taken out."""

import re

_URL = re.compile(r"(?:https?://|www\.)[^\s<>\"\]]{1,4000}", re.IGNORECASE)
_ECHO = re.compile(r"\s?[<\[](?:mailto:|cid:|tel:)[^<>\[\]\s]{1,500}[>\]]", re.IGNORECASE)
_HOST = re.compile(r"(?:https?://)?(?:[^/@\s]{0,200}@)?(?:www\.)?([^/?#:\s]{1,200})", re.IGNORECASE)
_TRACKING = re.compile(
    r"[?&;](?:utm_|mc_[ce]id|trk|fbclid|gclid|elq|mkt_tok|uid=|token=|sid=|ref=|id=[\w-]{12})|/(?:track|click|open|ls/click|wf/)",
    re.IGNORECASE,
)
_LONG_CHARS = 60
_QUERY_CHARS = 20


def shorten_links(text: str) -> tuple[str, list[str]]:
    """Return the line as the models read it and the URLs taken out of it, in order."""
    if "[" in text or "<" in text:
        text = _ECHO.sub("", text)
    if "://" not in text and "www." not in text.lower():
        return text, []
    removed: list[str] = []

    def shorten(found: re.Match[str]) -> str:
        url = found[0].rstrip(".,;:!?)'")
        if not is_long(url):
            return found[0]
        removed.append(url)
        host = _HOST.match(url)
        return (host[1] if host else "") + found[0][len(url) :]

    return _URL.sub(shorten, text), removed


def is_long(url: str) -> bool:
    """Whether a URL says more to a machine than to a reader."""
    if len(url) > _LONG_CHARS or len(url.partition("?")[2]) > _QUERY_CHARS:
        return True
    return bool(_TRACKING.search(url))
