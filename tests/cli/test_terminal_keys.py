"""Keys from a terminal, where a signal must never wait for one."""

import os
import pty
import signal
from types import SimpleNamespace

import pytest

from mailroom.cli.keys import _LOOK_UP_SECONDS, Keys


class ClosedError(Exception):
    """What the signal's handler raises."""


def test_a_signal_right_before_a_read_is_not_left_waiting_for_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    looks: list[float | None] = []

    def look(*arguments: object) -> tuple[list[int], list[int], list[int]]:
        timeout = arguments[-1]
        assert isinstance(timeout, float)
        looks.append(timeout)
        if len(looks) == 3:
            signal.raise_signal(signal.SIGHUP)
        return [], [], []

    def close(_number: int, _frame: object) -> None:
        raise ClosedError

    monkeypatch.setattr("sys.stdin", SimpleNamespace(fileno=lambda: theirs))
    before = signal.signal(signal.SIGHUP, close)
    try:
        keys = Keys()
        with monkeypatch.context() as patch:
            patch.setattr("select.select", look)
            patch.setattr("os.read", lambda *_: pytest.fail("a read blocks where nothing was typed"))
            with pytest.raises(ClosedError):
                keys.key()
        assert looks == [_LOOK_UP_SECONDS] * 3
        os.write(ours, b"s\n")
        assert keys.key() == "s"
    finally:
        signal.signal(signal.SIGHUP, before)
        os.close(ours)
        os.close(theirs)
