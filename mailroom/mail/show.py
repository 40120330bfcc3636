"""A `ReadEmail` → what `mailroom show` prints: headers, kept text, what was taken out, and why."""

from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mailroom.mail.read import ReadEmail

_HEADERS = ("from", "to", "date", "list_id", "thread_id")


def render(read: ReadEmail, raw_origin: str) -> RenderableType:
    """One message for a terminal: taken-out text is dim and struck, its reason stands in the margin."""
    parts: list[RenderableType] = [_header_table(read, raw_origin), Text(), _body_table(read)]
    if not read.email.body:
        parts.append(Text("(no text)", style="dim italic"))
    parts += [Text(f"warning: {warning}", style="yellow") for warning in read.warnings]
    return Group(*parts)


def to_dict(read: ReadEmail) -> dict[str, Any]:
    """The same as JSON-ready values: the email's fields, label, warnings, segments, a row's other keys."""
    email = read.email
    return {
        "id": email.id,
        "subject": email.subject,
        "body": email.body,
        "metadata": dict(email.metadata),
        "received_at": email.received_at.isoformat() if email.received_at else None,
        "label": read.label,
        "warnings": list(read.warnings),
        "segments": [
            {"text": segment.text, "kept": segment.kept, "reason": segment.reason}
            for segment in read.segments
        ],
        "record": dict(read.record),
    }


def _header_table(read: ReadEmail, raw_origin: str) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold cyan", justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    rows = {"source": raw_origin, "id": read.email.id, "subject": read.email.subject, "label": read.label}
    rows |= {name: read.email.metadata.get(name) for name in _HEADERS}
    attachments = read.email.metadata.get("attachments") or []
    rows["attachments"] = ", ".join(map(str, attachments)) if isinstance(attachments, list) else ""
    for name, value in rows.items():
        if value:
            table.add_row(name.replace("_", "-"), Text(str(value)))
    return Panel(table, expand=False, border_style="dim")


def _body_table(read: ReadEmail) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column(style="dim italic", justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for segment in read.segments:
        text = segment.text.strip("\n")
        if text.strip():
            table.add_row(segment.reason, Text(text, style="" if segment.kept else "dim strike"))
    return table
