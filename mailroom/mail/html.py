"""HTML of a message part → lines with block structure, quote and signature blocks marked.

Parsed by lexbor (selectolax). A browser's parser takes quadratic time and memory on input nested without end,
so the nesting is bounded first. Knows nothing of languages: what prose says is judged in `clean`.
"""

import re
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from mailroom.mail.plain import UNSEEN
from mailroom.mail.segments import HIDDEN, QUOTED, SIGNATURE, Line

MAX_HTML_CHARS = 500_000
_MAX_NODES = 100_000
# Deepest real mail seen nests about 100 levels (Outlook threads); lexbor is quadratic in depth.
_MAX_OPEN = 128
_MAX_OPEN_FORMATTING = 8

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
_TAG_WHOLE = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)[^<>]{0,2000}>?")
_FORMATTING_TAG = re.compile(
    r"</?(?:a|b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)(?:\s[^<>]{0,2000})?>", re.IGNORECASE
)
_DATA_URL = re.compile(r"data:[\w/+.;=-]{0,100},[A-Za-z0-9+/=%\s]{200,}")
_DOCUMENT_START = re.compile(
    r"\s{0,200}(?:<\?xml[^>]{0,200}>\s{0,50})?<(?:!doctype\s+html|html|head|body|div|table|p)\b",
    re.IGNORECASE,
)
_SPACE = re.compile(r"[ \t\r\n\f\u00a0]+")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FORMATTING = _names("a b big code em font i nobr s small strike strong tt u")
# Closed by what follows them, or void: many of them nest nothing.
_FLAT = _names(
    "p li td th tr tbody thead tfoot dd dt option optgroup html body head area base br col embed hr img input"
    " link meta param source track wbr"
)
_SKIPPED = _names(
    "head style script title noscript template svg math object applet iframe select textarea xml map video"
    " audio canvas"
)
_BLOCKS = _names(
    "p div tr table ul ol dl dd dt li h1 h2 h3 h4 h5 h6 hr pre blockquote center form fieldset section"
    " article header footer main nav aside address figure figcaption body caption thead tbody tfoot details"
    " summary"
)
_PARAGRAPHS = _names("p ul ol dl h1 h2 h3 h4 h5 h6 pre blockquote table")
_CELLS = frozenset(("td", "th"))

_HIDDEN_STYLE = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|mso-hide\s*:\s*all|font-size\s*:\s*0(?:px|pt|em)?\s*(?:;|!|$)"
    r"|(?:^|[;\s])(?:max-)?height\s*:\s*0(?:px)?\s*(?:;|!|$)[^\n]{0,200}overflow\s*:\s*hidden"
    r"|(?:^|[;\s])opacity\s*:\s*0\s*(?:;|!|$)",
    re.IGNORECASE,
)
_QUOTE_CLASS = re.compile(
    r"(?:^|\s)(?:x_)*(?:gmail_quote(?!_attribution)|yahoo_quoted|moz-cite-prefix|protonmail_quote|zmail_extra"
    r"|tutanota_quote|OutlookMessageHeader|ms-outlook-mobile-reference-message|front-blockquote|zm_quote"
    r"|gmail_attr|js-helper)(?:$|\s|_container)",
    re.IGNORECASE,
)
_QUOTE_ID = re.compile(
    r"^(?:x_)*(?:yahoo_quoted_\w*|isForwardContent|reply-intro|mailcontent-quote)$", re.IGNORECASE
)
_NO_RULE = re.compile(r"border(?:-left)?\s*:\s*(?:none|0)", re.IGNORECASE)
_SIGNATURE_CLASS = re.compile(
    r"(?:^|\s)(?:x_)*(?:gmail_signature|moz-signature|protonmail_signature_block\S*|signature-container"
    r"|ms-outlook-mobile-signature|bloop_sign|zm_signature)(?:$|\s)",
    re.IGNORECASE,
)
_SIGNATURE_ID = re.compile(r"^(?:x_)*(?:Signature|AppleMailSignature|ms-outlook-mobile-signature)$")
_FORWARD_MARK = re.compile(
    r"forwarded|weitergeleitet|transf[eé]r|reenviad|inoltrat|doorgestuurd|przekazan", re.IGNORECASE
)


def html_to_lines(source: str) -> tuple[list[Line], str | None]:
    """Text of a document as lines, and a warning where it was cut. Takes at most `MAX_HTML_CHARS`."""
    warning = None
    source = source[:MAX_HTML_CHARS].replace("\x00", "")
    root = LexborHTMLParser(_bound_nesting(source)).root
    if root is None:
        return [], warning
    writer = _Writer()
    if not writer.walk(root):
        warning = f"HTML was cut at {_MAX_NODES} nodes"
    return writer.finish(), warning


def drop_data_urls(source: str) -> str:
    """The source without inline images, which may be most of its length."""
    return _DATA_URL.sub("data:", source) if "data:" in source else source


def looks_like_html(text: str) -> bool:
    """Whether text without a declared type is an HTML document."""
    return bool(_DOCUMENT_START.match(text))


def _bound_nesting(source: str) -> str:
    """The source without the tags that would nest too deeply; the same object if none would."""
    if _max_open(source, _FORMATTING) > _MAX_OPEN_FORMATTING:
        # An open formatting element is made again in each paragraph; it says nothing of the text.
        source = _FORMATTING_TAG.sub(" ", source)
    return _drop_deep_tags(source) if _max_open(source, None) > _MAX_OPEN else source


def _max_open(source: str, only: frozenset[str] | None) -> int:
    """An upper bound of how many elements are open at once, counted by name."""
    open_by_name: dict[str, int] = {}
    total = highest = 0
    for slash, name in _TAG.findall(source):
        name = name.lower()
        if name in _FLAT or (only is not None and name not in only):
            continue
        count = open_by_name.get(name, 0)
        if not slash:
            open_by_name[name] = count + 1
            total += 1
            highest = max(highest, total)
        elif count:
            open_by_name[name] = count - 1
            total -= 1
    return highest


def _drop_deep_tags(source: str) -> str:
    open_by_name: dict[str, int] = {}
    total = 0

    def keep(found: re.Match[str]) -> str:
        nonlocal total
        name = found[2].lower()
        count = open_by_name.get(name, 0)
        if name in _FLAT:
            return found[0]
        if (found[1] and not count) or (not found[1] and total >= _MAX_OPEN):
            return " "
        step = -1 if found[1] else 1
        open_by_name[name] = count + step
        total += step
        return found[0]

    return _TAG_WHOLE.sub(keep, source)


class _Writer:
    """Walks the tree without recursion and writes lines, each with the reason of its block."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._text: list[str] = []
        self._reason = ""
        self._pre = 0

    def walk(self, root: Any) -> bool:
        """Write the tree; False where it was cut at `_MAX_NODES`."""
        # Each frame undoes what its element began: (element, reason before it).
        node, frames, visited = root, [], 0
        while node is not None:
            visited += 1
            if visited > _MAX_NODES:
                return False
            child = None
            if node.is_text_node:
                self._write(node.text_content or "")
            elif node.is_element_node or node is root:
                frames.append(self._reason)
                child = self._enter(node)
                if child is None:
                    self._reason = self._leave(node, frames.pop())
            if child is not None:
                node = child
                continue
            while node is not None and node.next is None:
                node = node.parent
                if node is None or not frames:
                    return True
                self._reason = self._leave(node, frames.pop())
            node = node.next if node is not None else None
        return True

    def finish(self) -> list[Line]:
        """The lines, blank runs squeezed to one."""
        self._break()
        squeezed: list[Line] = []
        for line in self.lines:
            if line.text or (squeezed and squeezed[-1].text):
                squeezed.append(line)
        return squeezed

    def _enter(self, node: Any) -> Any:
        tag = node.tag
        if tag in _SKIPPED:
            return None
        if tag == "br":
            self._break()
            return None
        if tag in _BLOCKS:
            self._break()
            if tag in _PARAGRAPHS:
                self._blank()
        attributes = node.attributes if tag != "html" else {}
        reason = _block_reason(tag, attributes, self.lines) if attributes or tag == "blockquote" else ""
        if reason and not self._reason and not (reason == QUOTED and _is_forward(node)):
            self._break()
            self._reason = reason
        self._begin(tag, attributes)
        return node.child

    def _begin(self, tag: str, attributes: dict[str, str | None]) -> None:
        if tag == "li":
            self._text.append("- ")
        elif tag == "pre":
            self._pre += 1
        elif tag == "img" and (alt := attributes.get("alt")) and len(alt) < 100:
            self._text.append(f" {alt} ")
        elif tag == "hr":
            self._blank()

    def _leave(self, node: Any, reason_before: str) -> str:
        tag = node.tag
        if tag == "pre":
            self._pre = max(0, self._pre - 1)
        if tag in _BLOCKS:
            self._break()
            if tag in _PARAGRAPHS:
                self._blank()
        elif tag in _CELLS:
            self._text.append(" ")
        if reason_before != self._reason:
            self._break()
        return reason_before

    def _write(self, text: str) -> None:
        text = text if text.isascii() else UNSEEN.sub("", text)
        if not self._pre:
            self._text.append(_SPACE.sub(" ", text))
            return
        first, *others = text.split("\n")
        self._text.append(first)
        for line in others:
            self._break(force=True)
            self._text.append(line)

    def _break(self, force: bool = False) -> None:
        text = "".join(self._text)
        self._text.clear()
        text = text.rstrip() if self._pre else _SPACE.sub(" ", text).strip()
        if text or force:
            self.lines.append(Line(text, self._reason))

    def _blank(self) -> None:
        if self.lines and self.lines[-1].text:
            self.lines.append(Line("", self._reason))


def _block_reason(tag: str, attributes: dict[str, str | None], before: list[Line]) -> str:
    """Why an element's text is not the sender's own words, '' where it is."""
    identity, classes = attributes.get("id") or "", attributes.get("class") or ""
    style = attributes.get("style") or ""
    if "hidden" in attributes or (style and _HIDDEN_STYLE.search(style)):
        return HIDDEN
    if (identity and _QUOTE_ID.match(identity)) or (classes and _QUOTE_CLASS.search(classes)):
        return QUOTED
    if tag == "blockquote" and _cites(attributes, style, before):
        return QUOTED
    if (identity and _SIGNATURE_ID.match(identity)) or (classes and _SIGNATURE_CLASS.search(classes)):
        return SIGNATURE
    return SIGNATURE if "data-signatureblock" in attributes else ""


def _cites(attributes: dict[str, str | None], style: str, before: list[Line]) -> bool:
    """Whether a blockquote quotes; people also indent with it, and newsletters lay out with it."""
    if (attributes.get("type") or "").lower() == "cite" or attributes.get("cite"):
        return True
    if "border-left" in style and not _NO_RULE.search(style):
        return True
    last = next((line.text for line in reversed(before[-5:]) if line.text), "")
    return last.endswith(":") and ("@" in last or any(char.isdigit() for char in last))


def _is_forward(node: Any) -> bool:
    """Whether a quote block holds a forwarded message, which is what the mail is about."""
    return bool(_FORWARD_MARK.search((node.text(deep=True) or "")[:200]))
