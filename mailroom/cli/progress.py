"""Progress on stderr: a bar with rate and time left on a terminal, nothing in a log file."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Console


class MailProgress:
    """A bar of bytes consumed, with emails (or what `noun` calls them), rate and time left.

    Nothing where stderr is no terminal.
    """

    def __init__(self, console: "Console", total_bytes: int | None, noun: str = "emails") -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn(f"{{task.fields[emails]:,}} {noun}"),
            BarColumn(),
            TextColumn("{task.fields[rate]:,.1f}/s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total_bytes, emails=0, rate=0.0)

    def advance(self, done_bytes: int, emails: int) -> None:
        """Move the bar; the time left follows the bytes."""
        elapsed = self._bar.tasks[self._task].elapsed or 0.0
        rate = emails / elapsed if elapsed else 0.0
        self._bar.update(self._task, completed=done_bytes, emails=emails, rate=rate)

    @contextmanager
    def out_of_the_way(self) -> Iterator[None]:
        """Take the bar off the screen while rows are printed on the same one."""
        if self._bar.disable or not sys.stdout.isatty():
            yield
            return
        self._bar.stop()
        yield
        self._bar.start()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._bar.disable:
            self._bar.stop()


class StepProgress:
    """The step that is under way, how far it is, and the time it will take; a line a step in a log file."""

    def __init__(self, console: "Console") -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = console
        self._step = ""
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            redirect_stdout=False,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=1.0, left="")

    def tell(self, step: str, done: float, seconds_left: float) -> None:
        """Show a step, the share of it that is done (0…1), and the seconds left of it (0 where unknown)."""
        if step != self._step:
            self._step = step
            self._bar.reset(self._task, description=step)
            if self._bar.disable:
                print(f"mailroom: {step}", file=sys.stderr, flush=True)
        left = f"{seconds_left / 60:.0f} min left" if seconds_left >= 60 else f"{seconds_left:.0f} s left"
        self._bar.update(self._task, completed=done, left=left if seconds_left else "")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._bar.disable:
            self._bar.stop()
