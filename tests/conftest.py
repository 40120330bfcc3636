"""What every test can rely on: no workspace from the environment, a wide terminal, a Ctrl-C that works."""

import signal

import pytest

# A shell starts jobs in the background with SIGINT ignored, which every child inherits: tests that interrupt
# a command would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _neutral_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAILROOM_WORKSPACE", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
