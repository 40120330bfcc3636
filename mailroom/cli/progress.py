"""Progress on stderr: a bar with rate and time left on a terminal, nothing in a log file."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def mail_progress(console: "Console", total_bytes: int | None) -> Iterator[Callable[[int, int], None]]:
    """A function (bytes consumed, emails seen) that moves the bar; time left follows the bytes."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.fields[emails]:,} emails"),
        BarColumn(),
        TextColumn("{task.fields[rate]:,.1f}/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        # Rows that go to a pipe must not be caught by the bar's terminal.
        redirect_stdout=sys.stdout.isatty(),
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("", total=total_bytes, emails=0, rate=0.0)

        def advance(done_bytes: int, emails: int) -> None:
            elapsed = bar.tasks[task].elapsed or 0.0
            bar.update(task, completed=done_bytes, emails=emails, rate=emails / elapsed if elapsed else 0.0)

        yield advance


@contextmanager
def counted_progress(console: "Console", total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
    """A function (items done) that moves a bar of `total` items."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn(unit),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.update(task, completed=done)
