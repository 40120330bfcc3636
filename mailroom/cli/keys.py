"""Single keys from a terminal, and a line where words are wanted. Nothing typed ahead is lost."""

import os
import select
import sys
import termios
import tty
from collections import deque
from types import TracebackType
from typing import Self

ESCAPE = "\x1b"
_READ_BYTES = 1024
# The bytes of an arrow key arrive together; a lone Escape is followed by nothing.
_SEQUENCE_SECONDS = 0.05
# A signal that comes right before a read blocks is seen when the read is over: so none blocks for longer.
_LOOK_UP_SECONDS = 0.5


class Keys:
    """Reads keys as they are pressed while it is entered; Ctrl-C stays an interrupt."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._fd)
        self._typed: deque[str] = deque()

    def __enter__(self) -> Self:
        self._single_keys()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines()

    def key(self) -> str:
        """The next key; Enter is a line end, and an arrow or function key one text that begins with Escape.

        EOFError where the terminal is gone, or on Ctrl-D.
        """
        while not self._typed:
            self._read()
        key = self._typed.popleft()
        if key == "\x04":
            raise EOFError
        return "\n" if key == "\r" else key

    def line(self, prompt: str) -> str:
        """A line of text, edited as the terminal edits lines; Ctrl-C and Ctrl-D leave none."""
        print(prompt, end="", flush=True)
        ahead = "".join(self._typed).replace("\r", "\n")
        line, end, rest = ahead.partition("\n")
        self._typed = deque(rest)
        if end:
            print(line)
            return line
        self._lines()
        try:
            print(line, end="", flush=True)
            return line + sys.stdin.readline().rstrip("\n")
        except KeyboardInterrupt:
            return ""
        finally:
            self._single_keys()

    def _read(self) -> None:
        while not select.select([self._fd], [], [], _LOOK_UP_SECONDS)[0]:
            pass
        data = os.read(self._fd, _READ_BYTES)
        if not data:
            raise EOFError
        while select.select([self._fd], [], [], _SEQUENCE_SECONDS if data.startswith(b"\x1b") else 0)[0]:
            more = os.read(self._fd, _READ_BYTES)
            if not more:
                break
            data += more
        text = data.decode("utf-8", "ignore")
        self._typed.extend([text] if text.startswith(ESCAPE) else text)

    # Draining, not flushing: a reviewer is often a key ahead of the screen.
    def _single_keys(self) -> None:
        tty.setcbreak(self._fd, termios.TCSADRAIN)

    def _lines(self) -> None:
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
