"""What the commands share: the chosen workspace, the two consoles, and the place where data goes."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from mailroom.cli.tables import visible
from mailroom.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from mailroom.config import Settings
    from mailroom.workspace import Workspace

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@dataclass(frozen=True, slots=True)
class Context:
    """The options that stand before the command."""

    workspace: Path | None

    def open_workspace(self, read_only: bool = False) -> "Workspace":
        """The workspace that the options, the environment or the current folder name."""
        from mailroom.config import find_workspace
        from mailroom.workspace import Workspace

        return Workspace.open(find_workspace(self.workspace), read_only)

    def settings(self) -> "Settings":
        """The settings of the workspace, or the defaults where there is none and none was named."""
        from mailroom.config import settings_or_defaults

        return settings_or_defaults(self.workspace)


@contextmanager
def goes_on(console: "Console") -> Iterator[None]:
    """Says after an interrupt that nothing is lost, in front of the line that says that there was one."""
    try:
        yield
    except KeyboardInterrupt:
        say(console, "what was done is kept: the same command goes on from here")
        raise


def stderr_console() -> "Console":
    """Progress and messages go here."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def stdout_console() -> "Console":
    """Data for people goes here; not shortened to 80 columns where no terminal tells a width."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


def to_json_line(record: Any) -> str:
    """One record as one line of JSON; non-ASCII text stays readable, lone surrogates are escaped."""
    line = json.dumps(record, ensure_ascii=False)
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(record)
    return line


def say(console: "Console", message: str, style: str | None = None) -> None:
    """One message on stderr: as long as it is, beside a progress bar where there is one."""
    console.print(f"mailroom: {visible(message)}", style=style, markup=False, soft_wrap=True)


@contextmanager
def output(path: Path | None, append: bool = False) -> Iterator[IO[str]]:
    """Standard output, or the file that `-o` names; ConfigError when that cannot be written."""
    if path is None or str(path) == "-":
        if isinstance(sys.stdout, TextIOWrapper) and not sys.stdout.isatty():
            sys.stdout.reconfigure(encoding="utf-8")
        with _writing("standard output"):
            yield sys.stdout
            sys.stdout.flush()
        return
    try:
        file = path.open("a" if append else "w", encoding="utf-8", newline="")
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be written: {exc.strerror}; choose another place with -o") from exc
    with _writing(str(path)), file:
        yield file


@contextmanager
def _writing(place: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise ConfigError(
            f"{place}: cannot be written: {exc.strerror}; choose another place with -o. "
            "What was decided is in the log, and `mailroom log` exports it"
        ) from exc
