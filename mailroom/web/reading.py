"""The kept text of an email and what was taken out of it → pieces in the order in which people read them."""

from collections.abc import Sequence
from dataclasses import dataclass

from mailroom.records import Aside


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of an email; `reason` says why the models did not read it, '' where they did."""

    text: str
    reason: str = ""


def pieces(text: str | None, subject: str, asides: Sequence[Aside] = ()) -> list[Piece]:
    """The email below its subject. An aside whose place lies beyond the text that was kept comes last."""
    found: list[Piece] = []
    run: list[str] = []
    waiting = sorted(asides, key=lambda aside: aside.after_lines)
    with_words = 0
    for line in body_of(text, subject).split("\n"):
        if line.strip():
            due = [aside for aside in waiting if aside.after_lines <= with_words]
            if due:
                _end(run, found)
                found += [Piece(aside.text, aside.reason) for aside in due]
                del waiting[: len(due)]
            with_words += 1
        run.append(line)
    _end(run, found)
    return found + [Piece(aside.text, aside.reason) for aside in waiting]


def body_of(text: str | None, subject: str) -> str:
    """The text that the models read without the subject, which stands above it already."""
    return (text or "").removeprefix(subject).lstrip("\n")


def _end(run: list[str], found: list[Piece]) -> None:
    kept = "\n".join(run).strip("\n")
    if kept:
        found.append(Piece(kept))
    run.clear()
