"""One email of the review queue on a terminal, and what each key does. Writes nothing itself."""

import textwrap
from typing import TYPE_CHECKING

from mailroom.cli.keys import Keys
from mailroom.cli.tables import fit, printable

if TYPE_CHECKING:
    from mailroom.taxonomy import Label, Taxonomy
    from mailroom.workspace.review import ReviewItem, ReviewSession

CHOICES = 5
FOUND = 9
# Lines that are no text of the email: head, subject, sender, rules, choices, keys, message.
_FRAME_LINES = 9 + CHOICES
_FEWEST_TEXT_LINES = 5
_WIDEST = 110
_KEYS = "Enter first  1-5 choose  / other  n none fits  s skip  u back  m more  q quit"


class ReviewScreen:
    """Shows the session's current email and hands the keys' meanings to the session."""

    def __init__(self, session: "ReviewSession", taxonomy: "Taxonomy", keys: Keys) -> None:
        from rich.console import Console

        self._session, self._taxonomy, self._keys = session, taxonomy, keys
        self._console: Console = Console(highlight=False)
        self._message = ""
        self._shows_all = False

    def run(self) -> None:
        """Go on until q, or until nothing waits and the reviewer agrees to end."""
        while True:
            item = self._session.current
            if item is None:
                if not self._session.tally.answered or not self._goes_back_at_the_end():
                    return
                continue
            self._show(item)
            self._message = ""
            key = self._keys.key()
            if key in ("q", "Q"):
                return
            self._act(key, item)

    def _act(self, key: str, item: "ReviewItem") -> None:
        choices = self._choices(item)
        if key == "\n":
            self._answer(choices[0])
        elif key.isdigit() and 1 <= int(key) <= len(choices):
            self._answer(choices[int(key) - 1])
        elif key == "/":
            found = self._search()
            if found is not None:
                self._answer(found)
        elif key in ("n", "N"):
            self._answer_none()
        elif key in ("s", "S"):
            self._shows_all = False
            self._session.skip()
        elif key in ("u", "U"):
            self._message = "" if self._session.undo() else "this is the first email"
        elif key in ("m", "M", " "):
            self._shows_all = not self._shows_all
        else:
            self._message = f"no key of these: {printable(key)}" if printable(key) else ""

    def _answer(self, label: "Label") -> None:
        self._shows_all = False
        self._session.answer(label)

    def _answer_none(self) -> None:
        from mailroom.taxonomy import NO_LABEL

        self._answer(NO_LABEL)

    def _choices(self, item: "ReviewItem") -> list["Label"]:
        """The likeliest labels that may be given today: a logged candidate may be retired."""
        labels = (self._taxonomy.get(candidate.label) for candidate in item.prediction.candidates)
        found = [label for label in labels if label is not None and label.assignable]
        return found[:CHOICES] or list(self._taxonomy.assignable[:CHOICES])

    def _search(self) -> "Label | None":
        """Ask for words, show what fits, and return what is chosen; None goes back to the email."""
        from mailroom.taxonomy import search

        words = self._keys.line("label, by any of its words: ")
        found = search(self._taxonomy, words, FOUND + 1)
        if not words.strip():
            return None
        if not found:
            self._message = f"no label has the words {printable(words)!r} in its name, path or description"
            return None
        for number, label in enumerate(found[:FOUND], 1):
            self._print(f"[bold]{number}[/]  {_escaped(' › '.join(label.path))}")
        if len(found) > FOUND:
            self._print("[dim]… there are more: say more words[/]")
        self._print("[dim]number chooses   Enter the first   any other key goes back[/]")
        key = self._keys.key()
        if key == "\n":
            return found[0]
        if key.isdigit() and 1 <= int(key) <= min(len(found), FOUND):
            return found[int(key) - 1]
        return None

    def _goes_back_at_the_end(self) -> bool:
        self._console.clear()
        self._print("That was the last one. [dim]u goes back to it, any other key ends.[/]")
        return self._keys.key() in ("u", "U") and self._session.undo()

    def _show(self, item: "ReviewItem") -> None:
        self._console.clear()
        width = min(self._console.width, _WIDEST)
        tally = self._session.tally
        done = f"{tally.answered} judged, {tally.corrected} corrected, {self._session.left_in_hand} in hand"
        self._print(f"[dim]{done}   {_escaped(printable(self._session.reviewer))}[/]")
        self._rule(width)
        self._print(f"[bold]{_escaped(printable(item.email.subject) or '(no subject)')}[/]")
        received = f"{item.email.received_at:%Y-%m-%d %H:%M}" if item.email.received_at else ""
        self._print(f"[dim]{_escaped(printable(item.email.sender))}   {received}[/]")
        self._print_text(item, width)
        self._rule(width)
        self._print_choices(item, width)
        self._rule(width)
        self._print(f"[dim]{_KEYS}[/]")
        if self._message:
            self._print(f"[yellow]{_escaped(self._message)}[/]")

    def _print_text(self, item: "ReviewItem", width: int) -> None:
        lines = text_lines(item.email.text or "", item.email.subject, width)
        room = max(_FEWEST_TEXT_LINES, self._console.height - _FRAME_LINES)
        shown = lines if self._shows_all else lines[:room]
        for line in shown:
            self._print(_escaped(line))
        if len(shown) < len(lines):
            self._print(f"[dim]… {len(lines) - len(shown)} more lines (m)[/]")

    def _print_choices(self, item: "ReviewItem", width: int) -> None:
        probabilities = {c.label: c.probability for c in item.prediction.candidates}
        for number, label in enumerate(self._choices(item), 1):
            path = fit(" › ".join(label.path), width - 12, keep_end=True)
            style = "bold" if number == 1 else "default"
            share = f"{probabilities[label.id]:4.0%}" if label.id in probabilities else "    "
            self._print(f"[bold]{number}[/]  [{style}]{_escaped(path)}[/] {share}")
        why = why_asked(item)
        earlier = self._session.earlier_answer
        said = f"; you said {_escaped(' › '.join(earlier.path))}" if earlier is not None else ""
        self._print(f"[dim]{why}{said}[/]")

    def _rule(self, width: int) -> None:
        self._print(f"[dim]{'─' * width}[/]")

    def _print(self, markup: str) -> None:
        self._console.print(markup, no_wrap=True, overflow="ellipsis", crop=True)


def why_asked(item: "ReviewItem") -> str:
    """Why a person is asked about this email, in a line."""
    if item.kind == "audit":
        return "drawn at random, to see how right the model is"
    if "no_text" in item.prediction.review_reasons:
        return "there is no word in it that a model could read (n says that no label fits)"
    if "out_of_taxonomy" in item.prediction.review_reasons:
        return "perhaps none of the labels fits: farther from all of them than known mail (n says so)"
    lead = f"the first leads by {item.prediction.margin:.2f}"
    if not item.prediction.needs_review:
        return f"no marked email is left; of the others a close call: {lead}"
    return f"the model is unsure: {lead}"


def text_lines(text: str, subject: str, width: int) -> list[str]:
    """The text without its subject, wrapped to `width`, with no character that could drive the terminal."""
    first, _, rest = text.partition("\n")
    body = rest if printable(first).startswith(printable(subject)) and subject else text
    lines: list[str] = []
    for line in body.splitlines():
        clean = printable(line)
        lines += textwrap.wrap(clean, width) if clean else [""]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
